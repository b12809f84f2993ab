/* CRC-32 of a vector that is known by its tokens.

   The checksum is linear: that of a vector is that of a vector of backgrounds, xor one term for each
   cell that has another code. A term depends on the difference from the background and on the place
   in a block of 256 cells; from block to block the whole is advanced at once. So stretches of
   backgrounds cost a step for 256 cells. */

enum { CRC_BLOCK = 256 };

typedef struct {
  uint32_t byte[256];              /* one step over a byte */
  uint32_t low[CRC_BLOCK][16];     /* terms of the lower and the upper half of a byte, by its place */
  uint32_t high[CRC_BLOCK][16];
  uint32_t block[4][256];          /* a step over a block of zeros, by the bytes of the state */
} Crc;

static void fill_by_xor(uint32_t *table, int n_bits) { /* from the entries of single bits */
  table[0] = 0;
  for (int bit = 0; bit < n_bits; bit++)
    for (int i = 1; i < 1 << bit; i++) table[(1 << bit) + i] = table[1 << bit] ^ table[i];
}

static void crc_prepare(Crc *crc) {
  for (uint32_t i = 0; i < 256; i++) {
    uint32_t state = i;
    for (int bit = 0; bit < 8; bit++) state = state >> 1 ^ (state & 1 ? 0xedb88320u : 0);
    crc->byte[i] = state;
  }
  for (int bit = 0; bit < 8; bit++) {
    uint32_t state = crc->byte[1 << bit];
    for (int place = CRC_BLOCK - 1; place >= 0; place--) {
      if (bit < 4) crc->low[place][1 << bit] = state;
      else crc->high[place][1 << (bit - 4)] = state;
      state = state >> 8 ^ crc->byte[state & 255];
    }
  }
  for (int place = 0; place < CRC_BLOCK; place++) {
    fill_by_xor(crc->low[place], 4);
    fill_by_xor(crc->high[place], 4);
  }
  for (int bit = 0; bit < 32; bit++) {
    uint32_t state = (uint32_t)1 << bit;
    for (int i = 0; i < CRC_BLOCK; i++) state = state >> 8 ^ crc->byte[state & 255];
    crc->block[bit / 8][1 << bit % 8] = state;
  }
  for (int i = 0; i < 4; i++) fill_by_xor(crc->block[i], 8);
}

static inline uint32_t crc_term(const Crc *crc, uint64_t place, uint8_t byte) {
  return crc->low[place][byte & 15] ^ crc->high[place][byte >> 4];
}

static uint32_t crc_blocks(const Crc *crc, uint32_t state, uint64_t n, uint32_t background_term) {
  for (; n > 0; n--)
    state = crc->block[0][state & 255] ^ crc->block[1][state >> 8 & 255] ^
            crc->block[2][state >> 16 & 255] ^ crc->block[3][state >> 24] ^ background_term;
  return state;
}

static uint32_t crc_of_tokens(const Crc *crc, const Tokens *tokens) {
  const uint8_t background = tokens->background;
  uint32_t background_term = 0;
  if (background)
    for (uint64_t place = 0; place < CRC_BLOCK; place++)
      background_term ^= crc_term(crc, place, background);
  /* Blocks are counted from the end of the vector, so that only the first may be shorter. */
  const int64_t lead = tokens->n_cells % CRC_BLOCK;
  uint32_t state = 0xffffffffu;
  for (int64_t i = 0; i < lead; i++) state = state >> 8 ^ crc->byte[(state ^ background) & 255];
  uint64_t at = lead ? CRC_BLOCK - (uint64_t)lead : CRC_BLOCK; /* the next cell, by blocks as below */
  uint64_t block = 0; /* 0: the shorter one, or none */
  for (int64_t i = 0; i < tokens->n_tokens; i++) {
    const uint32_t gap = tokens->gaps[i];
    const uint8_t difference = tokens->codes[i] ^ background;
    const uint64_t end = at + (gap & REPEAT ? gap & ~REPEAT : gap + 1);
    for (at = gap & REPEAT ? at : end - 1; at < end; at++) {
      if (at / CRC_BLOCK != block) {
        state = crc_blocks(crc, state, at / CRC_BLOCK - block, background_term);
        block = at / CRC_BLOCK;
      }
      state ^= crc_term(crc, at % CRC_BLOCK, difference);
    }
  }
  const uint64_t last = (uint64_t)tokens->n_cells / CRC_BLOCK;
  return crc_blocks(crc, state, last - block, background_term) ^ 0xffffffffu;
}
