"""Compiles the scoring kernel into the wheel, whose name then says for which platform it is."""

import sys
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCE = Path(__file__).parent / "src"


class KernelHook(BuildHookInterface[Any]):
    """hatchling's hook; an editable installation has its kernel compiled beside the source instead."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compiles the kernel where a wheel is built; plain C, so that one serves every Python of the platform."""
        if version == "editable":
            return
        sys.path.insert(0, str(SOURCE))
        from riskline.shared.model.build import build  # noqa: PLC0415  # not there before its path is

        build()
        platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{platform}"
