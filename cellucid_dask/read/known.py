"""Names that an export has, and those that may have been meant."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable

from cellucid_dask.errors import RequestError


def check_known(wanted: Iterable[str], genes: Collection[str]) -> None:
    """Check that an export has all the genes asked for.

    Raises
    ------
    RequestError
        It lacks one; the message names those that are spelled alike.
    """
    for name in wanted:
        if name not in genes:
            known = {gene.lower(): gene for gene in genes}
            near = difflib.get_close_matches(str(name).lower(), known, n=3)
            hint = f" Did you mean {', '.join(known[each] for each in near)}?" if near else ""
            raise RequestError(
                f"There is no gene {name!r} among the {len(genes):,} of the export.{hint}"
            )
