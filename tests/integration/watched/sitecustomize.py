"""Put on a process's path by a test: Python runs this at its start, and so the process itself needs no hook.

When the file `tell` appears in WATCH_DIRECTORY it writes which modules are loaded, and every use of pickle to load
something; but for those named below, such a use raises.
"""

import importlib.machinery
import json
import os
import sys
import threading
import time
from pathlib import Path
from types import ModuleType
from typing import Any

DIRECTORY = Path(os.environ["WATCH_DIRECTORY"])

FAMILY = {
    ("multiprocessing/spawn.py", "_main"): "started",
    ("uvicorn/supervisors/multiprocess.py", "pong"): "pinged",
    ("uvicorn/supervisors/multiprocess.py", "_healthcheck"): "pinged",
}
"""How several API processes are kept by one: a child reads what it is to do, and each second both that the other lives,
from pipes that only they have."""

loads: list[str] = []


def stack() -> list[tuple[str, str]]:
    """File and function of each frame, the innermost first, without this file's and the import system's."""
    frames, frame = [], sys._getframe(1)
    while frame is not None:
        name = frame.f_code.co_filename
        if name != __file__ and "importlib" not in name:
            frames.append((name, frame.f_code.co_name))
        frame = frame.f_back
    return frames


def met(what: str) -> None:
    """A use of pickle that loads."""
    frames = stack()
    for (file, at), how in FAMILY.items():
        if any(name.endswith(file) and function == at for name, function in frames):
            loads.append(how)
            return
    loads.append(f"{what} by {frames[:4]}")
    raise RuntimeError(f"{what} in a process that never unpickles")


def audited(event: str, arguments: tuple[Any, ...]) -> None:
    """Also sees what takes another way into the C code."""
    if event == "pickle.find_class":
        met(f"find_class of {arguments}")


class Watched:
    """Finds pickle as ever, and has its ways to load say so."""

    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        if name != "pickle":
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        execute = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            execute(module)
            load, load_string, unpickler = module.load, module.loads, module.Unpickler

            class Unpickler(unpickler):
                def __init__(self, *args: Any, **kwargs: Any) -> None:
                    met("Unpickler")
                    super().__init__(*args, **kwargs)

            module.load = lambda *args, **kwargs: (met("load"), load(*args, **kwargs))[1]
            module.loads = lambda *args, **kwargs: (met("loads"), load_string(*args, **kwargs))[1]
            module.Unpickler = Unpickler

        spec.loader.exec_module = exec_module
        return spec


def tell_when_asked() -> None:
    """Beside the process's own work."""
    while not (DIRECTORY / "tell").exists():
        time.sleep(0.05)
    told = {"argv": sys.orig_argv, "modules": sorted(sys.modules), "loads": loads}
    unfinished = DIRECTORY / f".{os.getpid()}"
    unfinished.write_text(json.dumps(told))
    unfinished.rename(DIRECTORY / f"{os.getpid()}.json")


sys.addaudithook(audited)
sys.meta_path.insert(0, Watched())
threading.Thread(target=tell_when_asked, daemon=True).start()
