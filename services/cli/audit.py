"""`audit`: whether anything that was answered is lost or stands there twice."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Annotated, Any, Final

import typer
from rich.markup import escape

from services.audit import Account, Audit, asking, take
from services.audit.arithmetic import Course
from services.audit.letters import DeadPlaces
from services.audit.retained import Retained
from services.cli.settings import STATE, CliSettings, StateOption, settings
from services.clickhouse import ClickHouse
from services.errors import Overloaded
from services.kafka import Follower, everything
from services.screen import clear_errors, console, errors, progress
from services.topics import DEAD_LETTERS, EXCHANGES

app = typer.Typer()
KAFKA_S: Final = 10.0
SHOWN_RANGES: Final = 20
COUNTS: Final = ("answered", "acknowledged", "stored", "in_flight", "dead", "missing")
READ_BACK: Final = "read back"
HEADS: Final = ("answered", "on Kafka", READ_BACK, "stored", "in flight", "dead letters", "missing", "oldest s")
MISSING: Final = -2
"""Where it stands among the figures."""


@app.command("audit")
def audit_(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of the table.")] = False,
    read_kafka: Annotated[
        bool, typer.Option("--read-kafka", help="Also count what topic `exchanges` itself still holds.")
    ] = False,
    within_s: Annotated[
        float, typer.Option("--within", min=0, help="Seconds that the sink may take before an exchange is missing.")
    ] = 10.0,
    days: Annotated[int, typer.Option(min=0, help="Look for duplicates in the last days and today.")] = 7,
    all_: Annotated[bool, typer.Option("--all", help="Show also the sources that ended whole.")] = False,
    state: StateOption = STATE,
) -> None:
    """Account for every exchange: answered = stored + in flight + in the dead letters + missing, by source.

    Ends with 1 if anything is missing or stands in ClickHouse twice.
    """
    found = settings(state)
    with clear_errors():
        clickhouse = ClickHouse(found)
        result = take(clickhouse, dead_places(found), within_s)
        duplicates = asking.duplicates(clickhouse, days)
        clickhouse.close()
        kafka = _read_kafka(found) if read_kafka else {}
    if as_json:
        typer.echo(json.dumps(_data(result, duplicates, kafka)))
    else:
        _show(result, duplicates, kafka, all_)
    if result.total.missing or duplicates:
        raise typer.Exit(1)


def dead_places(found: CliSettings) -> dict[str, set[int]]:
    """What lies in the dead letters; nothing, and a warning, where Kafka can't be asked."""
    places = DeadPlaces(Follower(found, DEAD_LETTERS))
    try:
        return places.by_source(KAFKA_S)
    except Overloaded as why:
        errors.print(f"[yellow]the dead letters are not looked through[/] {why}", highlight=False)
        return {}
    finally:
        places.close()


def _read_kafka(found: CliSettings) -> dict[str, Any]:
    """What topic `exchanges` holds now, and how much retention has deleted from its begin."""
    follower, retained = Follower(found, EXCHANGES.name), Retained()
    follower.start(KAFKA_S)
    deleted = sum(follower.first_kept(KAFKA_S).values())
    with progress() as bar:
        shown = bar.add_task("records on exchanges", total=None, note="")
        for record in everything(follower):
            retained.add(record)
            bar.update(shown, advance=1)
    follower.close()
    return {
        "records": retained.records,
        "deleted": deleted,
        "without_place": retained.without_place,
        "distinct": retained.distinct(),
    }


def _data(result: Audit, duplicates: int, kafka: dict[str, Any]) -> dict[str, Any]:
    data: dict[str, Any] = {"total": asdict(result.total), "duplicates": duplicates}
    data["sources"] = [asdict(one) for one in result.sources]
    del data["total"]["course"], data["total"]["missing_at"]
    return {**data, "kafka": kafka} if kafka else data


def _show(result: Audit, duplicates: int, kafka: dict[str, Any], all_: bool) -> None:
    for line in table(result, kafka.get("distinct", {}), bool(kafka), all_):
        console.print(line, highlight=False)
    if duplicates:
        console.print(f"[red]{duplicates} exchanges stand in ClickHouse twice[/]", highlight=False)
    for one in result.sources:
        _explain(one)
    if kafka:
        console.print(
            f"topic exchanges: {kafka['records']:,} records read, {kafka['without_place']:,} without source and "
            f"sequence; retention has deleted {kafka['deleted']:,} before them",
            highlight=False,
        )


def table(result: Audit, distinct: dict[str, int], read: bool, all_: bool) -> Iterator[str]:
    """The accounts as lines: each source on a line of its own, whole, so that its figures have room in 80 columns."""
    rows = [
        (f"{escape(one.source)} {one.course}", _cells(one, distinct.get(one.source, 0), read))
        for one in result.sources
        if all_ or _open(one)
    ]
    rows.append((f"{len(result.sources)} sources", _cells(result.total, sum(distinct.values()), read)))
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


def _open(one: Account) -> bool:
    return one.stored < one.answered or one.course in {Course.OPEN, Course.SILENT}


def _cells(one: Account, read_back: int, read: bool) -> list[str]:
    figures = [getattr(one, name) for name in COUNTS]
    figures[2:2] = [read_back] if read else []
    return [*(f"{figure:,}" for figure in figures), f"{one.oldest_s:,.1f}" if one.oldest_s else "-"]


def _explain(one: Account) -> None:
    if one.missing:
        shown = ", ".join(f"{a}" if a == b else f"{a}-{b}" for a, b in one.missing_at[:SHOWN_RANGES])
        more = " ..." if len(one.missing_at) > SHOWN_RANGES else ""
        console.print(f"[red]{one.source} lacks[/] {shown}{more}", highlight=False)
    if one.missing and one.course is Course.SILENT:
        console.print("  it fell silent: a gateway started on its spool, or its import run again, brings the rest")
    if one.put_aside:
        console.print(
            f"  {one.put_aside} of it Kafka has refused for good; a gateway keeps them in refused/ of its spool"
        )
