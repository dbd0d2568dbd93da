"""`snapshot list`, `show`, `diff`, `export`, `import`: the datasets that students are trained on."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.table import Table

from protos import control_pb2 as pb
from services import client
from services.cli.formats import Format, example_of, line_of
from services.cli.logs import File, Lines, TaskName
from services.cli.settings import STATE, StateOption, settings
from services.screen import TIGHT, clear_errors, console, fail

app = typer.Typer(help="The datasets that students are trained on.", no_args_is_help=True)
Reference = Annotated[str, typer.Argument(help="A snapshot: TASK/NUMBER.")]
EXAMPLES_A_PART: Final = 500
"""Of up to 32 KB each, within the 32 MB of a message."""
SPLITS: Final = ("train", "eval", "golden")


@app.command("list")
def list_(task: TaskName, state: StateOption = STATE) -> None:
    """A task's snapshots, latest first."""
    with clear_errors(), client.control(settings(state)) as stub:
        found = stub.Snapshots(pb.SnapshotsRequest(task=task)).snapshots
    table = Table("snapshot", "taken", *SPLITS, "from", **TIGHT)
    for one in found:
        told = json.loads(one.manifest)
        counts = (f"{told['counts'][split]['rows']:,}" for split in SPLITS)
        source = told.get("source", {"kind": "candidates"})
        table.add_row(f"{one.task}/{one.number}", told["created_at"][:16], *counts, source.get("file", source["kind"]))
    console.print(table if found else f"{task} has no snapshot yet")


@app.command()
def show(snapshot: Reference, state: StateOption = STATE) -> None:
    """A snapshot's manifest, as JSON."""
    task, number = reference(snapshot)
    with clear_errors(), client.control(settings(state)) as stub:
        [found] = stub.Snapshots(pb.SnapshotsRequest(task=task, number=number)).snapshots
    typer.echo(found.manifest)


@app.command()
def diff(
    before: Reference,
    after: Annotated[str, typer.Argument(help="The other: TASK/NUMBER, or the number alone.")],
    state: StateOption = STATE,
) -> None:
    """What distinguishes two snapshots of a task: rows, counts, filters, teacher."""
    task, one = reference(before)
    other_task, other = reference(after if "/" in after else f"{task}/{after}")
    if other_task != task:
        raise fail(f"{before} and {after} are of two tasks")
    with clear_errors(), client.control(settings(state)) as stub:
        found = stub.DiffSnapshots(pb.DiffSnapshotsRequest(task=task, before=one, after=other))
    table = Table("split", f"{task}/{one}", f"{task}/{other}", "added", "removed", "changed", **TIGHT)
    for split in SPLITS:
        part = found.splits[split]
        table.add_row(
            split, *(f"{count:,}" for count in (part.before, part.after, part.added, part.removed, part.changed))
        )
    console.print(table)
    for split in SPLITS:
        for change in found.splits[split].examples:
            told = f"{split} {change.id} {change.column}: {change.before} -> {change.after}"
            console.print(told, highlight=False)
    for difference in found.differences:
        console.print(difference, highlight=False)


@app.command()
def export(
    snapshot: Reference,
    file: Annotated[Path, typer.Argument(dir_okay=False, help="The JSONL file to write.")],
    shape: Annotated[Format, typer.Option("--format", help="The shape of its lines.")] = Format.OPENAI,
    split: Annotated[str, typer.Option(help="train, eval or golden.")] = "train",
    instructions: Annotated[
        bool, typer.Option("--instructions", help="With the task's instructions as the system's message.")
    ] = False,
    ids: Annotated[bool, typer.Option("--ids", help="With our id, group and labels in each line.")] = False,
    state: StateOption = STATE,
) -> None:
    """Write a snapshot's examples, as the student reads them, in a shape that other training tools read."""
    task, number = reference(snapshot)
    wanted = pb.ExportSnapshotRequest(task=task, number=number, split=split)
    with ExitStack() as stack:
        stack.enter_context(clear_errors())
        parts = stack.enter_context(client.control(settings(state))).ExportSnapshot(wanted)
        told = next(parts).instructions
        system = told if instructions else ""
        opened, count = stack.enter_context(file.open("w", encoding="utf-8")), 0
        for part in parts:
            lines = (line_of(shape, row, system, ours=ids) for row in part.rows)
            opened.writelines(f"{json.dumps(line, ensure_ascii=False)}\n" for line in lines)
            count += len(part.rows)
        console.print(f"{count} examples of {snapshot} {split} written to {file}", highlight=False)


@app.command("import")
def import_(
    task: TaskName,
    file: File,
    by_people: Annotated[bool, typer.Option("--by-people", help="People wrote the answers, no model.")] = False,
    teacher: Annotated[str, typer.Option(help="Which model wrote them; empty means the task's teacher.")] = "",
    state: StateOption = STATE,
) -> None:
    """Make a snapshot of a JSONL file (OpenAI's messages, ShareGPT or Alpaca), beside the task's own golden set.

    It passes the same filters as candidates do. `tutelage run start TASK --snapshot N` trains on it.
    """
    with clear_errors(), client.control(settings(state)) as stub:
        lines = Lines(file, lambda data: example_of(data, task))
        with file.open("rb") as opened:
            sha256 = hashlib.file_digest(opened, "sha256").hexdigest()
        head = pb.SnapshotPart(task=task, source=file.name, sha256=sha256, by_people=by_people, teacher_model=teacher)
        try:
            made = stub.ImportSnapshot(_parts(head, lines))
        finally:
            lines.show_bad()
    manifest = json.loads(made.manifest)
    counts: dict[str, Any] = manifest["counts"]
    told = ", ".join(f"{split} {counts[split]['rows']}" for split in SPLITS)
    console.print(f"snapshot {made.task}/{made.number}: {told}", highlight=False)
    for split in ("train", "eval"):
        for why, count in counts[split]["removed"].items():
            console.print(f"{split}: {count} left out: {why}", highlight=False)
    if aside := manifest["source"]["set_aside"]:
        told = f"{aside} stand on the golden side of the wall, by the hash of their group, and are not learnt from"
        console.print(told, highlight=False)


def reference(text: str) -> tuple[str, int]:
    """TASK/NUMBER as its parts."""
    task, _, number = text.rpartition("/")
    if not task or not number.isdigit():
        raise fail(f"{text}: must be TASK/NUMBER, as address-extraction/3")
    return task, int(number)


def _parts(head: pb.SnapshotPart, lines: Lines[pb.ImportedExample]) -> Iterator[pb.SnapshotPart]:
    yield head
    examples = iter(lines)
    while some := list(islice(examples, EXAMPLES_A_PART)):
        yield pb.SnapshotPart(examples=some)
