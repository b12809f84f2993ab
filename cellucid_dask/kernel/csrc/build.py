"""Compile the kernel into the package: ``python cellucid_dask/kernel/csrc/build.py``."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

SOURCE = Path(__file__).with_name("kernel.c")
LIBRARY = SOURCE.parents[1] / "_kernel.so"

# For the baseline of the architecture, and with floating point as the C standard has it: the bytes
# of an export do not depend on the machine.
_FLAGS = [
  "-std=c11", "-O3", "-fPIC", "-shared", "-fvisibility=hidden", "-ffp-contract=off",
  "-Wall", "-Wextra",
]  # fmt: skip
_ZIG = (sys.executable, "-m", "ziglang", "cc", "-mcpu=baseline")


def compiler() -> tuple[str, ...] | None:
    """Return the command of the C compiler of this machine; ``None`` if there is none."""
    named = tuple(shlex.split(os.environ.get("CC", ""))) or ("cc",)
    return named if shutil.which(named[0]) else None


def compile_kernel(options: Sequence[str] = ()) -> None:
    """Compile the kernel: with this machine's compiler, else with the one of package `ziglang`."""
    unfinished = LIBRARY.with_suffix(f".{os.getpid()}.part")
    command = [*(compiler() or _ZIG), *_FLAGS, *options, "-o", str(unfinished), str(SOURCE)]
    try:
        subprocess.run(command, check=True)
        unfinished.replace(LIBRARY)  # running processes keep the old one
    finally:
        unfinished.unlink(missing_ok=True)


if __name__ == "__main__":
    compile_kernel()
