"""``python -m cellucid_dask``: the command line."""

import gc
import sys
from typing import NoReturn

from cellucid_dask.cli.commands import main


def run() -> NoReturn:
    """Run the command line and end the process."""
    code = main()
    gc.freeze()  # a last garbage collection would take a third of a second
    sys.exit(code)


if __name__ == "__main__":
    run()
