"""What to say of a local path that does not exist."""

from __future__ import annotations

import os
from difflib import get_close_matches
from itertools import islice

_MOST = 10_000  # names of a folder to look at


def says_missing(path: str) -> str:
    """Say that a local path does not exist, and what may have been meant by it."""
    folder, name = os.path.split(path)
    try:
        with os.scandir(folder) as entries:
            near = get_close_matches(name, (entry.name for entry in islice(entries, _MOST)), n=1)
    except OSError:
        return f"{path} does not exist, nor does its folder."
    return f"{path} does not exist{f': did you mean {near[0]}?' if near else '.'}"
