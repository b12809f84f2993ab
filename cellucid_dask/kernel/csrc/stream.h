/* What all streams of deflate (RFC 1951) consist of: bits, symbols of matches, headers of blocks. */

enum {
  MIN_MATCH = 3,
  MAX_MATCH = 258,
  N_LENGTHS = 29,    /* symbols of match lengths */
  N_DISTANCES = 30,  /* and of their distances */
  END_OF_BLOCK = 256,
  FIRST_LENGTH = 257,
  MAX_STORED = 65535,
  WORD_SLACK = 16    /* bytes that may be written after the end of the stream */
};

typedef enum { STORED, FIXED, DYNAMIC } BlockKind;

typedef struct {
  uint8_t *at, *end;
  uint64_t word;
  int n_bits; /* below 8 between two calls of flush */
} Output;

static inline void put(Output *out, uint64_t bits, int n_bits) {
  out->word |= bits << out->n_bits;
  out->n_bits += n_bits;
}

static inline void flush(Output *out) { /* whole bytes of the word; below 64 bits are in it */
  memcpy(out->at, &out->word, 8);
  out->at += out->n_bits >> 3;
  out->word >>= out->n_bits & 56;
  out->n_bits &= 7;
}

/* Begins a block of up to MAX_STORED bytes as they are. */
static void put_stored_head(Output *out, int64_t length, bool final) {
  put(out, final, 3);
  if (out->n_bits & 7) put(out, 0, 8 - (out->n_bits & 7));
  flush(out);
  put(out, (uint64_t)length | (uint64_t)(~length & 0xffff) << 16, 32);
  flush(out);
}

/* The index of a match length's symbol; its extra bits are the low ones of length - MIN_MATCH. */
static inline int length_index(uint32_t length) {
  const uint32_t rest = length - MIN_MATCH;
  if (length == MAX_MATCH) return N_LENGTHS - 1;
  if (rest < 8) return (int)rest;
  const int extra = 29 - __builtin_clz(rest);
  return 4 * extra + (int)(rest >> extra);
}

static inline int extra_bits(int index) {
  return index < 8 || index == N_LENGTHS - 1 ? 0 : index / 4 - 1;
}

/* The code lengths of a block with codes of its own, encoded by runs. */
typedef struct {
  int n_symbols, n_distances;
  int n;                /* symbols of the code lengths, with extra bits */
  uint8_t symbols[MAX_SYMBOLS + N_DISTANCES], extra[MAX_SYMBOLS + N_DISTANCES];
  uint8_t lengths[19];  /* of the codes of those */
  int n_lengths;
} Header;

static const uint8_t HEADER_ORDER[19] = {16, 17, 18, 0, 8,  7, 9,  6, 10, 5,
                                         11, 4,  12, 3, 13, 2, 14, 1, 15};

/* Encodes the lengths of the codes of literals and match lengths, and of distances; returns the bits. */
static uint64_t plan_header(Header *header, const uint8_t *lengths, const uint8_t *distances,
                            int n_distances) {
  uint8_t all[MAX_SYMBOLS + N_DISTANCES];
  int n_symbols = MAX_SYMBOLS;
  while (n_symbols > FIRST_LENGTH && !lengths[n_symbols - 1]) n_symbols--;
  memcpy(all, lengths, (size_t)n_symbols);
  memcpy(all + n_symbols, distances, (size_t)n_distances);
  header->n_symbols = n_symbols;
  header->n_distances = n_distances;
  const int n = n_symbols + n_distances;
  uint32_t counts[19] = {0};
  uint64_t bits = 0;
  header->n = 0;
  for (int i = 0; i < n;) {
    int run = 1;
    while (i + run < n && all[i + run] == all[i]) run++;
    const bool again = i > 0 && all[i] == all[i - 1];
    int symbol = all[i], extra = 0, length = 1;
    if (all[i] == 0 && run >= 11) {
      length = run < 138 ? run : 138, symbol = 18, extra = length - 11, bits += 7;
    } else if (all[i] == 0 && run >= 3) {
      length = run, symbol = 17, extra = length - 3, bits += 3;
    } else if (all[i] && again && run >= 3) {
      length = run < 6 ? run : 6, symbol = 16, extra = length - 3, bits += 2;
    }
    counts[symbol]++;
    header->symbols[header->n] = (uint8_t)symbol;
    header->extra[header->n++] = (uint8_t)extra;
    i += length;
  }
  code_lengths(counts, 19, 7, header->lengths);
  bits += coded_bits(counts, 19, header->lengths);
  header->n_lengths = 19;
  while (header->n_lengths > 4 && !header->lengths[HEADER_ORDER[header->n_lengths - 1]])
    header->n_lengths--;
  return bits + 5 + 5 + 4 + 3 * (uint64_t)header->n_lengths;
}

static void put_header(Output *out, const Header *header) {
  uint16_t codes[19];
  canonical_codes(header->lengths, 19, codes);
  put(out, (uint64_t)(header->n_symbols - FIRST_LENGTH), 5);
  put(out, (uint64_t)(header->n_distances - 1), 5);
  put(out, (uint64_t)(header->n_lengths - 4), 4);
  flush(out);
  for (int i = 0; i < header->n_lengths; i++) {
    put(out, header->lengths[HEADER_ORDER[i]], 3);
    flush(out);
  }
  for (int i = 0; i < header->n; i++) {
    const int symbol = header->symbols[i];
    put(out, codes[symbol], header->lengths[symbol]);
    if (symbol >= 16) put(out, header->extra[i], symbol == 16 ? 2 : symbol == 17 ? 3 : 7);
    flush(out);
  }
}
