"""Any fsspec store: opening it, reading and writing many objects at once, and its failures."""
