"""Gateways that answer a call and then lose its exchange, or hold in memory what belongs on the disk."""

import sys

from services.gateway import __main__ as gateway
from services.gateway import spool, spool_drain, spool_segments
from tests.drills.broken import producers


class Heedless(spool.Spool):
    """Takes a failed write for a good one, and never refuses a call."""

    def _refusal(self) -> str:
        return ""

    def _write(self, frames: bytes) -> None:
        try:
            super()._write(frames)
        except OSError:
            self._written_bytes -= len(frames)  # Or what is not there would wait for ever.


def main(build: str) -> None:
    match build:
        case "Early" | "GivesUp" | "DropsWhenFull":
            gateway.Producer = getattr(producers, build)
            spool_segments.SETTLED_BYTES = 1  # The disk keeps nothing of what is taken for delivered.
        case "Heedless":
            gateway.Spool = Heedless
        case "Greedy":  # All that waits for Kafka waits in memory, too.
            spool_drain.IN_FLIGHT_BYTES = spool_drain.IN_FLIGHT_RECORDS = sys.maxsize
        case _:
            raise ValueError(build)
    gateway.main()


if __name__ == "__main__":
    main(sys.argv[1])
