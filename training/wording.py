"""Amounts as a reader wants them: money, spans of time, sentences; pure."""

import math
import re

from markupsafe import Markup, escape

DAY_S = 86_400
UNITS = ((DAY_S, "days"), (3_600, "hours"), (60, "minutes"), (1, "seconds"))
AT_LEAST = 2  # of a unit; below it the next smaller one says more


def dollars(usd: float) -> str:
    """With cents, from a hundred on without; below a tenth two digits that count."""
    sign, size = "-" if usd < 0 else "", abs(usd)
    if size >= 100:
        return f"{sign}${size:,.0f}"
    return f"{sign}${size:.2f}" if size >= 0.1 or size == 0 else f"{sign}${float(f'{size:.2g}'):.10f}".rstrip("0")


def milliseconds(ms: float) -> str:
    """With a decimal below ten."""
    return f"{ms:.1f} ms" if ms < 10 else f"{ms:,.0f} ms"


def span(seconds: float) -> str:
    """In the largest unit of which there are two; 'never' if it is infinite."""
    if not math.isfinite(seconds):
        return "never"
    size, unit = next((one for one in UNITS if seconds >= AT_LEAST * one[0]), UNITS[-1])
    count = seconds / size
    return f"{count:,.1f} {unit}" if count < 10 else f"{count:,.0f} {unit}"


def days(count: float) -> str:
    """So many days as a span."""
    return span(count * DAY_S)


def times(ratio: float) -> str:
    """How many times as much: 1.3, 12, 1,200."""
    return f"{ratio:,.1f}" if ratio < 10 else f"{ratio:,.0f}"


def sentence(text: str) -> str:
    """With a capital at its beginning and a full stop at its end."""
    begun = text[:1].upper() + text[1:]
    return begun if begun.endswith((".", "!", "?")) else f"{begun}."


def code(text: str) -> Markup:
    """As HTML, with what stands between backticks as code; all else stays the text that it is."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))  # noqa: S704 - escaped before
