"""`audit write-off`: a person's word that exchanges are lost for good, so that the next loss is seen."""

import getpass
from datetime import UTC, datetime
from typing import Annotated

import typer

from services.audit import Account, take
from services.audit.arithmetic import Course, Range, count, joined, within
from services.audit.letters import dead_places
from services.audit.writing_off import WrittenOff, write_off
from services.cli.audit_text import ranges_text
from services.cli.settings import STATE, CliSettings, StateOption, settings
from services.clickhouse import ClickHouse
from services.screen import ask, clear_errors, console, fail


def write_off_(
    source: Annotated[str, typer.Argument(help="As `tutelage audit` names it.")],
    sequences: Annotated[str, typer.Argument(metavar="FIRST-LAST", help="Of these, those that are missing now.")],
    reason: Annotated[str, typer.Option(help="What became of them; kept, and shown by every audit.")],
    dead_letters: Annotated[
        bool, typer.Option("--dead-letters", help="Also those that lie in the dead letters, and nobody will mend.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    within_s: Annotated[
        float, typer.Option("--within", min=0, help="Seconds that the sink may take before an exchange is missing.")
    ] = 10.0,
    state: StateOption = STATE,
) -> None:
    """Write off what is lost for good: it is counted by itself from then on, and no longer as missing.

    Only what is missing now is taken, or lies in the dead letters now. It cannot be undone, and need not be: what turns
    up after all, or is replayed, counts as stored.
    """
    found = settings(state)
    with clear_errors():
        asked = range_of(sequences)
        if not reason.strip():
            raise fail("--reason: say what became of them")
        clickhouse = ClickHouse(found)
        account = _account(found, clickhouse, source, within_s)
        lost = within(joined([*account.missing_at, *(account.dead_at if dead_letters else ())]), [asked])
        _say(account, asked, lost)
        if lost:
            _ask(account, yes)
            said = WrittenOff(source, lost, reason.strip(), getpass.getuser(), datetime.now(UTC))
            write_off(clickhouse, said)
            missing = account.missing - count(within(lost, account.missing_at))
            console.print(f"written off: {count(lost):,}; still missing of {source}: {missing:,}")
        clickhouse.close()


def range_of(text: str) -> Range:
    """`5-6` or `5` as a range. Raises ValueError."""
    first, dash, last = text.partition("-")
    ends = first, last if dash else first
    if not all(end.isdecimal() for end in ends) or not 0 < int(ends[0]) <= int(ends[1]):
        raise ValueError(f"{text!r} are no sequences: FIRST-LAST, as `tutelage audit` shows what a source lacks")
    return int(ends[0]), int(ends[1])


def _account(found: CliSettings, clickhouse: ClickHouse, source: str, within_s: float) -> Account:
    """The source's. Raises Overloaded also where the dead letters can't be read: what lies there is not lost."""
    accounts = take(clickhouse, dead_places(found), within_s).sources
    if (account := next((one for one in accounts if one.source == source), None)) is None:
        raise fail(f"the ledger has no source {source}; `tutelage audit --all` names them")
    return account


def _say(account: Account, asked: Range, lost: list[Range]) -> None:
    """What of the sequences asked for would be written off, and what not."""
    before = count(within(account.written_off_at, [asked]))
    letters = count(within(account.dead_at, [asked])) - count(within(account.dead_at, lost))
    left = count([asked]) - count(lost) - before - letters
    already = f"{before:,} are written off already, {left:,} are not missing"
    already += f", {letters:,} lie in the dead letters: --dead-letters takes them, too" if letters else ""
    if lost:
        console.print(
            f"{account.source} lacks {count(lost):,} of {ranges_text([asked])}: {ranges_text(lost)}; {already}"
        )
    else:
        console.print(f"nothing of {ranges_text([asked])} is to be written off: {already}")


def _ask(account: Account, yes: bool) -> None:
    if account.course is Course.SILENT and not yes:
        console.print("it fell silent: a gateway on its spool, or its import run again, would bring what is there")
    ask("Are they lost for good?", yes, "nobody is there to ask; --yes writes them off")
