"""`audit`: whether anything that was answered is lost or stands there twice; `audit write-off`: what is, for good."""

import json
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Final

import typer
from rich.markup import escape

from services.audit import Account, Audit, asking, letters, take
from services.audit.retained import Retained
from services.audit.writing_off import WrittenOff, decisions
from services.cli import writing_off
from services.cli.audit_text import explained, table, verdict
from services.cli.settings import STATE, CliSettings, StateOption, settings
from services.clickhouse import ClickHouse
from services.errors import Overloaded
from services.kafka import Follower, everything
from services.screen import NOT_ASKED, clear_errors, console, errors, progress
from services.topics import EXCHANGES

app = typer.Typer()
app.command("write-off")(writing_off.write_off_)
KAFKA_S: Final = 10.0


@dataclass(frozen=True)
class Findings:
    """All that one `audit` has seen; `kafka` is empty where topic `exchanges` was not read.

    `kafka_away`: the dead letters could not be looked through, and no gateway's word has come since.
    """

    audit: Audit
    duplicates: int
    vanished: dict[str, int]
    decisions: list[WrittenOff]
    kafka: dict[str, Any]
    kafka_away: bool


@app.callback(invoke_without_command=True)
def audit_(
    context: typer.Context,
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
    """Account for every exchange, by source: answered = stored + in flight + dead letters + missing + written off.

    Ends with 0 if nothing is missing, nothing stands in ClickHouse twice and nothing of the last day was there and is
    gone; with 1 if something is; with 2 if ClickHouse or Kafka could not be asked.
    """
    if context.invoked_subcommand:
        return
    found = settings(state)
    with clear_errors():
        clickhouse = ClickHouse(found)
        vanished = asking.vanished(clickhouse)  # First: without ClickHouse nobody need wait for Kafka.
        duplicates = asking.duplicates(clickhouse, days)
        dead = dead_places(found)
        result = take(clickhouse, dead or {}, within_s)
        gone = decisions(clickhouse)
        clickhouse.close()
        kafka = _read_kafka(found) if read_kafka else {}
        looked = Findings(result, duplicates, vanished, gone, kafka, kafka_away=dead is None)
    if as_json:
        typer.echo(json.dumps(_data(looked), default=str))
    else:
        _show(looked, all_)
    if result.total.missing or duplicates or vanished:
        raise typer.Exit(1)
    if looked.kafka_away:
        raise typer.Exit(NOT_ASKED)


def dead_places(found: CliSettings) -> dict[str, set[int]] | None:
    """What lies in the dead letters; None, and a warning, where Kafka can't be asked."""
    try:
        return letters.dead_places(found)
    except Overloaded as why:
        unread = "[yellow]the dead letters are not looked through, and count as missing[/]"
        errors.print(f"{unread}: {escape(str(why))}", markup=True, highlight=False)
        return None


def _read_kafka(found: CliSettings) -> dict[str, Any]:
    """What topic `exchanges` holds now, and how much retention has deleted from its begin."""
    follower, retained = Follower(found, EXCHANGES.name), Retained()
    follower.start(KAFKA_S)
    deleted = sum(follower.first_kept(KAFKA_S).values())
    with progress(errors) as bar:
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


def _data(found: Findings) -> dict[str, Any]:
    total = asdict(found.audit.total)
    del total["course"], total["dead_at"], total["missing_at"], total["written_off_at"]
    accounts = {one.source: one for one in found.audit.sources}
    data = {
        "total": total,
        "duplicates": found.duplicates,
        "sources": [asdict(one) for one in found.audit.sources],
        "decisions": [_decision(one, accounts.get(one.source)) for one in found.decisions],
        "vanished": found.vanished,
        "silent": found.audit.silent,
        "kafka_away": found.kafka_away,
    }
    return {**data, "kafka": found.kafka} if found.kafka else data


def _decision(said: WrittenOff, account: Account | None) -> dict[str, Any]:
    stored_since = said.stored_since(account) if account else 0
    return {**asdict(said), "exchanges": said.exchanges, "stored_since": stored_since}


def _show(found: Findings, all_: bool) -> None:
    kafka = found.kafka
    lines = [
        *table(found.audit, kafka.get("distinct", {}), bool(kafka), all_),
        *explained(found.audit, found.decisions, found.vanished),
    ]
    if kafka:
        lines.append(
            f"topic exchanges: {kafka['records']:,} records read, {kafka['without_place']:,} without source and "
            f"sequence; retention has deleted {kafka['deleted']:,} before them"
        )
    vanished = sum(found.vanished.values())
    for line in (*lines, verdict(found.audit, found.duplicates, vanished, kafka_away=found.kafka_away)):
        console.print(line, markup=True, highlight=False)
