"""Trims the heap of a process that has loaded everything it needs."""

import ctypes
import gc


def freeze_heap() -> None:
    """Excludes all present objects from garbage collection, and returns free memory to the system.

    Without it the collector looks through all modules between two answers, and a process keeps the megabytes that
    unpacking a model or building schemas needed for a moment.
    """
    gc.collect()
    gc.freeze()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    # glibc only; other C libraries return memory by themselves
    if trim is not None:
        trim(0)
