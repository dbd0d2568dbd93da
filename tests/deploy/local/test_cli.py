"""`tutelage up` and `demo` say at once what would fail later, and where things are."""

from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from deploy.local.addresses import Addresses
from deploy.local.cli import where
from deploy.local.options import StackOptions
from deploy.local.parts import teacher_is_set
from deploy.local.stack import Stack
from services.cli import app

SHIPPED = Path("deploy/tasks/address-extraction.yaml")


@pytest.fixture(autouse=True)
def nothing_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(*_: object) -> Stack:
        raise AssertionError("the stack was started")

    monkeypatch.setattr(Stack, "start", start)
    monkeypatch.delenv("TEACHER_BASE_URL", raising=False)
    monkeypatch.delenv("TEACHER_API_KEY", raising=False)


def a_bad_task(folder: Path) -> Path:
    task = yaml.safe_load(SHIPPED.read_text()) | {"error_cieling": 0.1}
    (folder / SHIPPED.name).write_text(yaml.safe_dump(task))
    return folder


@pytest.mark.parametrize(("command", "code"), [("up", 2), ("demo", 1)])
def test_a_bad_task_ends_it_before_anything_starts(command: str, code: int, tmp_path: Path) -> None:
    (tasks := tmp_path / "tasks").mkdir()
    state = tmp_path / "state"
    for folder, said in (
        (tasks, f"no tasks: {tasks} holds no *.yaml file; set --tasks"),
        (tmp_path / "nowhere", f"there is no folder {tmp_path / 'nowhere'}; set --tasks"),
        (a_bad_task(tmp_path), f"{tmp_path / SHIPPED.name}: error_cieling: Extra inputs are not permitted"),
    ):
        done = CliRunner().invoke(app, [command, "--tasks", str(folder), "--state", str(state)])
        assert done.exit_code == code
        assert said in done.output.replace("\n", " ").replace("  ", " ") or said in done.output
        assert "Traceback" not in done.output
    assert not state.exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--without", "bogus"], "no part is called bogus; there are broker, clickhouse, triton, ray, sink, sampler"),
        (["--without", "ray", "--without", "Gateway"], "no part is called Gateway; there are broker"),
        (["--port", "gateway"], "must be NAME=NUMBER"),
    ],
)
def test_a_part_that_there_is_not_is_refused_with_those_that_there_are(
    words: list[str], said: str, tmp_path: Path
) -> None:
    done = CliRunner().invoke(app, ["up", "--state", str(tmp_path / "state"), *words])
    assert done.exit_code == 2
    assert said in " ".join(done.output.replace("│", " ").split())
    assert not (tmp_path / "state").exists()


def test_where_a_teacher_is_not_set_it_says_how(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    words = ["up", "--tasks", str(SHIPPED.parent), "--state", str(tmp_path)]
    told = " ".join(CliRunner().invoke(app, words).output.split())
    assert "the teacher is not set" in told
    assert "TEACHER_BASE_URL" in told
    assert "TEACHER_API_KEY" in told
    monkeypatch.setenv("TEACHER_BASE_URL", "http://127.0.0.1:1/v1")
    assert "teacher" not in CliRunner().invoke(app, words).output


def test_a_teacher_is_set_by_either_variable_or_not_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not teacher_is_set(StackOptions())
    assert teacher_is_set(StackOptions(leave_out=frozenset({"gateway"})))
    assert teacher_is_set(StackOptions(teacher_base_url="http://127.0.0.1:1/v1"))
    assert teacher_is_set(StackOptions(environment={"gateway": {"TEACHER_BASE_URL": "http://127.0.0.1:1/v1"}}))
    monkeypatch.setenv("TEACHER_API_KEY", "k")
    assert teacher_is_set(StackOptions())


def test_it_says_where_kafka_clickhouse_and_the_controller_listen() -> None:
    at = Addresses(**{name: f"127.0.0.1:{port}" for port, name in enumerate(Addresses.__annotations__, start=1)})
    told = "\n".join(where(at, StackOptions(leave_out=frozenset({"gateway"}))))
    for address in (at.control, at.kafka, at.clickhouse_url):
        assert address in told
    assert at.gateway not in told.split()
    assert f"http://{at.gateway_http}/v1" not in told
    assert f"http://{at.gateway_http}/v1" in "\n".join(where(at, StackOptions()))
