"""An import is a source that begins and ends, also when it is killed on its way and run again."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from click.testing import Result

from protos import control_pb2 as control
from protos import control_pb2_grpc as control_grpc
from services.cli.importing import Source, source_of
from services.kafka import Follower
from services.topics import EXCHANGES, SOURCES, decode
from tests.fakes.kafka import FakeBroker, FakeProducer
from tests.services.cli.test_dead_letters import Run, run, until_audit
from tests.services.sink.messages import exchange
from tests.services.sink.test_sink import Stack, stack

__all__ = ["run", "stack"]
LINES = 30_000  # Some seconds of reading: time to be killed in.
SOME = 500
COMMAND = "from services.cli import app; app()"


def a_log(path: Path, lines: int) -> Path:
    asked = [{"role": "user", "content": "12 Main St"}]
    with path.open("w") as file:
        for number in range(lines):
            said = {"role": "assistant", "content": f"answer {number}"}
            file.write(json.dumps({"messages": [*asked, said]}) + "\n")
            file.write("not JSON\n" if number % 100 == 0 else "")
    return path


def test_the_name_follows_from_the_task_and_the_bytes_alone(tmp_path: Path) -> None:
    one, same, other = (a_log(tmp_path / name, lines) for name, lines in (("a", 3), ("b", 3), ("c", 4)))
    assert source_of("task", one) == source_of("task", same)
    assert len({source_of("task", one), source_of("task", other), source_of("another", one)}) == 3


def test_it_says_where_it_begins_and_where_it_ends() -> None:
    broker = FakeBroker()
    assert list(Source(FakeProducer(broker), "s").take(exchange() for _ in range(3))) == [1, 2, 3]
    arrived = [decode(record) for record in broker.records(EXCHANGES.name)]
    assert [(one.source, one.sequence) for one in arrived] == [("s", 1), ("s", 2), ("s", 3)]
    told = [decode(record) for record in broker.records(SOURCES.name)]
    assert [(one.last_sequence, one.acknowledged, one.ended) for one in told] == [(0, 0, False), (3, 3, True)]


def test_what_kafka_refuses_is_told_as_put_aside() -> None:
    broker = FakeBroker(refuse=lambda record: "too large" if b"huge" in record.value else "")
    source = Source(FakeProducer(broker), "s")
    list(source.take([exchange(), exchange(error="huge"), exchange()]))
    assert source.refused == {"too large": 1}
    assert [decode(record).put_aside for record in broker.records(SOURCES.name)] == [0, 1]


class Control(control_grpc.ControlServicer):
    """Knows every task."""

    def Status(self, request: control.StatusRequest, context: grpc.ServicerContext) -> control.StatusReply:
        return control.StatusReply()


@contextmanager
def a_controller() -> Iterator[str]:
    server = grpc.server(ThreadPoolExecutor(1))
    control_grpc.add_ControlServicer_to_server(Control(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(0).wait()


@pytest.fixture
def controller(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with a_controller() as address:
        monkeypatch.setenv("CONTROL_ADDRESS", address)
        yield


def brought_in(run: Run, log: Path) -> Result:
    done = run("import", "address", str(log))
    assert done.exit_code == 0, done.output
    assert f"{LINES} exchanges imported as source {source_of('address', log)}" in done.stdout.replace("\n", " ")
    return done


def sources(run: Run) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(run("audit", "--json", "--within", "0").stdout)["sources"]
    return found


def until_some_are_on_kafka(stack: Stack) -> None:
    follower, seen = Follower(stack.kafka, EXCHANGES.name), 0
    follower.start(5)
    while seen < SOME:
        seen += len(follower.poll(SOME, 0.1))
    follower.close()


@pytest.mark.contract
@pytest.mark.usefixtures("controller")
def test_an_import_that_was_killed_is_brought_to_its_end_by_running_it_again(
    stack: Stack, run: Run, tmp_path: Path
) -> None:
    log = a_log(tmp_path / "log.jsonl", LINES)
    argv = [sys.executable, "-c", COMMAND, "import", "address", str(log), "--state", str(tmp_path)]
    importing = subprocess.Popen(argv, stdout=subprocess.DEVNULL, env=os.environ)
    until_some_are_on_kafka(stack)
    importing.send_signal(signal.SIGKILL)
    assert importing.wait() == -signal.SIGKILL
    with stack.sink():
        stack.until(f"SELECT uniqExact(sequence) >= {SOME} AS n FROM ledger", 1)
        stack.until("SELECT count() AS n FROM sources", 1)
        [killed] = sources(run)
        assert (killed["source"], killed["course"]) == (source_of("address", log), "open")
        assert SOME <= killed["answered"] < LINES

        brought_in(run, log)
        until_audit(run, answered=LINES, acknowledged=LINES, stored=LINES, missing=0, in_flight=0, duplicates=0)
        [ended] = sources(run)
        assert ended["course"] == "ended"

        brought_in(run, log)  # Once more: nothing is new.
        until_audit(run, answered=LINES, stored=LINES, missing=0, duplicates=0)
    assert stack.rows("SELECT uniqExact(id) AS ids, uniqExact(source) AS sources FROM exchanges FINAL") == [
        {"ids": LINES, "sources": 1}
    ]
