/* Tiles -> the columns of a CSC matrix: the values that are not zero, as they are, and their cells. */

typedef struct {
  void *values;     /* float, or double if `wide` */
  int32_t *cells;
  int64_t n, limit; /* that were written, and that may be */
  bool wide;
} Columns;

SPECIALIZED double exact_at(const void *values, int64_t i, int type) {
  return type == FLOAT64 ? ((const double *)values)[i] + 0.0 : value_at(values, i, type);
}

SPECIALIZED int gather(Columns *columns, const Tile *tile, int64_t first, int64_t last, int type,
                       int cell_bytes) {
  const int64_t base = tile->first_cell - (cell_bytes == 0 ? first : 0), limit = columns->limit;
  const bool wide = columns->wide;
  int64_t n = columns->n, expected = tile->first_cell;
  bool sorted = true;
  for (int64_t i = first; i < last; i++) {
    const double value = exact_at(tile->values, i, type);
    const int64_t cell = base + cell_at(tile->cells, i, cell_bytes);
    sorted &= cell >= expected;
    expected = cell + 1;
    if (n < limit) {
      if (wide) ((double *)columns->values)[n] = value;
      else ((float *)columns->values)[n] = (float)value;
      columns->cells[n] = (int32_t)cell;
    }
    n += value != 0;
  }
  columns->n = n;
  return sorted && n <= limit && expected <= tile->first_cell + tile->n_cells ? OK : DAMAGED;
}

static int gather_tile(Columns *columns, const Tile *tile, int64_t first, int64_t last) {
#define CALL(type, cell_bytes) gather(columns, tile, first, last, type, cell_bytes)
  FOR_TYPES(CALL)
#undef CALL
}

/* Appends genes first ... last - 1, one after the other; `counts` says how many values each has. */
static int gather_columns(Columns *columns, const Genes *genes, int64_t first, int64_t last,
                          const int64_t *counts) {
  for (int64_t gene = first; gene < last; gene++) {
    columns->limit += counts[gene - first];
    for (int64_t t = 0; t < genes->n_tiles; t++) {
      const Tile *tile = &genes->tiles[t];
      int64_t start, stop;
      if (!gene_values(tile, gene, genes->n_cells, &start, &stop)) return DAMAGED;
      const int result = gather_tile(columns, tile, start, stop);
      if (result) return result;
    }
    if (columns->n != columns->limit) return DAMAGED;
  }
  return OK;
}
