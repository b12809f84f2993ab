"""The plan: how a matrix is cut so that the work fits a fixed memory. Pure, no data read.

A matrix stored gene after gene (CSC, column chunks) goes straight through: route
``direct``. One stored cell after cell is read once; its tiles wait in scratch for the
pass over the genes: route ``scratch``, or ``workers`` where the workers of a cluster
share no disk and hold the tiles themselves. Reading a compressed matrix a second time
costs more than writing and reading scratch, so there is no other way through.
"""

from cellucid_dask.planning.blocks import Layout, split_by_cost
from cellucid_dask.planning.genes import make_plan
from cellucid_dask.planning.plan import ExportPlan

__all__ = ["ExportPlan", "Layout", "make_plan", "split_by_cost"]
