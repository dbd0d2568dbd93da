"""`changes`: who decided what, when and why."""

from contextlib import closing
from datetime import datetime
from typing import Annotated, Any, Final

import typer
from rich.table import Table

from services.cli.controller import check_known
from services.cli.settings import STATE, StateOption, settings
from services.clickhouse import ClickHouse
from services.screen import TIGHT, clear_errors, console

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
    """Who changed what: promotions and rollbacks, API keys and credits, write-offs, erasures. The latest comes last."""
    known = settings(state)
    with clear_errors(), closing(ClickHouse(known)) as clickhouse:
        found = clickhouse.query(LATEST, {"task": task, "last": last})
        if task and not found:
            check_known(known, task)
    about = f" about {task}" if task else ""
    table = Table("at, UTC", "who", "what", "of", "from", "to", "why", **TIGHT)
    for row in reversed(found):
        table.add_row(*cells(row))
    console.print(table if found else f"nothing has been decided{about} yet", highlight=False)


def cells(row: dict[str, Any]) -> list[str]:
    """A change as the table shows it."""
    at: datetime = row["at"]
    return [f"{at:%Y-%m-%d %H:%M:%S}", *(row[name] for name in ("who", "what", "subject", "before", "after", "reason"))]
