"""`changes`: who decided what, when and why."""

from contextlib import closing
from datetime import datetime
from typing import Annotated, Any, Final

import typer

from services.cli.controller import check_known
from services.cli.settings import STATE, StateOption, settings
from services.clickhouse import ClickHouse
from services.screen import clear_errors, console

app = typer.Typer()
LATEST: Final = """
SELECT at, who, what, subject, before, after, reason FROM changes
WHERE empty({task:String}) OR has(tasks, {task:String})
ORDER BY at DESC LIMIT {last:UInt32}
"""


@app.command()
def changes(
    task: Annotated[str, typer.Option(help="Only what names this task.")] = "",
    last: Annotated[int, typer.Option(min=1, max=10_000, help="So many, the latest.")] = 20,
    state: StateOption = STATE,
) -> None:
    """Who changed what: promotions and rollbacks, API keys and credits, write-offs, erasures. Times are UTC."""
    known = settings(state)
    with clear_errors(), closing(ClickHouse(known)) as clickhouse:
        found = clickhouse.query(LATEST, {"task": task, "last": last})
        if task and not found:
            check_known(known, task)
    for row in reversed(found):
        console.tell(line(row), row["reason"])
    if not found:
        console.print(f"nothing has been decided{f' about {task}' if task else ''} yet", highlight=False)


def line(row: dict[str, Any]) -> str:
    """When, who, what and of whom or what, from what to what."""
    at: datetime = row["at"]
    became = " -> ".join(filter(None, (row["before"], row["after"])))
    return "  ".join((f"{at:%Y-%m-%d %H:%M:%S}", row["who"], row["what"], row["subject"], became))
