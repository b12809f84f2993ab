/* A vector of 8-bit codes as tokens: most cells of a gene have one code, its background, and only the
   others are looked at again.

   A token is a gap (cells with the background code) and the code after it. A gap with the bit REPEAT
   says instead how often the code before comes again; its token has that same code. */

#define REPEAT 0x80000000u
#define MAX_CELLS 0x7fffffff

typedef struct {
  int64_t n_cells, n_tokens;
  int64_t tail;    /* cells after the last token: a gap without a code */
  uint32_t *gaps;
  uint8_t *codes;
  uint8_t background;
} Tokens;

/* The most frequent code, the lowest of several: it depends on nothing but the vector. */
static uint8_t most_frequent(const uint8_t *vector, int64_t n_cells) {
  uint32_t counts[4][256] = {{0}};
  for (int64_t i = 0; i < n_cells; i++) counts[i & 3][vector[i]]++;
  int best = 0;
  for (int code = 0; code < 256; code++) {
    counts[0][code] += counts[1][code] + counts[2][code] + counts[3][code];
    if (counts[0][code] > counts[0][best]) best = code;
  }
  return (uint8_t)best;
}

static void tokens_of_vector(Tokens *tokens, const uint8_t *vector, int64_t n_cells) {
  const uint8_t background = most_frequent(vector, n_cells);
  int64_t n = 0, next = 0;
  for (int64_t i = 0; i < n_cells; i++) {
    tokens->gaps[n] = (uint32_t)(i - next);
    tokens->codes[n] = vector[i];
    const bool other = vector[i] != background;
    n += other;
    next = other ? i + 1 : next;
  }
  tokens->n_cells = n_cells;
  tokens->n_tokens = n;
  tokens->tail = n_cells - next;
  tokens->background = background;
}

/* Whether any of some tokens has the code before it, without a gap. No branch: the compiler compares
   several at once. */
static bool has_copies(const Tokens *tokens, int64_t first, int64_t last) {
  uint32_t found = 0;
  for (int64_t i = first; i < last; i++)
    found |= (uint32_t)(tokens->gaps[i] == 0) & (uint32_t)(tokens->codes[i] == tokens->codes[i - 1]);
  return found;
}

/* Replaces runs of one code by its first token and one for the copies. */
static void fold_repeats(Tokens *tokens) {
  enum { STRETCH = 64 }; /* tokens, most of which have no copies */
  const int64_t n = tokens->n_tokens;
  uint32_t *gaps = tokens->gaps;
  uint8_t *codes = tokens->codes;
  int64_t kept = 0, moved = 0, run = 0; /* moved: tokens that were kept or folded */
  for (int64_t i = 1, stop = 1; i < n; i++) {
    if (i >= stop) {
      stop = n - i < STRETCH ? n : i + STRETCH;
      if (!has_copies(tokens, i, stop)) {
        i = stop - 1;
        run = 0;
        continue;
      }
    }
    run = gaps[i] == 0 && codes[i] == codes[i - 1] ? run + 1 : 0;
    if (run < MIN_MATCH) continue;
    const int64_t first = i + 1 - run; /* of the copies */
    while (i + 1 < n && gaps[i + 1] == 0 && codes[i + 1] == codes[i]) i++;
    memmove(gaps + kept, gaps + moved, (size_t)(first - moved) * sizeof *gaps);
    memmove(codes + kept, codes + moved, (size_t)(first - moved));
    kept += first - moved;
    moved = i + 1;
    gaps[kept] = REPEAT | (uint32_t)(moved - first);
    codes[kept++] = codes[i];
    run = 0;
  }
  if (moved == 0) return;
  memmove(gaps + kept, gaps + moved, (size_t)(n - moved) * sizeof *gaps);
  memmove(codes + kept, codes + moved, (size_t)(n - moved));
  tokens->n_tokens = kept + n - moved;
}

/* Whether a search for matches may pay. It does where sequences of tokens come again: of independent
   tokens a sequence of SEQUENCE_BITS hardly does. And it does where cells are of two kinds, so that a
   code of their own, at least a bit long, is too long. `n_bits` is what all tokens take without.
   Looks at some stretches of a long vector. */
static bool is_repetitive(const Tokens *tokens, int64_t n_bits) {
  enum { SEQUENCE_BITS = 28, MAX_SEQUENCE = 16, STRETCH = 512, N_STRETCHES = 4, TABLE_BITS = 11 };
  const uint64_t factor = 0x9e3779b97f4a7c15u;
  const int64_t n = tokens->n_tokens;
  int64_t length = SEQUENCE_BITS * n / (n_bits + 1) + 1;
  if (length > MAX_SEQUENCE) length = MAX_SEQUENCE;
  if (length < 2) length = 2;
  if (n < 2 * length) return false;
  const int64_t n_stretches = n > N_STRETCHES * STRETCH ? N_STRETCHES : 1;
  const int64_t stretch = n_stretches > 1 ? STRETCH : n;
  uint32_t seen[1 << TABLE_BITS];
  int64_t n_seen = 0, n_equal = 0, n_looked = 0;
  uint64_t oldest = 1; /* the factor of the token that leaves a sequence */
  for (int64_t i = 0; i < length; i++) oldest *= factor;
  for (int64_t s = 0; s < n_stretches; s++) {
    const int64_t first = n_stretches > 1 ? (n - stretch) / (n_stretches - 1) * s : 0;
    const uint32_t *gaps = tokens->gaps + first;
    const uint8_t *codes = tokens->codes + first;
    uint64_t hash = 0;
    memset(seen, 0, sizeof seen);
    for (int64_t i = 0; i < stretch; i++) {
      hash = hash * factor + ((uint64_t)gaps[i] << 8 | codes[i]) + 1;
      if (i >= length) hash -= (((uint64_t)gaps[i - length] << 8 | codes[i - length]) + 1) * oldest;
      if (i < length - 1) continue;
      const uint64_t mixed = (hash ^ hash >> 29) * factor;
      uint32_t *slot = &seen[mixed >> (64 - TABLE_BITS)];
      n_seen += *slot == (uint32_t)mixed;
      n_equal += codes[i] == codes[i - 1];
      *slot = (uint32_t)mixed;
      n_looked++;
    }
  }
  return 16 * n_seen > n_looked || (n_bits > tokens->n_cells && 16 * n_equal > 15 * n_looked);
}
