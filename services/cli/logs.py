"""`replay`, `golden`: bring requests and right answers in, from JSONL files."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Final, Generic, TypeVar

import typer

from protos import control_pb2 as pb
from protos import inference_pb2 as inference
from services import client, topics
from services.cli.settings import STATE, StateOption, settings
from services.errors import BadEvent, Overloaded
from services.intake import openai_log
from services.kafka import Producer
from services.screen import clear_errors, console, progress

app = typer.Typer()
Parsed = TypeVar("Parsed")
File = Annotated[Path, typer.Argument(exists=True, dir_okay=False, readable=True, help="A JSONL file.")]
TaskName = Annotated[str, typer.Argument(help="The task's name.")]
SHOWN_BAD_LINES: Final = 100
GOLDEN_PER_CALL: Final = 1000


@app.command()
def replay(
    file: File,
    task: Annotated[str, typer.Option(help="The task of lines that name none.")] = "",
    concurrency: Annotated[int, typer.Option(min=1, help="Calls open at once.")] = 32,
    timeout_s: Annotated[float, typer.Option(min=0.1, help="Deadline of each call, in seconds.")] = 30.0,
    state: StateOption = STATE,
) -> None:
    """Send the requests of a JSONL file (OpenAI's request shape) through the gateway."""
    with clear_errors():
        lines = Lines(file, lambda data: openai_log.parse_request({"task": task, **data} if task else data))
        ends: Counter[str] = Counter()
        with progress() as bar:
            shown = bar.add_task("requests", total=lines.count(), note="")

            def on_answer(answer: client.Answer) -> None:
                ends[inference.Backend.Name(answer.reply.answered_by) if answer.reply else answer.status] += 1
                bar.update(shown, advance=1)

            address = settings(state).gateway_address
            asyncio.run(client.answer_all(address, lines, concurrency, timeout_s, on_answer))
        for end, count in ends.most_common():
            console.print(f"{count:>8}  {end}", highlight=False)
        lines.show_bad()


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
    """Add examples whose right answer a person decided: lines of {"input", "truth", "group_key"?, "metadata"?}."""
    with clear_errors():
        lines = Lines(file, _golden_example)
        examples, found = list(lines), settings(state)
        with client.control(found.control_address) as stub:
            added = sum(
                stub.AddGolden(pb.AddGoldenRequest(task=task, examples=examples[start : start + GOLDEN_PER_CALL])).added
                for start in range(0, len(examples), GOLDEN_PER_CALL)
            )
        console.print(f"{added} golden examples added to {task}", highlight=False)
        if ask:
            _ask(found.gateway_address, task, examples, concurrency)
        lines.show_bad()


class Lines(Generic[Parsed]):
    """The lines of a JSONL file, parsed one by one; bad ones are counted and kept with their numbers, never raised."""

    def __init__(self, path: Path, parse: Callable[[dict[str, Any]], Parsed]) -> None:
        self._path, self._parse = path, parse
        self.bad: list[tuple[int, str]] = []

    def count(self) -> int:
        with self._path.open("rb") as file:
            return sum(1 for line in file if line.strip())

    def __iter__(self) -> Iterator[Parsed]:
        with self._path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    try:
                        yield self._parse(_json_object(line))
                    except BadEvent as error:
                        self.bad.append((number, error.reason))

    def show_bad(self) -> None:
        """Say which lines were left out and why, the first few by number."""
        for number, reason in self.bad[:SHOWN_BAD_LINES]:
            console.print(f"[yellow]{self._path}:{number}[/] {reason}", highlight=False)
        if self.bad:
            console.print(f"[yellow]{len(self.bad)} bad lines left out[/]", highlight=False)


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


def _ask(address: str, task: str, examples: list[pb.GoldenExample], concurrency: int) -> None:
    requests = (golden_request(task, example) for example in examples)
    ends: Counter[str] = Counter()
    with progress() as bar:
        shown = bar.add_task("asked", total=len(examples), note="")

        def on_answer(answer: client.Answer) -> None:
            ends[inference.Backend.Name(answer.reply.answered_by) if answer.reply else answer.status] += 1
            bar.update(shown, advance=1)

        asyncio.run(client.answer_all(address, requests, concurrency, 60, on_answer))
    for end, count in ends.most_common():
        console.print(f"{count:>8}  {end}", highlight=False)


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
