"""Everything that knows ``compact_v1``: file names and manifests, without I/O."""
