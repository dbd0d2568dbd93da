"""Lines of a file that are sent: whose task they are, and what becomes of those that are refused."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import pytest
from typer.testing import CliRunner

from protos import control_pb2 as control
from protos import inference_pb2 as inference
from services import client
from services.cli import app, logs
from services.controller import checks
from services.tasks import Task
from tests.services.controller.world import a_task

REQUEST = '{"messages": [{"role": "user", "content": "is it?"}], "task": "labels"}\n'


@pytest.mark.parametrize(
    ("line", "task"),
    [
        ({}, "nope"),
        ({"model": "gpt-4"}, "nope"),
        ({"task": ""}, "nope"),
        ({"task": None, "model": None}, "nope"),
        ({"task": "own"}, "own"),
        ({"model": "tutelage/own"}, None),
        ({"task": "own", "model": "tutelage/other"}, "own"),
    ],
)
def test_lines_that_name_a_task_keep_it(line: dict[str, Any], task: str | None) -> None:
    assert logs.of_task(line, "nope").get("task") == task


def test_without_a_task_given_a_line_stays_as_it_is() -> None:
    assert logs.of_task({"task": None}, "") == {"task": None}


class Refused(grpc.RpcError):
    def __init__(self, text: str) -> None:
        self._text = text

    def details(self) -> str:
        return self._text


def controller(task: Task, stored: list[str]) -> Callable[[control.AddGoldenRequest], control.AddGoldenReply]:
    """Refuses and takes as the controller does."""

    def add(request: control.AddGoldenRequest) -> control.AddGoldenReply:
        try:
            rows = checks.golden_rows(task, list(request.examples), datetime.now(UTC))
        except checks.Rejected as error:
            raise Refused(str(error)) from error
        stored.extend(row[2] for row in rows)
        return control.AddGoldenReply(added=len(rows))

    return add


def test_bad_labels_are_taken_out_with_their_line_and_the_rest_goes_in() -> None:
    truths = {1: "yes", 2: "perhaps", 5: "no", 6: "", 9: "yes", 10: "never"}
    numbered = [(line, control.GoldenExample(input=f"{line}?", truth=truth)) for line, truth in truths.items()]
    bad, stored = [(3, "not JSON")], list[str]()
    assert logs.add_golden(controller(a_task(), stored), "labels", numbered, bad) == 3
    assert stored == ["1?", "5?", "9?"]
    assert [line for line, _ in numbered] == [1, 5, 9]
    assert bad == [
        (3, "not JSON"),
        (2, "truth: one_of: 'perhaps' is none of the 2 values"),
        (6, "truth: is required"),
        (10, "truth: one_of: 'never' is none of the 2 values"),
    ]


def test_where_every_label_is_bad_none_is_added() -> None:
    numbered, bad = [(1, control.GoldenExample(input="?", truth="perhaps"))], list[tuple[int, str]]()
    assert logs.add_golden(controller(a_task(), []), "labels", numbered, bad) == 0
    assert [line for line, _ in bad] == [1]


def test_another_refusal_is_an_error_of_all() -> None:
    def away(_request: control.AddGoldenRequest) -> control.AddGoldenReply:
        raise Refused("ClickHouse is away")

    with pytest.raises(Refused):
        logs.add_golden(away, "labels", [(1, control.GoldenExample(input="?", truth="yes"))], [])


@pytest.mark.parametrize(("reply", "code"), [(inference.Reply(answered_by=inference.BACKEND_TEACHER), 0), (None, 1)])
def test_a_replay_without_an_answer_ends_with_one(
    reply: inference.Reply | None, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def answer_all(_gateway: Any, requests: Any, *rest: Any) -> None:
        for request in requests:
            rest[-1](client.Answer(request, reply, "" if reply else "UNAVAILABLE: away"))

    monkeypatch.setattr(client, "answer_all", answer_all)
    monkeypatch.setenv("GATEWAY_ADDRESS", "127.0.0.1:1")
    log = tmp_path / "log.jsonl"
    log.write_text(REQUEST + "[1]\n")
    done = CliRunner().invoke(app, ["replay", str(log), "--state", str(tmp_path)])
    assert done.exit_code == code, done.output
    assert ("1  teacher" if reply else "1  UNAVAILABLE: away") in done.output
    assert "not a JSON object but list" in done.output
