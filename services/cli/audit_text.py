"""What `audit` prints: the accounts, what is lost and what to do about it, and a verdict in the last line.

The lines are rich's markup.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from rich.markup import escape

from services.audit import Account, Audit
from services.audit.arithmetic import Course, Range
from services.audit.writing_off import WrittenOff

SHOWN_RANGES: Final = 20
COUNTS: Final = ("answered", "acknowledged", "stored", "in_flight", "dead", "missing")
READ_BACK: Final = "read back"
HEADS: Final = ("answered", "on Kafka", READ_BACK, "stored", "in flight", "dead letters", "missing", "oldest s")
BRING_BACK: Final = (
    "start a gateway on the spool of each source that lacks something, or run its import again; what ClickHouse lost "
    "comes again when the offsets of group `sink` are set back. What is gone for good: "
    "`tutelage audit write-off SOURCE FIRST-LAST --reason TEXT`"
)
TWICE: Final = "an id under two tasks is never folded: look at the producer or the import that sent it"
LETTERS: Final = (
    "`tutelage dead-letters list` says why they are there; mend that, then `tutelage dead-letters replay`. What nobody "
    "will mend: `tutelage audit write-off SOURCE FIRST-LAST --dead-letters --reason TEXT`"
)
MISSING: Final = -2
"""Where it stands among the figures."""


def table(result: Audit, distinct: dict[str, int], read: bool, all_: bool) -> Iterator[str]:
    """The accounts as lines: each source on a line of its own, whole, so that its figures have room in 80 columns."""
    rows = [
        (f"{escape(one.source)} {one.course}{_gone(one)}", _cells(one, distinct.get(one.source, 0), read))
        for one in result.sources
        if all_ or _open(one)
    ]
    rows.append(
        (f"{len(result.sources)} sources{_gone(result.total)}", _cells(result.total, sum(distinct.values()), read))
    )
    heads = [head for head in HEADS if read or head != READ_BACK]
    upper, lower = zip(*(head.rpartition(" ")[::2] for head in heads), strict=True)
    widths = [max(map(len, column)) for column in zip(upper, lower, *(cells for _, cells in rows), strict=True)]
    yield from (_line(upper, widths), _line(lower, widths), "-" * len(_line(lower, widths)))
    for name, cells in rows:
        yield f"[bold]{name}[/]"
        line = _line(cells, widths)
        yield f"[red]{line}[/]" if cells[MISSING] != "0" else line


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(cell.rjust(width) for cell, width in zip(cells, widths, strict=True))


def _gone(one: Account) -> str:
    """Beside the name: the columns take all of 80 columns, and most ledgers never need it."""
    return f", written off {one.written_off:,}" if one.written_off else ""


def _open(one: Account) -> bool:
    return one.stored < one.answered or one.course in {Course.OPEN, Course.SILENT}


def _cells(one: Account, read_back: int, read: bool) -> list[str]:
    figures = [getattr(one, name) for name in COUNTS]
    figures[2:2] = [read_back] if read else []
    return [*(f"{figure:,}" for figure in figures), f"{one.oldest_s:,.1f}" if one.oldest_s else "-"]


def explained(result: Audit, decisions: Iterable[WrittenOff], vanished: Mapping[str, int]) -> Iterator[str]:
    """What is missing where, how it may come back, and who has written off what, and why."""
    for one in result.sources:
        if one.missing:
            yield f"[red]{escape(one.source)} lacks[/] {ranges_text(one.missing_at)}"
        if one.dead:
            yield f"{escape(one.source)} has in the dead letters {ranges_text(one.dead_at)}"
        if one.course is Course.SILENT:
            yield f"{escape(one.source)} fell silent: a gateway on its spool, or its import run again, brings the rest"
        if one.put_aside:
            yield f"  {one.put_aside} of it Kafka has refused for good; a gateway keeps them in refused/ of its spool"
    for source, count in vanished.items():
        yield f"[red]{escape(source)}: {count:,} that were inserted in the last day are gone from table exchanges[/]"
    accounts = {one.source: one for one in result.sources}
    for said in decisions:
        what = f"{said.exchanges:,} written off {said.at:%Y-%m-%d %H:%M} by {said.decided_by}"
        yield escape(f"{said.source}: {what}{_since(said, accounts.get(said.source))}: {said.reason}")


def _since(said: WrittenOff, account: Account | None) -> str:
    """What became of it after all."""
    if account is None or not (stored := said.stored_since(account)):
        return ""
    return f", {'all' if stored == said.exchanges else f'{stored:,} of them'} stored since"


def ranges_text(ranges: Sequence[Range]) -> str:
    """The first of some ranges, in words: `5-6, 9`."""
    shown = ", ".join(f"{first}" if first == last else f"{first}-{last}" for first, last in ranges[:SHOWN_RANGES])
    return f"{shown} ..." if len(ranges) > SHOWN_RANGES else shown


def verdict(result: Audit, duplicates: int, vanished: int = 0, *, kafka_away: bool = False) -> str:
    """One line: whether anything is lost, the figures that say so, and what to do."""
    total = result.total
    figures = (
        f"{total.answered:,} answered, {total.stored:,} stored, missing {total.missing:,}, duplicates {duplicates:,}"
    )
    others = {"in flight": total.in_flight, "in the dead letters": total.dead, "written off": total.written_off}
    others |= {"vanished from ClickHouse": vanished, "sources silent": result.silent}
    figures = ", ".join([figures, *(f"{name} {count:,}" for name, count in others.items() if count)])
    if total.missing or vanished:
        return f"[red]LOST[/]: {figures}; what to do: {BRING_BACK}"
    if duplicates:
        return f"[red]TWICE[/]: {figures}; what to do: {TWICE}"
    if kafka_away:
        return f"nothing known to be missing: {figures}; Kafka could not be asked, and what waits for it is not counted"
    if total.dead:
        return f"nothing missing: {figures}; what to do: {LETTERS}"
    if result.silent:
        return f"nothing known to be missing: {figures}; what a silent source last answered may lie in its spool"
    return f"{'whole' if total.stored == total.answered else 'nothing missing'}: {figures}{_as_of(result)}"


def _as_of(result: Audit) -> str:
    """A source that goes on may have answered more since it was heard of, and then have been killed."""
    if not (open_ := result.going_on):
        return ""
    sources = "1 source goes on" if len(open_) == 1 else f"{len(open_)} sources go on"
    return f"; as far as is told: {sources}, heard of within {max(one.heard_s for one in open_):.0f} s"
