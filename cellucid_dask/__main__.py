"""``python -m cellucid_dask``: the command line."""

import sys

from cellucid_dask.cli import main

sys.exit(main())
