"""`dead-letters list`, `show`, `replay`: what could not be decoded or stored, and its way back once that is mended."""

import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Column, Table

from services.audit.letters import DEAD_HEADERS, Letter, Spot, letter_of, opened, spot_of
from services.audit.reading import masked, readable
from services.cli.ends import kind
from services.cli.sending_back import KAFKA_S, record_at, send_back, with_bytes
from services.cli.settings import STATE, CliSettings, StateOption, settings
from services.kafka import Follower, everything
from services.screen import TIGHT, clear_errors, console, fail
from services.topics import DEAD_LETTERS, TOPICS

app = typer.Typer(help="What could not be decoded or stored: look at it, and send it back.", no_args_is_help=True)
TopicOption = Annotated[str, typer.Option(help="Only letters that came from this topic.")]
ReasonOption = Annotated[str, typer.Option(help="Only letters whose reason contains this.")]


@app.command("list")
def list_(
    topic: TopicOption = "",
    reason: ReasonOption = "",
    limit: Annotated[int, typer.Option(min=0, help="Show this many, the latest.")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a letter, all of them.")] = False,
    state: StateOption = STATE,
) -> None:
    """The letters, and how many there are for each reason."""
    with clear_errors():
        letters, sent_back = _letters(settings(state))
    chosen = [letter for letter in letters if matches(letter, topic, reason)]
    if as_json:
        for letter in chosen:
            typer.echo(json.dumps({**asdict(letter), "replayed": letter.spot in sent_back}))
        return
    console.print(table(chosen[-limit:] if limit else [], sent_back))
    for (origin, why), count in Counter((letter.topic, kind(letter.reason)) for letter in chosen).most_common():
        console.print(f"{count:>8}  {origin}: {masked(why)}", markup=False, highlight=False)
    if left := sum(letter.left for letter in chosen):
        console.print(
            f"{left} too large to be buried: their bytes are where they came from, for as long as that keeps them"
        )
    waiting = sum(letter.spot not in sent_back for letter in chosen)
    console.print(f"{len(chosen)} letters, {waiting} of them not sent back", highlight=False)


@app.command()
def show(
    place: Annotated[str, typer.Argument(metavar="PARTITION:OFFSET", help="As `list` shows it.")],
    state: StateOption = STATE,
) -> None:
    """One letter: where it came from, why it is here, and its bytes as far as they can be read."""
    with clear_errors():
        found = settings(state)
        record = record_at(found, DEAD_LETTERS, spot_of(place))
        if record is None or (letter := letter_of(record)) is None:
            raise fail(f"there is no letter at {place}")
        full = with_bytes(found, record, letter)
    came_from = f"{letter.topic}, partition {letter.partition}, offset {letter.offset}"
    lines = {"came from": came_from, "reason": letter.reason, "buried at": _time(letter.at_ms)}
    if letter.place:
        lines["in the ledger"] = f"source {letter.place[0]}, sequence {letter.place[1]}"
    if letter.left:
        where = f"{letter.topic}, where they still are" if full else f"{letter.topic}, which has deleted them since"
        lines["too large to be buried"] = f"its {letter.size_bytes:,} bytes were left on {where}"
    record = full or record
    headers = {name: value for name, value in record.headers.items() if name not in DEAD_HEADERS}
    lines |= {f"header {name}": value.decode(errors="backslashreplace") for name, value in headers.items()}
    for name, text in lines.items():
        console.print(masked(f"{name}: {text}"), markup=False, highlight=False)
    console.print(f"key: {masked(record.key.decode(errors='backslashreplace'))}", markup=False, highlight=False)
    console.print(readable(letter.topic, record.value) or "(no bytes here)", markup=False, highlight=False)


@app.command()
def replay(
    place: Annotated[str, typer.Argument(metavar="[PARTITION:OFFSET]", help="Only this letter.")] = "",
    topic: TopicOption = "",
    reason: ReasonOption = "",
    again: Annotated[bool, typer.Option("--again", help="Also those that were sent back before.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Send without asking.")] = False,
    state: StateOption = STATE,
) -> None:
    """Send letters back to the topics they came from, as they were, with a header `replayed-from`.

    A letter is sent at least once, and then remembered as sent: a second replay leaves it alone. One that can't be
    handled now either comes back as a new letter.
    """
    with clear_errors():
        found, only = settings(state), spot_of(place) if place else None
        letters, sent_back = _letters(found)
        chosen = [
            letter
            for letter in letters
            if only in (None, letter.spot)
            and matches(letter, topic, reason)
            and (again or letter.spot not in sent_back)
        ]
        if not chosen:
            console.print("no letter is to be sent back")
            return
        _ask(chosen, yes)
        send_back(found, chosen)


def matches(letter: Letter, topic: str, reason: str) -> bool:
    """Whether a letter is among those asked for, and came from a topic that there is."""
    return letter.topic in TOPICS and topic in ("", letter.topic) and reason in letter.reason


def _letters(found: CliSettings) -> tuple[list[Letter], set[Spot]]:
    follower = Follower(found, DEAD_LETTERS)
    follower.start(KAFKA_S)
    letters, sent_back = opened(everything(follower))
    follower.close()
    return sorted(letters, key=lambda letter: letter.at_ms), sent_back


def table(letters: Sequence[Letter], sent_back: set[Spot]) -> Table:
    """The letters; each one's reason under what there is to say of it, so that it is there in 80 columns, too."""
    shown = Table(Column("letter", no_wrap=True), "where it came from, when, how large; why it is here", **TIGHT)
    for one in letters:
        facts = [f"{one.topic} {one.origin}", _time(one.at_ms), f"{one.size_bytes:,} bytes"]
        facts += ["left there"] if one.left else []
        facts += ["sent back"] if one.spot in sent_back else []
        shown.add_row(str(one.spot), f"{', '.join(facts)}\n{escape(masked(one.reason))}")
    return shown


def _time(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(" ", "seconds") if at_ms >= 0 else "-"


def _ask(chosen: Sequence[Letter], yes: bool) -> None:
    counts = Counter(letter.topic for letter in chosen)
    what = ", ".join(f"{count} to {topic}" for topic, count in counts.most_common())
    if yes:
        return
    if not sys.stdin.isatty():
        raise fail(f"{what}: nobody is there to ask; --yes sends them")
    typer.confirm(f"Send {what}?", abort=True)
