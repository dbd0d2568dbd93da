"""What `tutelage run start` asks of the controller."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from protos import control_pb2 as control
from protos import events_pb2 as events
from services.cli import runs
from services.cli.commands import app

REPORT = {
    "pruning": {"tokens_before": 40, "tokens_after": 8, "usd_saved_per_million": 0.64, "cost": None, "used": True},
}


class Stub:
    def __init__(self) -> None:
        self.asked: list[control.StartRunRequest] = []
        self.training = ""  # the latest run, if it is not done

    def StartRun(self, request: control.StartRunRequest) -> events.Run:
        self.asked.append(request)
        return events.Run(id="7")

    def GetRun(self, request: control.GetRunRequest) -> events.Run:
        if self.training and request.id in ("", self.training):
            return events.Run(id=self.training, state=events.RUN_STATE_TRAINING)
        return events.Run(id=request.id or "7", state=events.RUN_STATE_DONE, report=json.dumps(REPORT))

    def Status(self, _request: control.StatusRequest) -> control.StatusReply:
        latest = [self.GetRun(control.GetRunRequest()), self.GetRun(control.GetRunRequest(id="6"))]
        return control.StatusReply(tasks=[control.TaskStatus(runs=latest)])


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Stub:
    made = Stub()

    @contextmanager
    def controller(_settings: Any) -> Iterator[Stub]:
        yield made

    monkeypatch.setattr(runs, "controller", controller)
    return made


def run(*words: str) -> Result:
    return CliRunner().invoke(app, ["run", *words])


def test_a_config_is_a_file_or_a_name(stub: Stub, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("epochs: 3\n")
    for config in ("pruned", "llama-3.1-8b-gpu", str(tmp_path / "mine.yaml")):
        assert run("start", "labels", "--config", config).exit_code == 0
    run("start", "labels", "--set", "epochs=2")
    told = [request.config for request in stub.asked]
    assert told == ['{"from": "pruned"}', '{"from": "llama-3.1-8b-gpu"}', "epochs: 3\n", ""]
    assert dict(stub.asked[-1].overrides) == {"epochs": "2"}


@pytest.mark.parametrize("config", ["mine.yaml", "./pruned", "no/such/pruned"])
def test_a_file_that_is_not_there_is_no_name(stub: Stub, config: str) -> None:
    result = run("start", "labels", "--config", config)
    assert result.exit_code == 1
    assert "there is no such file" in " ".join(result.output.split())
    assert stub.asked == []


def test_what_pruning_saves_is_shown_with_the_run(stub: Stub) -> None:
    assert "pruned prompts: 8 instead of 40 tokens a prompt, $0.64 less" in run("show", "labels").output


def test_the_latest_run_is_shown_or_the_one_that_is_named(stub: Stub) -> None:
    assert "run 7: done" in run("show", "labels").output
    assert "run 6: done" in run("show", "labels", "--run", "6").output


def test_while_a_run_trains_the_report_is_that_of_the_one_before_and_its_own_when_it_is_named(stub: Stub) -> None:
    stub.training = "8"
    said = CliRunner().invoke(app, ["report", "labels", "--json"])
    assert json.loads(said.output) == REPORT
    refused = CliRunner().invoke(app, ["report", "labels", "--run", "8"])
    assert refused.exit_code == 1
    assert "run 8 has no report: it is training" in " ".join(refused.output.split())


def test_a_share_without_its_part_is_refused_before_anybody_is_asked(stub: Stub) -> None:
    result = CliRunner().invoke(app, ["promote", "labels", "--policy", "share"])
    assert result.exit_code == 1
    assert "--share: give a part above 0, as 0.05" in result.output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--share", "0.05"], "--share 0.05: says nothing without --policy share or shadow"),
        (["--policy", "student", "--share", "0.05"], "--share 0.05: says nothing without --policy share or shadow"),
        (["--min-confidence", "-0.5"], "--min-confidence -0.5: says nothing without --policy cascade or share"),
    ],
)
def test_what_the_policy_has_no_use_for_is_refused(stub: Stub, words: list[str], said: str) -> None:
    result = CliRunner().invoke(app, ["promote", "labels", *words])
    assert (result.exit_code, said in " ".join(result.output.split())) == (1, True)
