"""The error of a local path that does not exist."""

from __future__ import annotations

import os
from difflib import get_close_matches
from itertools import islice

from cellucid_dask.errors import RequestError

_MOST = 10_000  # names of a folder to look at


def not_there(path: str) -> RequestError:
    """Return the error of a local path that does not exist, with what may have been meant."""
    folder, name = os.path.split(path)
    try:
        with os.scandir(folder) as entries:
            near = get_close_matches(name, (entry.name for entry in islice(entries, _MOST)), n=1)
    except OSError:
        return RequestError(f"{path} does not exist, nor does its folder.")
    if near:
        return RequestError(f"{path} does not exist: did you mean {near[0]}?")
    return RequestError(f"{path} does not exist.")
