/* A checksum of bytes, to be compared on the same kind of machine: many times as fast as SHA-256. */

static inline uint64_t word_at(const uint8_t *bytes, size_t n) {
  uint64_t word = 0;
  memcpy(&word, bytes, n);
  return word;
}

/* No step loses anything of the state: a difference in one word is always seen, in more almost surely. */
static inline uint64_t mix(uint64_t state, uint64_t word) {
  state = (state ^ word) * UINT64_C(0x9e3779b97f4a7c15);
  return state ^ state >> 32;
}

static uint64_t add_bytes(uint64_t state, const uint8_t *bytes, size_t n) {
  uint64_t lanes[4] = {state, 1, 2, 3}; /* side by side, because a step waits for the one before */
  for (; n >= 32; bytes += 32, n -= 32)
    for (int lane = 0; lane < 4; lane++) lanes[lane] = mix(lanes[lane], word_at(bytes + 8 * lane, 8));
  for (; n >= 8; bytes += 8, n -= 8) lanes[0] = mix(lanes[0], word_at(bytes, 8));
  state = mix(lanes[0], word_at(bytes, n) ^ (uint64_t)n << 56);
  for (int lane = 1; lane < 4; lane++) state = mix(state, lanes[lane]);
  return state;
}

enum { PIECE = 1 << 16 }; /* bytes of a file that are added at once; files.py has the number too */

static uint64_t add_pieces(uint64_t sum, const uint8_t *bytes, int64_t n) {
  for (; n > 0; bytes += PIECE, n -= PIECE) sum = add_bytes(sum, bytes, (size_t)(n < PIECE ? n : PIECE));
  return sum;
}
