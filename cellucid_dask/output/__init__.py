"""What an export is written as: the formats, behind what the engine asks of each."""

from __future__ import annotations

from importlib import import_module
from typing import cast

from cellucid_dask.output.base import Output

__all__ = ["FORMATS", "Output", "output_of"]

# By name, the ``"module:class"`` of each format, imported on first use.
FORMATS = {"compact_v1": "cellucid_dask.output.compact_v1.output:CompactV1"}


def output_of(name: str) -> Output:
    """Return the format of a name."""
    module, _, kind = FORMATS[name].partition(":")
    return cast(Output, getattr(import_module(module), kind)())
