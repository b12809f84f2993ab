"""Export on machines that Coiled starts in your cloud account.

python coiled_export.py s3://bucket/atlas.zarr s3://bucket/atlas_export s3://bucket/scratch
"""

import sys

import coiled

import cellucid_dask as cd


def main() -> None:
    """Start four machines beside the data, export, stop them."""
    source, target, scratch = sys.argv[1:]
    with (
        coiled.Cluster(
            name="cellucid-export",
            n_workers=4,
            worker_cpu=4,
            worker_memory="16 GiB",
            region="eu-central-1",  # the bucket's
            idle_timeout="10 minutes",
        ) as cluster,
        cluster.get_client() as client,
    ):
        client.wait_for_workers(4)
        print(cd.export(source, target, scratch=scratch))


if __name__ == "__main__":
    main()
