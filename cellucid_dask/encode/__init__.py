"""From rows of cells to the bytes of one file per gene, without I/O."""
