"""The part of service Control that shows, compares, hands out and takes in snapshots."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import grpc

from protos import control_pb2 as control
from services.controller import imports, shelf, snapshot
from services.controller.actions import Actions
from services.controller.answering import answered
from services.controller.checks import Rejected, invalid, known_task, limited, required
from services.controller.desk import Desk
from services.controller.imports import ImportedStore, Origin
from services.controller.snapshot import Order
from services.tasks import Task

PART_EXAMPLES: Final = 1_000
ROWS_A_MESSAGE: Final = 500
"""Of up to 32 KB each."""


class Shelf:
    """Every method: INVALID_ARGUMENT names the field, NOT_FOUND what is not there."""

    def __init__(self, tasks: Mapping[str, Task], actions: Actions, desk: Desk) -> None:
        self._tasks = tasks
        self._actions = actions
        self._desk = desk

    @answered
    async def Snapshots(self, request: control.SnapshotsRequest, _context: Any) -> control.SnapshotsReply:
        task = known_task(self._tasks, request.task)
        numbers = [request.number] if request.number else sorted(self._actions.snapshots(task.name), reverse=True)
        return control.SnapshotsReply(snapshots=[self._snapshot(task, number) for number in numbers])

    @answered
    async def DiffSnapshots(self, request: control.DiffSnapshotsRequest, _context: Any) -> control.SnapshotDiff:
        task = known_task(self._tasks, request.task)
        before, after = (self._directory(task, number) for number in (request.before, request.after))
        return await asyncio.to_thread(_diff, before, after, self._actions.page_rows)

    @answered
    async def ExportSnapshot(self, request: control.ExportSnapshotRequest, context: Any) -> None:
        task = known_task(self._tasks, request.task)
        pages = shelf.rows(self._directory(task, request.number), request.split, ROWS_A_MESSAGE)
        await context.write(control.SnapshotRows(instructions=task.instructions))
        while page := await asyncio.to_thread(next, pages, None):
            await context.write(control.SnapshotRows(rows=map(_row, page)))

    @answered
    async def ImportSnapshot(self, parts: AsyncIterator[control.SnapshotPart], _context: Any) -> control.Snapshot:
        first = await anext(aiter(parts), control.SnapshotPart())
        task = known_task(self._tasks, first.task)
        origin = self._origin(task, first)
        imports.check_licence(task, origin)
        with TemporaryDirectory(prefix="tutelage-import-") as folder:
            path = Path(folder) / "examples.jsonl"
            path.touch()
            await self._take_in(path, task, origin, first)
            async for part in parts:
                await self._take_in(path, task, origin, part)
            return await self._made(path, task, origin)

    async def _take_in(self, path: Path, task: Task, origin: Origin, part: control.SnapshotPart) -> None:
        if len(part.examples) > PART_EXAMPLES:
            raise invalid("examples", f"has {len(part.examples)}; the limit is {PART_EXAMPLES} a message")
        for place, example in enumerate(part.examples):
            required(f"examples[{place}].request.request_id", example.request.request_id)
            limited(f"examples[{place}].answer", example.answer, task.limits.max_input_bytes)
        rows = (imports.row(task, origin, example) for example in part.examples)
        await asyncio.to_thread(imports.write, path, rows)

    async def _made(self, path: Path, task: Task, origin: Origin) -> control.Snapshot:
        number = await self._desk.number(task, self._actions.snapshots(task.name))
        directory = self._actions.snapshots_dir.resolve() / task.name / str(number)
        store = ImportedStore(path, self._actions.store)
        told = origin.told(await asyncio.to_thread(store.set_aside))
        order = Order(task, number, directory, origin.at, self._actions.page_rows, told)
        await asyncio.to_thread(self._take, store, order)
        return self._snapshot(task, number)

    def _take(self, store: ImportedStore, order: Order) -> None:
        with self._actions.datasets:
            snapshot.take(store, order)

    def _origin(self, task: Task, first: control.SnapshotPart) -> Origin:
        return Origin(
            source=required("source", first.source),
            sha256=limited("sha256", first.sha256, 64),
            by_people=first.by_people,
            teacher_model=limited("teacher_model", first.teacher_model, 256) or task.teacher.model,
            at=self._actions.now(),
        )

    def _directory(self, task: Task, number: int) -> Path:
        if number not in self._actions.snapshots(task.name):
            here = ", ".join(map(str, shelf.numbers(self._actions.snapshots_dir / task.name))) or "none"
            raise Rejected(
                grpc.StatusCode.NOT_FOUND, f"number: there is no snapshot {task.name}/{number}; there are: {here}"
            )
        return self._actions.snapshots_dir / task.name / str(number)

    def _counts(self, task: Task, number: int) -> Mapping[str, Mapping[str, Any]]:
        counts: Mapping[str, Mapping[str, Any]] = shelf.manifest(self._directory(task, number))["counts"]
        return counts

    def _snapshot(self, task: Task, number: int) -> control.Snapshot:
        manifest = (self._directory(task, number) / "manifest.json").read_text(encoding="utf-8")
        return control.Snapshot(task=task.name, number=number, manifest=manifest)


def _diff(before: Path, after: Path, page_rows: int) -> control.SnapshotDiff:
    told = control.SnapshotDiff(differences=shelf.distinctions(shelf.manifest(before), shelf.manifest(after)))
    for split in shelf.SPLITS:
        found = shelf.difference(before, after, split, page_rows)
        changes = [
            control.ChangedRow(id=name, column=column, before=one, after=other)
            for name, column, one, other in found.changes
        ]
        told.splits[split].CopyFrom(
            control.SplitDiff(
                before=found.before,
                after=found.after,
                added=found.added,
                removed=found.removed,
                changed=found.changed,
                examples=changes,
            )
        )
    return told


def _row(row: Mapping[str, Any]) -> control.SnapshotRow:
    return control.SnapshotRow(
        id=row["id"],
        prompt=row["prompt"],
        completion=row["truth"] if "truth" in row else row["completion"],
        kind=row["kind"],
        weight=row.get("weight", 1.0),
        corrected=row.get("corrected", True),
        group_digest=row.get("group_digest", ""),
    )
