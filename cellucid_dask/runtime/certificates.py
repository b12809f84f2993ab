"""The certificate of a Dask cluster that one starts oneself, and the settings that use it.

``python -m cellucid_dask.runtime.certificates FOLDER [FOLDER_ON_THE_MACHINES]``

Client, scheduler and workers share the certificate, which is its own authority, and accept nobody
without it. They find it by ``DASK_CONFIG=FOLDER_ON_THE_MACHINES/dask.yaml``.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import yaml
from distributed.security import Security


def write_certificates(folder: Path, seen_as: str | None = None) -> None:
    """Write ``cert.pem``, ``key.pem`` and ``dask.yaml``, which other users cannot read.

    Parameters
    ----------
    folder
        Where to.
    seen_as
        Path of the folder on the machines of the cluster; by default the same.
    """
    seen = seen_as or str(folder.absolute())
    pair = {"cert": f"{seen}/cert.pem", "key": f"{seen}/key.pem"}
    tls = {"ca-file": pair["cert"], "client": pair, "scheduler": pair, "worker": pair}
    settings = {"distributed": {"comm": {"require-encryption": True, "tls": tls}}}
    made = Security.temporary()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    files = {
        "cert.pem": made.tls_ca_file,
        "key.pem": made.tls_client_key,
        "dask.yaml": yaml.safe_dump(settings),
    }
    for name, text in files.items():
        with open(folder / name, "w", opener=_private) as file:
            file.write(text)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


if __name__ == "__main__":
    write_certificates(Path(sys.argv[1]), *sys.argv[2:3])
