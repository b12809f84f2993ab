/* Tiles -> ranges and codes of genes: the rule of quantization.

   A gene has the values of all tiles, in ascending order of cells; cells without a value are zero. */

/* Tiles have the first six, and FLOAT64 where float32 does not hold their counts. */
typedef enum {
  UINT8, INT8, UINT16, INT16, FLOAT16, FLOAT32, INT32, UINT32, INT64, UINT64, FLOAT64
} ValueType;

typedef struct {
  int64_t first_cell, n_cells;
  int64_t n_values;       /* length of `values` and `cells` */
  const int64_t *indptr;  /* (n_genes + 1,); NULL: a dense tile, (n_genes, n_cells) */
  const void *cells;      /* relative to first_cell, ascending within a gene */
  const void *values;
  int32_t cell_bytes;     /* 2 or 4 */
  int32_t value_type;
} Tile;

typedef struct {
  const Tile *tiles;
  int64_t n_tiles, n_genes, n_cells;
} Genes;

typedef struct {
  double lowest, codes_per_unit;
  uint32_t zero, missing; /* codes */
} Scale;

static inline float of_half(uint16_t half) {
  const uint32_t sign = (uint32_t)(half & 0x8000) << 16, rest = half & 0x7fff;
  uint32_t bits;
  float value;
  if (rest >= 0x7c00) {
    bits = sign | 0x7f800000 | (rest & 0x3ff) << 13;
  } else if (rest >= 0x400) {
    bits = sign | ((rest << 13) + (112u << 23));
  } else {
    value = (float)rest * 0x1p-24f;
    memcpy(&bits, &value, 4);
    bits |= sign;
  }
  memcpy(&value, &bits, 4);
  return value;
}

/* A value as float32, never -0. */
SPECIALIZED float value_at(const void *values, int64_t i, int type) {
  switch (type) {
    case UINT8: return (float)((const uint8_t *)values)[i];
    case INT8: return (float)((const int8_t *)values)[i];
    case UINT16: return (float)((const uint16_t *)values)[i];
    case INT16: return (float)((const int16_t *)values)[i];
    case FLOAT16: return of_half(((const uint16_t *)values)[i]) + 0.0f;
    case FLOAT64: return (float)((const double *)values)[i] + 0.0f;
    default: return ((const float *)values)[i] + 0.0f;
  }
}

SPECIALIZED int64_t cell_at(const void *cells, int64_t i, int cell_bytes) {
  if (cell_bytes == 0) return i; /* dense */
  return cell_bytes == 2 ? ((const uint16_t *)cells)[i] : ((const uint32_t *)cells)[i];
}

static inline uint32_t bits_of(float value) {
  uint32_t bits;
  memcpy(&bits, &value, 4);
  return bits;
}

static inline bool is_missing(float value) { return (bits_of(value) & 0x7f800000) == 0x7f800000; }

/* The values of a gene in a tile: their positions, or false if pointers do not fit. */
static bool gene_values(const Tile *tile, int64_t gene, int64_t n_cells, int64_t *first, int64_t *last) {
  if (tile->first_cell < 0 || tile->n_cells < 0 || tile->first_cell > n_cells - tile->n_cells)
    return false;
  *first = tile->indptr ? tile->indptr[gene] : gene * tile->n_cells;
  *last = tile->indptr ? tile->indptr[gene + 1] : *first + tile->n_cells;
  return 0 <= *first && *first <= *last && *last <= tile->n_values;
}

/* ---- Ranges -------------------------------------------------------------------------------- */

typedef struct {
  int32_t lowest, highest; /* keys: integers that are ordered like the floats */
  int64_t n_missing;
} Range;

static inline int32_t key_of(float value) {
  const int32_t bits = (int32_t)bits_of(value);
  return bits ^ (bits >> 31 & 0x7fffffff);
}

static inline double of_key(int32_t key) {
  const int32_t bits = key ^ (key >> 31 & 0x7fffffff);
  float value;
  memcpy(&value, &bits, 4);
  return value;
}

SPECIALIZED void widen(Range *range, const void *values, int64_t first, int64_t last, int type) {
  int32_t lowest = range->lowest, highest = range->highest, n_missing = 0;
  for (int64_t i = first; i < last; i++) { /* without branches, so that it becomes vector code */
    const float value = value_at(values, i, type);
    const int32_t key = key_of(value), missing = -(int32_t)is_missing(value);
    const int32_t low = (key & ~missing) | (INT32_MAX & missing);
    const int32_t high = (key & ~missing) | (INT32_MIN & missing);
    lowest = low < lowest ? low : lowest;
    highest = high > highest ? high : highest;
    n_missing -= missing;
  }
  range->lowest = lowest;
  range->highest = highest;
  range->n_missing += n_missing;
}

static void widen_by_type(Range *range, const Tile *tile, int64_t first, int64_t last) {
  switch (tile->value_type) {
    case UINT8: widen(range, tile->values, first, last, UINT8); break;
    case INT8: widen(range, tile->values, first, last, INT8); break;
    case UINT16: widen(range, tile->values, first, last, UINT16); break;
    case INT16: widen(range, tile->values, first, last, INT16); break;
    case FLOAT16: widen(range, tile->values, first, last, FLOAT16); break;
    case FLOAT64: widen(range, tile->values, first, last, FLOAT64); break;
    default: widen(range, tile->values, first, last, FLOAT32);
  }
}

/* Finds the finite range of each gene, zeros included; 0 to 0 if nothing is finite. */
static int find_ranges(const Genes *genes, double *lowest, double *highest, int64_t *n_missing) {
  for (int64_t gene = 0; gene < genes->n_genes; gene++) {
    Range range = {INT32_MAX, INT32_MIN, 0};
    int64_t n_stored = 0;
    for (int64_t t = 0; t < genes->n_tiles; t++) {
      int64_t first, last;
      if (!gene_values(&genes->tiles[t], gene, genes->n_cells, &first, &last)) return DAMAGED;
      n_stored += last - first;
      widen_by_type(&range, &genes->tiles[t], first, last);
    }
    if (n_stored > genes->n_cells) return UNSORTED;
    if (n_stored < genes->n_cells) {
      if (range.lowest > 0) range.lowest = 0;
      if (range.highest < 0) range.highest = 0;
    }
    const bool empty = range.lowest > range.highest;
    lowest[gene] = empty ? 0 : of_key(range.lowest);
    highest[gene] = empty ? 0 : of_key(range.highest);
    n_missing[gene] = range.n_missing;
  }
  return OK;
}

/* ---- Codes --------------------------------------------------------------------------------- */

/* Rounds to the nearest integer, ties to even: adding 1.5 * 2^52 leaves it in the lowest bits. */
static inline uint32_t round_code(double exact) {
  uint64_t bits;
  exact += 0x1.8p52;
  memcpy(&bits, &exact, 8);
  return (uint32_t)bits;
}

static inline uint32_t code_of(float value, const Scale *scale) {
  const uint32_t code = round_code(((double)value - scale->lowest) * scale->codes_per_unit);
  return is_missing(value) ? scale->missing : code;
}

static Scale scale_of(double lowest, double highest, int bits) {
  const uint32_t max_code = bits == 8 ? 254 : 65534;
  Scale scale = {lowest, 0, 0, max_code + 1};
  if (highest > lowest) scale.codes_per_unit = max_code / (highest - lowest);
  if (lowest <= 0 && highest >= 0) scale.zero = round_code(-lowest * scale.codes_per_unit);
  return scale;
}

/* Writes the values of a gene in a tile to its vector; `bits` is 32 for float32. */
SPECIALIZED int scatter(void *vector, const Tile *tile, int64_t first, int64_t last, const Scale *scale,
                        int bits, int type, int cell_bytes) {
  const int64_t base = tile->first_cell - (cell_bytes == 0 ? first : 0);
  const int64_t limit = tile->first_cell + tile->n_cells;
  for (int64_t i = first; i < last; i++) {
    const float value = value_at(tile->values, i, type);
    const int64_t cell = base + cell_at(tile->cells, i, cell_bytes);
    if (cell >= limit) return DAMAGED;
    if (bits == 8) ((uint8_t *)vector)[cell] = (uint8_t)code_of(value, scale);
    else if (bits == 16) ((uint16_t *)vector)[cell] = (uint16_t)code_of(value, scale);
    else ((float *)vector)[cell] = value;
  }
  return OK;
}

/* Appends the values of a gene in a tile to its tokens, if their code is not that of zero. */
SPECIALIZED int tokenize(Tokens *tokens, int64_t *next_cell, const Tile *tile, int64_t first,
                         int64_t last, const Scale *scale, int type, int cell_bytes) {
  const int64_t base = tile->first_cell - (cell_bytes == 0 ? first : 0);
  const int64_t limit = tile->first_cell + tile->n_cells;
  const Scale own = *scale;
  int64_t n = tokens->n_tokens, next = *next_cell, expected = tile->first_cell;
  bool sorted = next <= expected;
  for (int64_t i = first; i < last; i++) {
    const int64_t cell = base + cell_at(tile->cells, i, cell_bytes);
    const uint32_t code = code_of(value_at(tile->values, i, type), &own);
    sorted &= cell >= expected;
    expected = cell + 1;
    tokens->gaps[n] = (uint32_t)(cell - next);
    tokens->codes[n] = (uint8_t)code;
    const bool other = code != own.zero;
    n += other;
    next = other ? expected : next;
  }
  tokens->n_tokens = n;
  *next_cell = next;
  return !sorted ? UNSORTED : expected > limit ? DAMAGED : OK;
}

#define FOR_CELLS(call, type) \
  (!tile->indptr ? call(type, 0) : tile->cell_bytes == 2 ? call(type, 2) : call(type, 4))
#define FOR_TYPES(call)                                    \
  switch (tile->value_type) {                              \
    case UINT8: return FOR_CELLS(call, UINT8);             \
    case INT8: return FOR_CELLS(call, INT8);               \
    case UINT16: return FOR_CELLS(call, UINT16);           \
    case INT16: return FOR_CELLS(call, INT16);             \
    case FLOAT16: return FOR_CELLS(call, FLOAT16);         \
    case FLOAT64: return FOR_CELLS(call, FLOAT64);         \
    default: return FOR_CELLS(call, FLOAT32);              \
  }

static int scatter_8(void *vector, const Tile *tile, int64_t first, int64_t last, const Scale *scale) {
#define CALL(type, cell_bytes) scatter(vector, tile, first, last, scale, 8, type, cell_bytes)
  FOR_TYPES(CALL)
#undef CALL
}

static int scatter_16(void *vector, const Tile *tile, int64_t first, int64_t last, const Scale *scale) {
#define CALL(type, cell_bytes) scatter(vector, tile, first, last, scale, 16, type, cell_bytes)
  FOR_TYPES(CALL)
#undef CALL
}

static int scatter_32(void *vector, const Tile *tile, int64_t first, int64_t last, const Scale *scale) {
#define CALL(type, cell_bytes) scatter(vector, tile, first, last, scale, 32, type, cell_bytes)
  FOR_TYPES(CALL)
#undef CALL
}

static int tokenize_tile(Tokens *tokens, int64_t *next_cell, const Tile *tile, int64_t first,
                         int64_t last, const Scale *scale) {
#define CALL(type, cell_bytes) tokenize(tokens, next_cell, tile, first, last, scale, type, cell_bytes)
  FOR_TYPES(CALL)
#undef CALL
}

/* Fills the vector of a gene: codes of 8 or 16 bits, or float32. */
static int fill_vector(void *vector, const Genes *genes, int64_t gene, const Scale *scale, int bits) {
  if (bits == 16 && scale->zero)
    for (int64_t cell = 0; cell < genes->n_cells; cell++)
      ((uint16_t *)vector)[cell] = (uint16_t)scale->zero;
  else
    memset(vector, bits == 8 ? (int)scale->zero : 0, (size_t)genes->n_cells * (size_t)(bits / 8));
  for (int64_t t = 0; t < genes->n_tiles; t++) {
    const Tile *tile = &genes->tiles[t];
    int64_t first, last;
    if (!gene_values(tile, gene, genes->n_cells, &first, &last)) return DAMAGED;
    const int result = bits == 8    ? scatter_8(vector, tile, first, last, scale)
                       : bits == 16 ? scatter_16(vector, tile, first, last, scale)
                                    : scatter_32(vector, tile, first, last, scale);
    if (result) return result;
  }
  return OK;
}

/* Makes the tokens of a gene. Where fewer than half of its cells have a value, zero has the most
   frequent code and the vector itself is not needed; else it is made in `vector`. */
static int tokens_of_gene(Tokens *tokens, uint8_t *vector, const Genes *genes, int64_t gene,
                          const Scale *scale) {
  int64_t first, last, n_stored = 0, next_cell = 0;
  for (int64_t t = 0; t < genes->n_tiles; t++) {
    if (!gene_values(&genes->tiles[t], gene, genes->n_cells, &first, &last)) return DAMAGED;
    n_stored += last - first;
  }
  if (n_stored > (genes->n_cells - 1) / 2) {
    const int result = fill_vector(vector, genes, gene, scale, 8);
    if (result == OK) tokens_of_vector(tokens, vector, genes->n_cells);
    return result;
  }
  tokens->n_cells = genes->n_cells;
  tokens->n_tokens = 0;
  tokens->background = (uint8_t)scale->zero;
  for (int64_t t = 0; t < genes->n_tiles; t++) {
    gene_values(&genes->tiles[t], gene, genes->n_cells, &first, &last);
    const int result = tokenize_tile(tokens, &next_cell, &genes->tiles[t], first, last, scale);
    if (result) return result;
  }
  tokens->tail = genes->n_cells - next_cell;
  return OK;
}
