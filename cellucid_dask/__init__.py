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
    from cellucid_dask.reader import Export, open_export
    from cellucid_dask.verification import VerifyReport, verify

__version__ = "0.1.0.dev0"

__all__ = [
    "Export",
    "ExportError",
    "ExportPlan",
    "ExportResult",
    "ExportWarning",
    "RequestError",
    "VerifyReport",
    "__version__",
    "catalog",
    "export",
    "open_export",
    "plan",
    "prepare",
    "verify",
]

_HOME = {
    "Export": "cellucid_dask.reader",
    "ExportPlan": "cellucid_dask.planning",
    "ExportResult": "cellucid_dask.api",
    "VerifyReport": "cellucid_dask.verification",
    "catalog": "cellucid_dask.catalogue",
    "export": "cellucid_dask.api",
    "open_export": "cellucid_dask.reader",
    "plan": "cellucid_dask.api",
    "verify": "cellucid_dask.verification",
    "prepare": "cellucid_dask.drop_in",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return __all__
