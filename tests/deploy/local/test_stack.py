"""The stack's promises, shown on broker and ClickHouse alone, with tiny programs in the place of services."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient

from deploy.local import ready
from deploy.local.cli import take_down
from deploy.local.home import AlreadyUp, Record, read_record
from deploy.local.options import Event, StackOptions, State
from deploy.local.part import Part
from deploy.local.parts import ENGINES, SERVICES
from deploy.local.processes import identity, wait_until
from deploy.local.stack import Crashed, Stack
from services.topics import TOPICS

pytestmark = pytest.mark.contract

NO_PARTS = frozenset({*ENGINES, *SERVICES})
UP = (sys.executable, "-m", "deploy.local", "up", *(word for name in SERVICES for word in ("--without", name)))


def program(name: str, code: str) -> Part:
    return Part(name, (sys.executable, "-c", code), lambda: True, grace_s=5)


SLEEPER = program("sleeper", "import time; print('here', flush=True); time.sleep(600)")
PARENT = program(
    "parent", "import subprocess; p = subprocess.Popen(['sleep', '600']); print(p.pid, flush=True); p.wait()"
)


@contextmanager
def running(options: StackOptions, events: list[Event] | None = None) -> Iterator[Stack]:
    stack = Stack.start(options, (events if events is not None else []).append)
    try:
        yield stack
    finally:
        stack.stop()


def only(state: Path, *parts: Part) -> StackOptions:
    return StackOptions(state, leave_out=NO_PARTS, extra_parts=parts)


def test_broker_and_clickhouse_start_in_order_with_topics_and_stop_in_reverse(tmp_path: Path) -> None:
    events: list[Event] = []
    with running(StackOptions(tmp_path, leave_out=NO_PARTS - {"broker", "clickhouse"}), events) as stack:
        assert stack.environment["CLICKHOUSE_URL"] == stack.addresses.clickhouse_url
        assert ready.answers_http(f"{stack.addresses.clickhouse_url}/ping")
        admin = AdminClient({"bootstrap.servers": stack.addresses.kafka})
        assert set(TOPICS) <= set(admin.list_topics(timeout=10).topics)
        stack.check()
    told = [(event.part, event.state) for event in events if event.state is not State.STARTING]
    up = [("broker", State.READY), ("clickhouse", State.READY)]
    assert told == [*up, ("clickhouse", State.STOPPED), ("broker", State.STOPPED)]
    assert read_record(tmp_path) is None


def test_given_ports_are_taken_and_unknown_ones_refused(tmp_path: Path) -> None:
    with running(StackOptions(tmp_path, ports={"gateway": 29_871}, leave_out=NO_PARTS)) as stack:
        assert stack.environment["GATEWAY_ADDRESS"] == "127.0.0.1:29871"
    with pytest.raises(ValueError, match="no port is called doorway"):
        Stack.start(StackOptions(tmp_path, ports={"doorway": 1}))


def test_a_second_stack_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    with running(only(tmp_path, SLEEPER)) as stack:
        with pytest.raises(AlreadyUp, match="has a running stack"):
            Stack.start(only(tmp_path, SLEEPER))
        stack.check()


def test_a_crashed_part_is_named_with_the_end_of_its_log(tmp_path: Path) -> None:
    dying = program("dying", "import time; [print('line', n, flush=True) for n in range(99)]; time.sleep(0.5); exit(3)")
    ended = pytest.raises(Crashed, match="dying ended with code 3")
    with running(only(tmp_path, SLEEPER, dying)) as stack, ended as crash:
        stack.wait()
    assert (crash.value.part, crash.value.tail) == ("dying", "\n".join(f"line {n}" for n in range(79, 99)))


def test_a_part_that_ends_before_it_is_ready_takes_the_others_with_it(tmp_path: Path) -> None:
    broken = Part("broken", (sys.executable, "-c", "raise SystemExit('no disk')"), lambda: False)
    with pytest.raises(Crashed, match=r"(?s)broken ended with code 1.*no disk"):
        Stack.start(only(tmp_path, SLEEPER, broken))
    assert read_record(tmp_path) is None


def test_a_part_that_is_never_ready_is_named(tmp_path: Path) -> None:
    lazy = Part("lazy", SLEEPER.argv, lambda: False, ready_within_s=1)
    with pytest.raises(Crashed, match="lazy was not ready within 1 s"):
        Stack.start(only(tmp_path, lazy))


def test_what_a_part_started_ends_with_it(tmp_path: Path) -> None:
    with running(only(tmp_path, PARENT)) as stack:
        assert wait_until(lambda: stack.log("parent").read_text().strip().isdigit(), within_s=20)
        grandchild = identity(int(stack.log("parent").read_text()))
        stack.kill("parent")
        assert grandchild.process() is None
        stack.check()


def test_a_killed_part_can_be_started_again(tmp_path: Path) -> None:
    with running(only(tmp_path, SLEEPER)) as stack:
        first = stack.identity("sleeper")
        stack.kill("sleeper")
        stack.restart("sleeper")
        assert first.process() is None
        assert stack.identity("sleeper") == json_record(tmp_path).parts["sleeper"] != first


def json_record(state: Path) -> Record:
    record = read_record(state)
    assert record is not None
    assert json.loads((state / "stack.json").read_text())["env"] == record.env
    return record


@contextmanager
def from_a_terminal(state: Path, *more: str) -> Iterator[subprocess.Popen[str]]:
    argv = (*UP, "--without", "triton", "--without", "ray", "--state", str(state), *more)
    # As under a terminal: who runs the tests in the background has them, and so their children, ignore Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as up:
        try:
            assert up.stdout is not None
            assert any(line.startswith("up: ") for line in up.stdout)
            yield up
        finally:
            up.kill()


def all_gone(record: Record) -> bool:
    return not any(leader.process() for leader in record.parts.values())


def test_down_stops_a_stack_of_another_terminal(tmp_path: Path) -> None:
    with from_a_terminal(tmp_path) as up:
        record = json_record(tmp_path)
        assert take_down(tmp_path)
        assert up.wait(10) == 0
    assert all_gone(record)
    assert not take_down(tmp_path)


def test_ctrl_c_stops_everything(tmp_path: Path) -> None:
    with from_a_terminal(tmp_path) as up:
        record = json_record(tmp_path)
        up.send_signal(signal.SIGINT)
        assert up.wait(60) == 0
    assert all_gone(record)


def test_up_ends_with_code_1_when_a_part_crashes(tmp_path: Path) -> None:
    with from_a_terminal(tmp_path) as up:
        broker = json_record(tmp_path).parts["broker"].process()
        assert broker is not None
        broker.kill()
        assert up.stdout is not None
        assert any("broker ended with code -9" in line for line in up.stdout)
        assert up.wait(60) == 1


def test_parts_do_not_outlive_a_stack_that_was_killed(tmp_path: Path) -> None:
    with from_a_terminal(tmp_path) as up:
        record = json_record(tmp_path)
        up.kill()
        assert wait_until(lambda: all_gone(record) and read_record(tmp_path) is None, within_s=60)


def test_a_recorded_pid_that_belongs_to_another_process_by_now_is_left_alone(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "600"], start_new_session=True) as stranger:
        recycled = identity(stranger.pid).model_copy(update={"started": 1_000.0})
        record = Record(stack=recycled, parts={"broker": recycled}, addresses={}, env={})
        (tmp_path / "stack.json").write_text(record.model_dump_json())
        assert take_down(tmp_path)
        with running(only(tmp_path, SLEEPER)):
            assert stranger.poll() is None
        stranger.kill()
