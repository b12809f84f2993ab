"""The compiled kernel, which knows neither formats nor runs: `csrc/` and how it is called."""
