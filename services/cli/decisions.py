"""`decisions`: how a task was served since when, who decided that, and why; and why its ramp stays where it is."""

from contextlib import closing
from datetime import datetime
from typing import Annotated, Any, Final

import typer

from protos import events_pb2 as events
from services.cli.controller import check_known
from services.cli.logs import TaskName
from services.cli.settings import STATE, StateOption, settings
from services.clickhouse import ClickHouse
from services.screen import clear_errors, console, policy_text

app = typer.Typer()

DECISIONS: Final = """
SELECT decided_at AS at, policy, share, share_of_kind, min_confidence, student_version, decided_by, reason
FROM promotions FINAL WHERE task = {task:String} ORDER BY at DESC, id DESC LIMIT {rows:UInt32}
"""
NOTES: Final = """
SELECT at, student_version, reason FROM ramp_looks FINAL
WHERE task = {task:String} ORDER BY at DESC LIMIT {rows:UInt32}
"""


@app.command()
def decisions(
    task: TaskName,
    last: Annotated[int, typer.Option(min=1, max=10_000, help="So many, the latest.")] = 20,
    notes: Annotated[bool, typer.Option(help="Also why a ramp stayed where it is, hour by hour.")] = True,
    state: StateOption = STATE,
) -> None:
    """How a task was served since when, who decided that, and why. Times are UTC."""
    found = settings(state)
    with clear_errors(), closing(ClickHouse(found)) as clickhouse:
        decided = clickhouse.query(DECISIONS, {"task": task, "rows": last + 1})  # one more: what the first followed
        looked = clickhouse.query(NOTES, {"task": task, "rows": last}) if notes else []
        if not decided:
            check_known(found, task)
    lines = sorted([*_decided(decided), *_noted(looked)], key=lambda line: line[0])[-last:]
    for at, heading, reason in lines:
        console.tell(f"{at:%Y-%m-%d %H:%M:%S}  {heading}", reason)
    if not lines:
        console.print(f"nothing was decided about {task} yet: the teacher answers")


def _decided(rows: list[dict[str, Any]]) -> list[tuple[datetime, str, str]]:
    """When, from what to what by whom, and why; in order of time."""
    made, before = [], "teacher"
    for row in reversed(rows):
        after = policy_text(_policy(row))
        student = f", student version {row['student_version']}" if row["student_version"] else ""
        made.append((row["at"], f"{before} -> {after}{student}, by {row['decided_by']}", row["reason"]))
        before = after
    return made


def _noted(rows: list[dict[str, Any]]) -> list[tuple[datetime, str, str]]:
    return [(row["at"], f"stays, student version {row['student_version']}", row["reason"]) for row in rows]


def _policy(row: dict[str, Any]) -> events.Policy:
    kind = f"POLICY_KIND_{row['policy'].upper()}"
    return events.Policy(
        kind=kind if kind in events.PolicyKind.DESCRIPTOR.values_by_name else None,
        share=row["share"],
        share_of_kind=row["share_of_kind"],
        min_confidence=row["min_confidence"],
    )
