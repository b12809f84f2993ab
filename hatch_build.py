"""Compiles the kernel when the package is built or installed, also from a clone."""

from __future__ import annotations

import platform
import runpy
import sysconfig
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

_BUILD = "cellucid_dask/kernel/csrc/build.py"


class KernelHook(BuildHookInterface):
    """One wheel for each platform: ctypes loads the kernel in every version of Python."""

    def dependencies(self) -> list[str]:
        """Ask for a C compiler from PyPI where there is none."""
        return [] if runpy.run_path(f"{self.root}/{_BUILD}")["compiler"]() else ["ziglang"]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002
        """Compile the kernel and name the wheel's platform."""
        tag = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        options = []
        if tag.startswith("macosx"):
            minimum = ".".join(tag.split("_")[1:3])
            machines = ["arm64", "x86_64"] if tag.endswith("universal2") else [platform.machine()]
            if tag.endswith(("arm64", "x86_64")):
                machines = ["arm64" if tag.endswith("arm64") else "x86_64"]
            options = [f"-mmacosx-version-min={minimum}"]
            for machine in machines:
                options += ["-arch", machine]
        runpy.run_path(f"{self.root}/{_BUILD}")["compile_kernel"](options)
        build_data["artifacts"].append("/cellucid_dask/kernel/_kernel.so")
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{tag}"
