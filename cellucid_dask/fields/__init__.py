"""What an export holds besides genes: points and cell metadata, without I/O."""
