"""Export with workers that dask-jobqueue submits to Slurm.

python jobqueue.py SOURCE TARGET [SCRATCH]
"""

import sys
from pathlib import Path

from dask_jobqueue import SLURMCluster
from distributed import Client

import cellucid_dask as cd


def main() -> None:
    """Start workers, wait for them, export."""
    source, target, *scratch = sys.argv[1:]
    cluster = SLURMCluster(
        cores=8,
        processes=8,
        memory="32GiB",
        walltime="02:00:00",
        security=True,  # certificates of this cluster's own: nobody else can run code on it
        shared_temp_directory=str(Path.cwd()),  # where its workers find them
        # queue="...", account="...", interface="ib0": as your site says
    )
    with cluster, Client(cluster) as client:
        cluster.scale(jobs=2)
        client.wait_for_workers(16, timeout=3600)
        print(cd.export(source, target, scratch=next(iter(scratch), None)))


if __name__ == "__main__":
    main()
