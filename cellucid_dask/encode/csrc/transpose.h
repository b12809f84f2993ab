/* Rows -> a tile: a counting sort by column.

   Values keep their type where float32 holds it, else they become float32. */

typedef enum { INT32 = FLOAT32 + 1, UINT32, INT64, UINT64, FLOAT64 } WideType;

typedef struct {
  const int64_t *indptr; /* (n_rows + 1,): into `indices` and `values` */
  const void *indices;
  const void *values;
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

static int count_genes(const Rows *rows, int64_t *starts) {
  if (rows->indptr[0] < 0 || rows->indptr[rows->n_rows] > rows->n_values) return DAMAGED;
  for (int64_t row = 0; row < rows->n_rows; row++)
    if (rows->indptr[row] > rows->indptr[row + 1]) return DAMAGED;
  if (rows->lookup)
    for (int64_t column = 0; column < rows->n_columns; column++)
      if (rows->lookup[column] >= rows->n_genes) return DAMAGED;
  memset(starts, 0, (size_t)(rows->n_genes + 1) * sizeof *starts);
  const int result = rows->index_bytes == 4 ? count(rows, starts, 4) : count(rows, starts, 8);
  for (int64_t gene = 0; gene < rows->n_genes; gene++) starts[gene + 1] += starts[gene];
  return result;
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

static int place_by_type(const Rows *rows, int64_t *next, const int64_t *starts, void *cells, void *out) {
#define PLACE(type)                                                                         \
  (rows->index_bytes == 4 ? place(rows, next, starts, cells, out, 4, type)                  \
                          : place(rows, next, starts, cells, out, 8, type))
  switch (rows->value_type) {
    case UINT8: case INT8: return PLACE(UINT8);
    case UINT16: case INT16: case FLOAT16: return PLACE(UINT16);
    case FLOAT32: return PLACE(FLOAT32);
    case INT32: return PLACE(INT32);
    case UINT32: return PLACE(UINT32);
    case INT64: return PLACE(INT64);
    case UINT64: return PLACE(UINT64);
    default: return PLACE(FLOAT64);
  }
#undef PLACE
}
