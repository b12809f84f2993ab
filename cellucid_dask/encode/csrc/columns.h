/* Tiles -> the columns of a CSC matrix: the values that are not zero, as they are, and their cells. */

SPECIALIZED int gather(float *values, int32_t *cells, int64_t *next, int64_t limit, const Tile *tile,
                       int64_t first, int64_t last, int type, int cell_bytes) {
  const int64_t base = tile->first_cell - (cell_bytes == 0 ? first : 0);
  int64_t n = *next, expected = tile->first_cell;
  bool sorted = true;
  for (int64_t i = first; i < last; i++) {
    const float value = value_at(tile->values, i, type);
    const int64_t cell = base + cell_at(tile->cells, i, cell_bytes);
    sorted &= cell >= expected;
    expected = cell + 1;
    if (n < limit) {
      values[n] = value;
      cells[n] = (int32_t)cell;
    }
    n += value != 0;
  }
  *next = n;
  return sorted && n <= limit && expected <= tile->first_cell + tile->n_cells ? OK : DAMAGED;
}

static int gather_tile(float *values, int32_t *cells, int64_t *next, int64_t limit, const Tile *tile,
                       int64_t first, int64_t last) {
#define CALL(type, cell_bytes) gather(values, cells, next, limit, tile, first, last, type, cell_bytes)
  FOR_TYPES(CALL)
#undef CALL
}

/* Writes genes first ... last - 1, one after the other; `counts` says how many values each has. */
static int gather_columns(const Genes *genes, int64_t first, int64_t last, const int64_t *counts,
                          float *values, int32_t *cells) {
  int64_t next = 0, limit = 0;
  for (int64_t gene = first; gene < last; gene++) {
    limit += counts[gene - first];
    for (int64_t t = 0; t < genes->n_tiles; t++) {
      const Tile *tile = &genes->tiles[t];
      int64_t start, stop;
      if (!gene_values(tile, gene, genes->n_cells, &start, &stop)) return DAMAGED;
      const int result = gather_tile(values, cells, &next, limit, tile, start, stop);
      if (result) return result;
    }
    if (next != limit) return DAMAGED;
  }
  return OK;
}
