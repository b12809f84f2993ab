"""The plan: how a matrix is cut into blocks so that all tasks fit a memory budget.

Pure arithmetic; no data are read. A matrix stored gene by gene (CSC, column chunks) is encoded
as it is read: route ``direct``. A matrix stored cell by cell is read once, and its tiles are
written to scratch for a second pass over the genes: route ``scratch``, or ``workers`` where the
workers of a cluster share no disk and keep the tiles in memory. Reading a compressed matrix a
second time costs more than writing and reading scratch, so there is no other route.
"""

from cellucid_dask.planning.blocks import Layout, split_by_cost
from cellucid_dask.planning.genes import make_plan
from cellucid_dask.planning.plan import ExportPlan

__all__ = ["ExportPlan", "Layout", "make_plan", "split_by_cost"]
