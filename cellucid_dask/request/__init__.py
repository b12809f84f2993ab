"""Options, resolved against the source."""
