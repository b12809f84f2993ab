"""The format ``compact_v1``: file names, documents and values. No I/O."""
