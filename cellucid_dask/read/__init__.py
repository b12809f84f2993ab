"""An export, read back and checked."""
