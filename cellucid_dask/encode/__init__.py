"""From rows of cells to one encoded vector a gene, without I/O."""
