"""`erase`: take a customer out of all that is kept."""

import getpass
from typing import Annotated, Final

import typer
from rich.box import SIMPLE
from rich.table import Table

from protos import control_pb2 as pb
from services.cli.controller import controller
from services.cli.settings import STATE, StateOption, settings
from services.screen import clear_errors, console

app = typer.Typer()
NOTHING: Final = (
    "nothing of this key was found; is it spelled right? (It may have been erased before. What is still on its way is "
    "not let in.)"
)


@app.command()
def erase(
    group_key: Annotated[str, typer.Option(help="The customer: what requests carry as group_key.")],
    task: Annotated[str, typer.Option(help="Only this task; empty means all.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be removed.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    state: StateOption = STATE,
) -> None:
    """Remove a customer from ClickHouse and from snapshots nothing was trained on yet; tell what is left where.

    What the same customer asks afterwards is new and stays. Code 0: nothing of the customer is kept, be it that there
    was nothing (`nothing_found` in the receipt); 1: it was not done.
    """
    request = pb.EraseRequest(group_key=group_key, task=task, decided_by=getpass.getuser(), dry_run=True)
    with clear_errors(), controller(settings(state)) as stub:
        if dry_run or not yes:
            _show(stub.Erase(request))
        if dry_run:
            return
        if not yes:
            typer.confirm("This cannot be undone. Erase?", abort=True)
        request.dry_run = False
        _show(stub.Erase(request))


def _show(receipt: pb.ErasureReceipt) -> None:
    if receipt.nothing_found:
        console.print(NOTHING, style="yellow", highlight=False)
    else:
        _show_found(receipt)
    for held in receipt.kafka:
        until = f"gone by {held.gone_by.ToDatetime():%Y-%m-%d %H:%M} UTC" if held.HasField("gone_by") else "stays"
        console.print(f"Kafka, {held.topic}: {until} ({held.rule})", highlight=False)
    for left in receipt.remains:
        console.print(left, highlight=False)
    if receipt.path:
        console.print(f"receipt {receipt.id}: {receipt.path}", highlight=False)


def _show_found(receipt: pb.ErasureReceipt) -> None:
    verb = "would be removed" if receipt.dry_run else "removed"
    table = Table("what", "rows", "where", box=SIMPLE, padding=(0, 1))
    for name, rows in sorted(receipt.rows.items()):
        table.add_row(f"ClickHouse, {name}", f"{rows:,}", verb)
    for snapshot in receipt.snapshots:
        name, rows = f"snapshot {snapshot.task}/{snapshot.number}", sum(snapshot.rows.values())
        table.add_row(name, f"{rows:,}", _fate(snapshot, receipt.dry_run))
    console.print(table)
    for student in receipt.students:
        serving = ", which serves now" if student.serving else ""
        told = f"student {student.task} {student.student_version}{serving}: trained on {student.train_rows:,} rows"
        console.print(told, highlight=False)


def _fate(snapshot: pb.ErasedSnapshot, dry_run: bool) -> str:
    if dry_run:
        return "would be written anew, unless trained on"
    if snapshot.removed:
        return "all of it removed: too little was left"
    return "written anew" if snapshot.rewritten else "stays: trained on already"
