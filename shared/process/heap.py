"""What a process does once it has everything that it will keep."""

import ctypes
import gc


def freeze_heap() -> None:
    """Leaves what is here now out of garbage collections, and gives back what loading it took.

    Without it the collector looks through all modules between two answers, and a process keeps the megabytes that
    unpacking a model or building schemas needed for a moment.
    """
    gc.collect()
    gc.freeze()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    # glibc has it, other C libraries give back by themselves
    if trim is not None:
        trim(0)
