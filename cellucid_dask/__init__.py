"""Export single-cell atlases larger than memory for the Cellucid viewer.

The functions load on first use, so that ``cellucid-dask --help`` need not import
the scientific stack.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from cellucid_dask.errors import ExportError, ExportWarning, RequestError

if TYPE_CHECKING:
    from cellucid_dask.api import ExportResult, export, plan
    from cellucid_dask.catalogue import catalog
    from cellucid_dask.drop_in import prepare
    from cellucid_dask.planning import ExportPlan

__version__ = "0.1.0.dev0"

__all__ = [
    "ExportError",
    "ExportPlan",
    "ExportResult",
    "ExportWarning",
    "RequestError",
    "__version__",
    "catalog",
    "export",
    "plan",
    "prepare",
]

_HOME = {
    "ExportPlan": "cellucid_dask.planning",
    "ExportResult": "cellucid_dask.api",
    "catalog": "cellucid_dask.catalogue",
    "export": "cellucid_dask.api",
    "plan": "cellucid_dask.api",
    "prepare": "cellucid_dask.drop_in",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return __all__
