"""What aiohttp writes into its log, without anything that a caller sent: its texts and tracebacks quote requests."""

import logging
import traceback
from typing import Final

from services import telemetry
from services.gateway.door import REFUSED

MALFORMED: Final = "MALFORMED"
"""The code of REFUSED for what is no HTTP; its status is aiohttp's own, 400."""


def http_log() -> logging.Logger:
    """A logger for a server of aiohttp's. Nobody else hears it."""
    logger = logging.Logger("tutelage.http")
    logger.addHandler(_Bare())
    return logger


class _Bare(logging.Handler):
    """Counts what is no HTTP, of which anybody can send any number; of a fault, says which and where."""

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        kind = type(error).__name__ if error else ""
        if 400 <= getattr(error, "code", 500) < 500:
            REFUSED.labels("http", MALFORMED).inc()
            telemetry.log.debug("a request is no HTTP", error=kind)
        else:
            telemetry.log.error("the HTTP server failed at a request", error=kind, at=_place(error))


def _place(error: BaseException | None) -> str:
    frames = traceback.extract_tb(error.__traceback__) if error else []
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else ""
