/* Rows -> a tile: a counting sort by column. Rows are those of a CSR matrix, or dense.

   Values keep their type where float32 holds it, else they become float32. */

typedef struct {
  const int64_t *indptr; /* (n_rows + 1,): into `indices` and `values`; NULL: dense */
  const void *indices;
  const void *values;    /* of dense rows (n_rows, n_columns), all genes */
  const int32_t *lookup; /* (n_columns,): the gene of a column, or -1; NULL: columns are genes */
  int64_t n_rows, n_columns, n_values, n_genes;
  int32_t index_bytes; /* 4 or 8 */
  int32_t value_type;
} Rows;

SPECIALIZED uint64_t index_at(const void *indices, int64_t i, int index_bytes) {
  /* negative ones become so large that they are out of range */
  return index_bytes == 4 ? (uint64_t)(int64_t)((const int32_t *)indices)[i]
                          : ((const uint64_t *)indices)[i];
}

/* Counts the values of each gene into starts[gene + 1], and checks every index on the way. */
SPECIALIZED int count(const Rows *rows, int64_t *starts, int index_bytes) {
  bool inside = true;
  for (int64_t i = rows->indptr[0]; i < rows->indptr[rows->n_rows]; i++) {
    const uint64_t column = index_at(rows->indices, i, index_bytes);
    if (column >= (uint64_t)rows->n_columns) {
      inside = false;
      continue;
    }
    const int64_t gene = rows->lookup ? rows->lookup[column] : (int64_t)column;
    if (gene >= 0) starts[gene + 1]++;
  }
  return inside ? OK : DAMAGED;
}

static int check_rows(const Rows *rows) {
  if (rows->indptr[0] < 0 || rows->indptr[rows->n_rows] > rows->n_values) return DAMAGED;
  for (int64_t row = 0; row < rows->n_rows; row++)
    if (rows->indptr[row] > rows->indptr[row + 1]) return DAMAGED;
  if (rows->lookup)
    for (int64_t column = 0; column < rows->n_columns; column++)
      if (rows->lookup[column] >= rows->n_genes) return DAMAGED;
  return OK;
}

SPECIALIZED void store(void *out, int64_t to, const void *values, int64_t from, int type) {
  float *floats = out;
  switch (type) {
    case UINT8: case INT8: ((uint8_t *)out)[to] = ((const uint8_t *)values)[from]; break;
    case UINT16: case INT16: case FLOAT16:
      ((uint16_t *)out)[to] = ((const uint16_t *)values)[from];
      break;
    case FLOAT32: floats[to] = ((const float *)values)[from]; break;
    case INT32: floats[to] = (float)((const int32_t *)values)[from]; break;
    case UINT32: floats[to] = (float)((const uint32_t *)values)[from]; break;
    case INT64: floats[to] = (float)((const int64_t *)values)[from]; break;
    case UINT64: floats[to] = (float)((const uint64_t *)values)[from]; break;
    default: floats[to] = (float)((const double *)values)[from];
  }
}

/* Writes values and their rows to where the counts say; `next` is where the next of each gene goes. */
SPECIALIZED int place(const Rows *rows, int64_t *next, const int64_t *starts, void *cells, void *out,
                      int index_bytes, int type) {
  uint16_t *short_cells = cells;
  bool different = true;
  for (int64_t row = 0; row < rows->n_rows; row++) {
    for (int64_t i = rows->indptr[row]; i < rows->indptr[row + 1]; i++) {
      const uint64_t column = index_at(rows->indices, i, index_bytes);
      const int64_t gene = rows->lookup ? rows->lookup[column] : (int64_t)column;
      if (gene < 0) continue;
      const int64_t to = next[gene]++;
      if (to && short_cells[to - 1] == row && to > starts[gene]) different = false;
      short_cells[to] = (uint16_t)row;
      store(out, to, rows->values, i, type);
    }
  }
  return different ? OK : UNSORTED;
}

/* ---- Dense rows ----------------------------------------------------------------------------- */

/* Whether a value is other than zero; NaN is. */
SPECIALIZED bool is_value(const void *values, int64_t i, int type) {
  switch (type) {
    case UINT8: return ((const uint8_t *)values)[i] != 0;
    case UINT16: return ((const uint16_t *)values)[i] != 0;
    case FLOAT16: return (((const uint16_t *)values)[i] & 0x7fff) != 0;
    case FLOAT32: return ((const float *)values)[i] != 0;
    case INT32: case UINT32: return ((const int32_t *)values)[i] != 0;
    case INT64: case UINT64: return ((const int64_t *)values)[i] != 0;
    default: return ((const double *)values)[i] != 0;
  }
}

SPECIALIZED int count_dense(const Rows *rows, int64_t *starts, int type) {
  for (int64_t row = 0; row < rows->n_rows; row++)
    for (int64_t gene = 0; gene < rows->n_genes; gene++)
      starts[gene + 1] += is_value(rows->values, row * rows->n_genes + gene, type);
  return OK;
}

SPECIALIZED int place_dense(const Rows *rows, int64_t *next, void *cells, void *out, int type) {
  uint16_t *short_cells = cells;
  for (int64_t row = 0; row < rows->n_rows; row++)
    for (int64_t gene = 0; gene < rows->n_genes; gene++) {
      const int64_t from = row * rows->n_genes + gene;
      if (!is_value(rows->values, from, type)) continue;
      const int64_t to = next[gene]++;
      short_cells[to] = (uint16_t)row;
      store(out, to, rows->values, from, type);
    }
  return OK;
}

/* ---- By type -------------------------------------------------------------------------------- */

/* Types that are copied as they are differ in size alone. */
#define BY_TYPE(call)                            \
  switch (rows->value_type) {                    \
    case UINT8: case INT8: return call(UINT8);   \
    case UINT16: case INT16: return call(UINT16); \
    case FLOAT16: return call(FLOAT16);          \
    case FLOAT32: return call(FLOAT32);          \
    case INT32: return call(INT32);              \
    case UINT32: return call(UINT32);            \
    case INT64: return call(INT64);              \
    case UINT64: return call(UINT64);            \
    default: return call(FLOAT64);               \
  }

static int count_dense_by_type(const Rows *rows, int64_t *starts) {
#define COUNT(type) count_dense(rows, starts, type)
  BY_TYPE(COUNT)
#undef COUNT
}

static int place_by_type(const Rows *rows, int64_t *next, const int64_t *starts, void *cells, void *out) {
#define DENSE(type) place_dense(rows, next, cells, out, type)
#define SHORT(type) place(rows, next, starts, cells, out, 4, type)
#define LONG(type) place(rows, next, starts, cells, out, 8, type)
  if (!rows->indptr) BY_TYPE(DENSE)
  if (rows->index_bytes == 4) BY_TYPE(SHORT)
  BY_TYPE(LONG)
#undef DENSE
#undef SHORT
#undef LONG
}

/* Finds where each gene begins in the tile; CSR rows are checked on the way. */
static int count_genes(const Rows *rows, int64_t *starts) {
  memset(starts, 0, (size_t)(rows->n_genes + 1) * sizeof *starts);
  int result = rows->indptr ? check_rows(rows) : count_dense_by_type(rows, starts);
  if (result == OK && rows->indptr)
    result = rows->index_bytes == 4 ? count(rows, starts, 4) : count(rows, starts, 8);
  for (int64_t gene = 0; gene < rows->n_genes; gene++) starts[gene + 1] += starts[gene];
  return result;
}
