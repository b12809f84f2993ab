/* Checksums of the genes of tiles, which wait on a disk. */

/* Fills (n_tiles, n_genes) with checksums of the cells and values of each gene in each tile. */
static int sum_genes(const Genes *genes, uint64_t *sums) {
  static const size_t value_bytes[] = {1, 1, 2, 2, 2, 4, 4, 4, 8, 8, 8};
  for (int64_t t = 0; t < genes->n_tiles; t++) {
    const Tile *tile = &genes->tiles[t];
    const size_t width = value_bytes[tile->value_type];
    for (int64_t gene = 0; gene < genes->n_genes; gene++) {
      int64_t first, last;
      if (!gene_values(tile, gene, genes->n_cells, &first, &last)) return DAMAGED;
      uint64_t sum = add_bytes(0, (const uint8_t *)tile->values + (size_t)first * width,
                               (size_t)(last - first) * width);
      if (tile->indptr)
        sum = add_bytes(sum, (const uint8_t *)tile->cells + first * tile->cell_bytes,
                        (size_t)((last - first) * tile->cell_bytes));
      sums[t * genes->n_genes + gene] = sum;
    }
  }
  return OK;
}
