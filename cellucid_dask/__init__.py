"""Export single-cell atlases larger than memory for the Cellucid viewer.

The functions load on first use, so that ``cellucid-dask --help`` need not import
the scientific stack.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from cellucid_dask._version import __version__
from cellucid_dask.errors import ExportError, ExportWarning, RequestError

if TYPE_CHECKING:
    from cellucid_dask.api import export, plan
    from cellucid_dask.compat import prepare
    from cellucid_dask.engine.result import ExportResult
    from cellucid_dask.planning import ExportPlan
    from cellucid_dask.read.catalog import catalog
    from cellucid_dask.read.export import Export
    from cellucid_dask.read.open_export import open_export
    from cellucid_dask.read.report import VerifyReport
    from cellucid_dask.read.verify import verify


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
    "Export": "cellucid_dask.read.export",
    "ExportPlan": "cellucid_dask.planning",
    "ExportResult": "cellucid_dask.engine.result",
    "VerifyReport": "cellucid_dask.read.report",
    "catalog": "cellucid_dask.read.catalog",
    "export": "cellucid_dask.api",
    "open_export": "cellucid_dask.read.open_export",
    "plan": "cellucid_dask.api",
    "verify": "cellucid_dask.read.verify",
    "prepare": "cellucid_dask.compat",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return __all__
