"""Stops the parts of a stack whose own process was killed: `python -m deploy.local.watchdog STATE_DIR`.

Its standard input is a pipe that only the stack's process holds open, so the end of input is the end of the stack,
however it came. After an orderly stop there is nothing left to do.
"""

import sys
from pathlib import Path

from deploy.local.home import AlreadyUp, Home, read_record


def main() -> None:
    """Waits for the end of input; then stops what is left, unless a new stack has taken the folder over."""
    sys.stdin.buffer.read()
    directory = Path(sys.argv[1])
    if read_record(directory) is None:
        return
    try:
        home = Home.claim(directory)  # Claiming stops what the record names.
    except AlreadyUp:
        return
    home.release()


if __name__ == "__main__":
    main()
