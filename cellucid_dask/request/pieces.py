"""Names that arrive in pieces: a list on the command line is cut at every comma."""

from __future__ import annotations

from collections.abc import Container, Sequence

_MAX_PIECES = 16


def rejoined(names: Sequence[str], known: Container[str]) -> list[str]:
    """Join pieces that are a known name only together, and drop spaces around names.

    Parameters
    ----------
    names
        Names, of which those with commas may be in pieces.
    known
        The names that exist.

    Returns
    -------
    list of str
        The names; those that are not known stay as they are.

    Examples
    --------
    >>> rejoined(["A", " B", "2", "3-dioxygenase", "C"], {"A", "B", "2,3-dioxygenase"})
    ['A', 'B', '2,3-dioxygenase', 'C']
    """
    joined: list[str] = []
    start = 0
    while start < len(names):
        found, used = names[start], 1
        for n_pieces in range(1, min(len(names) - start, _MAX_PIECES) + 1):
            text = ",".join(names[start : start + n_pieces])
            match = text if text in known else text.strip()
            if match in known:
                found, used = match, n_pieces
                break
        joined.append(found)
        start += used
    return joined
