"""`dead-letters list`, `show`, `replay`: what could not be decoded or stored, and its way back once that is mended."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.table import Column, Table

from services.audit.graves import Grave, graves
from services.audit.letters import DEAD_HEADERS, Letter, opened, spot_of
from services.audit.reading import masked, readable
from services.cli.ends import kind
from services.cli.sending_back import KAFKA_S, record_at, send_back, with_bytes
from services.cli.settings import STATE, CliSettings, StateOption, settings
from services.kafka import Follower, everything
from services.screen import TIGHT, ask, clear_errors, console, fail
from services.topics import DEAD_LETTERS, TOPICS

app = typer.Typer(help="What could not be decoded or stored: look at it, and send it back.", no_args_is_help=True)
TopicOption = Annotated[str, typer.Option(help="Only letters that came from this topic.")]
ReasonOption = Annotated[str, typer.Option(help="Only letters whose reason contains this.")]


@app.command("list")
def list_(
    topic: TopicOption = "",
    reason: ReasonOption = "",
    open_: Annotated[bool, typer.Option("--open", help="Only those that were not sent back yet.")] = False,
    limit: Annotated[int, typer.Option(min=0, help="Show this many, the latest.")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a record, all of them.")] = False,
    state: StateOption = STATE,
) -> None:
    """The records that services could not handle, and how many there are for each reason.

    A record is one line, however many services have buried it, each with a letter of its own.
    """
    with clear_errors():
        chosen = [
            grave
            for grave in _graves(settings(state))
            if matches(grave, topic, reason) and not (open_ and grave.sent_back)
        ]
    if as_json:
        for grave in chosen:
            typer.echo(json.dumps(_data(grave)))
        return
    console.print(table(chosen[-limit:] if limit else []))
    for (origin, why), count in by_reason(chosen).most_common():
        console.print(f"{count:>8}  {origin}: {masked(why)}", highlight=False)
    if left := sum(grave.letter.left for grave in chosen):
        console.print(
            f"{left} too large to be buried: their bytes are where they came from, for as long as that keeps them"
        )
    waiting = sum(not grave.sent_back for grave in chosen)
    letters = sum(len(grave.letters) for grave in chosen)
    console.print(f"{len(chosen)} records in {letters} letters, {waiting} of them not sent back", highlight=False)


@app.command()
def show(
    place: Annotated[str, typer.Argument(metavar="PARTITION:OFFSET", help="As `list` shows it.")],
    state: StateOption = STATE,
) -> None:
    """One letter: where it came from, who can't handle it and why, and its bytes as far as they can be read."""
    with clear_errors():
        found, spot = settings(state), spot_of(place)
        grave = next((one for one in _graves(found) if spot in one.spots), None)
        if grave is None or (record := record_at(found, DEAD_LETTERS, spot)) is None:
            raise fail(f"there is no letter at {place}")
        letter = grave.letters[grave.spots.index(spot)]
        full = with_bytes(found, record, letter)
    came_from = f"{letter.topic}, partition {letter.partition}, offset {letter.offset}"
    lines = {"came from": came_from, "reason": letter.reason, "buried": _buried(letter)}
    for other in grave.letters:
        if other != letter:
            lines[f"the same record at {other.spot}"] = f"buried {_buried(other)}: {other.reason}"
    if grave.sent_back:
        lines["sent back"] = "yes"
    if letter.place:
        lines["in the ledger"] = f"source {letter.place[0]}, sequence {letter.place[1]}"
    if letter.left:
        where = f"{letter.topic}, where they still are" if full else f"{letter.topic}, which has deleted them since"
        lines["too large to be buried"] = f"its {letter.size_bytes:,} bytes were left on {where}"
    record = full or record
    headers = {name: value for name, value in record.headers.items() if name not in DEAD_HEADERS}
    lines |= {f"header {name}": value.decode(errors="backslashreplace") for name, value in headers.items()}
    for name, text in lines.items():
        console.print(masked(f"{name}: {text}"), highlight=False)
    console.print(f"key: {masked(record.key.decode(errors='backslashreplace'))}", highlight=False)
    console.print(readable(letter.topic, record.value) or "(no bytes here)", highlight=False)


@app.command()
def replay(
    place: Annotated[str, typer.Argument(metavar="[PARTITION:OFFSET]", help="Only this letter.")] = "",
    topic: TopicOption = "",
    reason: ReasonOption = "",
    again: Annotated[bool, typer.Option("--again", help="Also those that were sent back before.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Send without asking.")] = False,
    state: StateOption = STATE,
) -> None:
    """Send records back to the topics they came from, as they were, with a header `replayed-from`.

    A record goes back once, for all services that buried it, and is then remembered as sent: a second replay leaves it
    alone. One that can't be handled now either comes back with new letters.
    """
    with clear_errors():
        found, only = settings(state), spot_of(place) if place else None
        chosen = [
            grave
            for grave in _graves(found)
            if (only is None or only in grave.spots)
            and matches(grave, topic, reason)
            and (again or not grave.sent_back)
        ]
        if not chosen:
            if only is not None:
                raise fail(f"there is no letter at {place} that has not gone back yet; --again sends one once more")
            console.print("no letter is to be sent back")
            return
        _ask(chosen, yes)
        send_back(found, chosen)


def matches(grave: Grave, topic: str, reason: str) -> bool:
    """Whether a record is among those asked for, and came from a topic that there is."""
    origin = grave.letter.topic
    return origin in TOPICS and topic in ("", origin) and any(reason in one.reason for one in grave.letters)


def _graves(found: CliSettings) -> list[Grave]:
    follower = Follower(found, DEAD_LETTERS)
    follower.start(KAFKA_S)
    letters, sent_back = opened(everything(follower))
    follower.close()
    return graves(sorted(letters, key=lambda letter: letter.at_ms), sent_back)


def by_reason(chosen: Iterable[Grave]) -> Counter[tuple[str, str]]:
    """How many records of each topic are here for each kind of reason: one counts under every reason that it has."""
    return Counter(found for grave in chosen for found in {(one.topic, kind(one.reason)) for one in grave.letters})


def _data(grave: Grave) -> dict[str, Any]:
    """As the letter that stands for it, and what is said of each."""
    each = [
        {"letter": str(one.spot), "spot": one.spot, "by": one.by, "reason": one.reason, "at_ms": one.at_ms}
        for one in grave.letters
    ]
    return {
        "letter": str(grave.letter.spot),  # As `show` and `replay` take it.
        **asdict(grave.letter),
        "replayed": grave.sent_back,
        "letters": each,
    }


def table(chosen: Sequence[Grave]) -> Table:
    """The records; each one's reasons under what there is to say of it, so that they are there in 80 columns, too."""
    shown = Table(Column("letter", no_wrap=True), "where it came from, when, how large; why it is here", **TIGHT)
    for grave in chosen:
        one = grave.letter
        facts = [f"{one.topic} {one.origin}", _time(one.at_ms), f"{one.size_bytes:,} bytes"]
        facts += ["left there"] if one.left else []
        facts += ["sent back"] if grave.sent_back else []
        why = [f"{', '.join(by)}: {reason}" if by else reason for reason, by in grave.reasons.items()]
        shown.add_row(str(one.spot), masked("\n".join([", ".join(facts), *why])))
    return shown


def _buried(letter: Letter) -> str:
    return f"{_time(letter.at_ms)}{f' by the {letter.by}' if letter.by else ''}"


def _time(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(" ", "seconds") if at_ms >= 0 else "-"


def _ask(chosen: Sequence[Grave], yes: bool) -> None:
    counts = Counter(grave.letter.topic for grave in chosen)
    what = ", ".join(f"{count} to {topic}" for topic, count in counts.most_common())
    ask(f"Send {what}?", yes, f"{what}: nobody is there to ask; --yes sends them")
