"""Runs a command that ends with the process that started it, even where that one is killed without a word.

Started as a script (`python tether.py PID SIGNAL COMMAND…`), so it imports nothing of ours and costs milliseconds.
Linux keeps the request over exec; elsewhere the command simply runs, and the next `riskline up` ends what it finds.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Asks the kernel for the signal at the parent's death, then becomes the command."""
    parent, wanted, command = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, wanted, 0, 0, 0)
        if os.getppid() != parent:
            # it died before the request was made: nobody would be told
            raise SystemExit(128 + signal.SIGTERM)
    os.execvp(command[0], command)  # noqa: S606  # a list of our own words, no shell wanted


if __name__ == "__main__":
    main()
