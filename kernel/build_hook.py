"""Build the kernel into the wheel, if there is a C compiler; otherwise the wheel is pure Python.

STREAMAPP_BUILD_KERNEL=0 leaves it out; STREAMAPP_BUILD_KERNEL=1 makes a failure of the compiler an error.
"""

from __future__ import annotations

import os
import sys
import sysconfig
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

sys.path.insert(0, str(Path(__file__).parent))
from compiler import FILE_NAME, compile_kernel

_WANTED = "STREAMAPP_BUILD_KERNEL"


class KernelHook(BuildHookInterface[Any]):
    """The kernel as a module of its own, also in an editable wheel: each environment has its own."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile the kernel, and tag the wheel for this platform and every Python from 3.11 on."""
        self._folder = TemporaryDirectory()
        made = Path(self._folder.name) / FILE_NAME
        if not self._compile(made):
            return
        build_data["pure_python"] = False
        build_data["tag"] = "cp311-abi3-" + sysconfig.get_platform().replace("-", "_").replace(".", "_")
        # At the top: an editable wheel has no package.
        included = "force_include_editable" if version == "editable" else "force_include"
        build_data[included][str(made)] = FILE_NAME

    def finalize(self, _version: str, _build_data: dict[str, Any], _artifact_path: str) -> None:
        """Remove what the wheel has a copy of."""
        self._folder.cleanup()

    def _compile(self, target: Path) -> bool:
        wanted = os.environ.get(_WANTED, "")
        if wanted == "0":
            return False
        try:
            compile_kernel(target)
        except Exception as exc:  # whatever it is: nothing but speed depends on the kernel
            if wanted == "1":
                raise
            self.app.display_warning(f"The kernel is not compiled, which streamapp does not need: {exc}")
            return False
        return True
