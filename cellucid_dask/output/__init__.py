"""What an export is written as: the formats, behind what the engine asks of each."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from typing import cast

from cellucid_dask.display import first_few
from cellucid_dask.errors import RequestError
from cellucid_dask.output.base import Output
from cellucid_dask.request.settings import Settings

__all__ = ["FORMATS", "Output", "output_for", "output_of"]

# By name, the ``"module:class"`` of each format, imported on first use.
FORMATS = {
    "compact_v1": "cellucid_dask.output.compact_v1.output:CompactV1",
    "cellucid-zarr": "cellucid_dask.output.cellucid_zarr.output:CellucidZarr",
}


def output_for(settings: Settings, given: Iterable[str]) -> Output:
    """Return the format that settings name.

    Parameters
    ----------
    settings
        Of a run.
    given
        Names of the options that were given.

    Raises
    ------
    RequestError
        An option was given that the format has no use for.
    """
    output = output_of(settings.format)
    if useless := sorted(output.unused.intersection(given)):
        raise RequestError(
            f"{settings.format} has no use for {first_few(useless)}: leave it out, or choose "
            "another format."
        )
    return output


def output_of(name: str) -> Output:
    """Return the format of a name."""
    module, _, kind = FORMATS[name].partition(":")
    return cast(Output, getattr(import_module(module), kind)())
