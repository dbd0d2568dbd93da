"""`replay`, `golden`: bring requests and right answers in, from JSONL files."""

import asyncio
import json
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Final, Generic, TypeVar

import grpc
import typer
from rich.markup import escape

from protos import control_pb2 as pb
from protos import inference_pb2 as inference
from services import client, topics
from services.cli.controller import controller
from services.cli.ends import Ends
from services.cli.settings import STATE, StateOption, settings
from services.errors import BadEvent, Overloaded
from services.kafka import Producer
from services.openai_request import MODEL_PREFIX, parse_request
from services.screen import clear_errors, console, progress
from services.settings import GatewayAccess

app = typer.Typer()
Parsed = TypeVar("Parsed")
File = Annotated[Path, typer.Argument(exists=True, dir_okay=False, readable=True, help="A JSONL file.")]
TaskName = Annotated[str, typer.Argument(help="The task's name.")]
SHOWN_BAD_LINES: Final = 100
GOLDEN_PER_CALL: Final = 1000
ASK_S: Final = 60.0
REFUSED_EXAMPLE: Final = re.compile(r"examples\[(?P<place>\d+)\]\.(?P<why>.*)", re.DOTALL)


@app.command()
def replay(
    file: File,
    task: Annotated[str, typer.Option(help="The task of lines that name none.")] = "",
    concurrency: Annotated[int, typer.Option(min=1, help="Calls open at once.")] = 32,
    timeout_s: Annotated[float, typer.Option(min=0.1, help="Deadline of each call, in seconds.")] = 30.0,
    state: StateOption = STATE,
) -> None:
    """Send the requests of a JSONL file (OpenAI's request shape) through the gateway.

    Ends with 1 if none was answered.
    """
    with clear_errors():
        lines = Lines(file, lambda data: parse_request(of_task(data, task)))
        answered = _send_all(settings(state), "requests", lines, lines.count(), concurrency, timeout_s)
        lines.show_bad()
        if not answered:
            raise typer.Exit(1)


@app.command()
def golden(
    task: TaskName,
    file: File,
    ask: Annotated[
        bool,
        typer.Option(
            "--ask", help="Also send each input through the gateway, so that the teacher's answer to it is known."
        ),
    ] = False,
    concurrency: Annotated[int, typer.Option(min=1, help="Calls open at once, with --ask.")] = 32,
    state: StateOption = STATE,
) -> None:
    """Add examples whose right answer a person decided: lines of {"input", "truth", "group_key"?, "metadata"?}.

    Bad lines are left out and shown. Ends with 1 if none was added or, with --ask, none answered.
    """
    with clear_errors():
        lines = Lines(file, _golden_example)
        numbered, found = list(lines.numbered()), settings(state)
        parcels = [numbered[start : start + GOLDEN_PER_CALL] for start in range(0, len(numbered), GOLDEN_PER_CALL)]
        with controller(found) as stub:
            added = sum(add_golden(stub.AddGolden, task, parcel, lines.bad) for parcel in parcels)
        console.print(f"{added} golden examples added to {task}", highlight=False)
        asked = [golden_request(task, example) for parcel in parcels for _, example in parcel]
        answered = _send_all(found, "asked", asked, len(asked), concurrency, ASK_S) if ask else 0
        lines.show_bad()
        if not added or (ask and not answered):
            raise typer.Exit(1)


def of_task(data: dict[str, Any], task: str) -> dict[str, Any]:
    """A request's body with that task, unless it names one itself: in `task`, or in `model` as `tutelage/<task>`."""
    named = data.get("task") or str(data.get("model") or "").startswith(MODEL_PREFIX)
    return data if named or not task else {**data, "task": task}


def add_golden(
    call: Callable[[pb.AddGoldenRequest], pb.AddGoldenReply],
    task: str,
    numbered: list[tuple[int, pb.GoldenExample]],
    bad: list[tuple[int, str]],
) -> int:
    """Add the examples; returns how many. Those that the controller refuses go, with its reason, to `bad`.

    It names the first that it refuses and stores none then, so the others are sent again without that one.
    """
    while numbered:
        try:
            return call(pb.AddGoldenRequest(task=task, examples=[example for _, example in numbered])).added
        except grpc.RpcError as error:
            if not (refused := REFUSED_EXAMPLE.match(str(error.details()))):
                raise
            number, _ = numbered.pop(int(refused["place"]))
            bad.append((number, refused["why"]))
    return 0


class Lines(Generic[Parsed]):
    """The lines of a JSONL file, parsed one by one; bad ones are counted and kept with their numbers, never raised."""

    def __init__(self, path: Path, parse: Callable[[dict[str, Any]], Parsed]) -> None:
        self._path, self._parse = path, parse
        self.bad: list[tuple[int, str]] = []

    def count(self) -> int:
        with self._path.open("rb") as file:
            return sum(1 for line in file if line.strip())

    def __iter__(self) -> Iterator[Parsed]:
        return (parsed for _, parsed in self.numbered())

    def numbered(self) -> Iterator[tuple[int, Parsed]]:
        """What the good lines hold, with their numbers."""
        with self._path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    try:
                        yield number, self._parse(_json_object(line))
                    except BadEvent as error:
                        self.bad.append((number, error.reason))

    def show_bad(self) -> None:
        """Say which lines were left out and why, the first few by number."""
        for number, reason in sorted(self.bad)[:SHOWN_BAD_LINES]:
            console.print(
                f"[yellow]{escape(str(self._path))}:{number}[/] {escape(reason)}", markup=True, highlight=False
            )
        if self.bad:
            console.print(f"[yellow]{len(self.bad)} bad lines left out[/]", markup=True, highlight=False)


def _json_object(line: bytes) -> dict[str, Any]:
    try:
        data = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise BadEvent(f"not JSON: {error}") from error
    if not isinstance(data, dict):
        raise BadEvent(f"not a JSON object but {type(data).__name__}")
    return data


def _golden_example(data: dict[str, Any]) -> pb.GoldenExample:
    truth = data.get("truth")
    if not isinstance(data.get("input"), str) or not data["input"].strip():
        raise BadEvent("input: must be a text that is not empty")
    if truth is None:
        raise BadEvent("truth: is missing")
    text = truth if isinstance(truth, str) else json.dumps(truth, ensure_ascii=False, separators=(",", ":"))
    if not isinstance(labels := data.get("metadata") or {}, dict):
        raise BadEvent("metadata: must be an object of texts")
    metadata = {str(name): str(value) for name, value in labels.items()}
    return pb.GoldenExample(
        input=data["input"], truth=text, group_key=str(data.get("group_key", "")), metadata=metadata
    )


def _send_all(
    gateway: GatewayAccess,
    what: str,
    requests: Iterable[inference.Request],
    total: int,
    concurrency: int,
    timeout_s: float,
) -> int:
    """Send the requests, say how they ended; returns how many were answered."""
    ends = Ends()
    with progress() as bar:
        shown = bar.add_task(what, total=total, note="")

        def on_answer(answer: client.Answer) -> None:
            ends.add(answer)
            bar.update(shown, advance=1)

        asyncio.run(client.answer_all(gateway, requests, concurrency, timeout_s, on_answer))
    for line in ends.lines():
        console.print(line, highlight=False)
    return ends.answered


def golden_request(task: str, example: pb.GoldenExample) -> inference.Request:
    """The request that asks what a golden example asks."""
    message = inference.Message(role=inference.ROLE_USER, content=example.input)
    return inference.Request(
        task=task, messages=[message], group_key=example.group_key, metadata=dict(example.metadata)
    )


def send(producer: Producer, record: topics.Record, acked: Callable[[str], None]) -> None:
    """Queue a record, however long Kafka takes to make room for it."""
    while True:
        try:
            producer.send(record, acked)
        except Overloaded:
            producer.poll(0.5)
        else:
            producer.poll(0)
            return
