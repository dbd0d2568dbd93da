"""Stops the parts of a stack whose own process was killed: `python -m deploy.local.watchdog STATE_DIR`.

Its standard input is a pipe that only the stack's process holds open, so the end of input is the end of the stack,
however it came. After an orderly stop there is nothing left to do.
"""

import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from deploy.local.home import AlreadyUp, Home, read_record

ENDS_WITHIN_S: Final = 10.0
"""A killed process closes its files one after the other, on a busy machine our pipe long before the folder's lock."""


def main() -> None:
    """Waits for the end of input; then stops what is left, unless a new stack has taken the folder over."""
    sys.stdin.buffer.read()
    directory = Path(sys.argv[1])
    if read_record(directory) is not None:
        with suppress(AlreadyUp):
            _claimed(directory).release()


@retry(
    retry=retry_if_exception_type(AlreadyUp), stop=stop_after_delay(ENDS_WITHIN_S), wait=wait_fixed(0.2), reraise=True
)
def _claimed(directory: Path) -> Home:
    """The folder; claiming it stops what its record names."""
    return Home.claim(directory)


if __name__ == "__main__":
    main()
