"""`python -m deploy.local up | down | status`: the stack on this machine, from a terminal."""

import json
import signal
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console

from deploy.local.addresses import Addresses
from deploy.local.home import AlreadyUp, read_record
from deploy.local.options import Event, StackOptions, State
from deploy.local.parts import ENGINES, SERVICES, said, teacher_is_set
from deploy.local.processes import stop_session, wait_until
from deploy.local.stack import Crashed, Stack
from services import tasks

app = typer.Typer(no_args_is_help=True, help="The stack on this machine, without containers.")
_screen: Final = Console(soft_wrap=True, highlight=False)
_MARKS: Final = {State.READY: "[green]ready[/]", State.STOPPED: "[dim]stopped[/]", State.CRASHED: "[red]crashed[/]"}
PARTS: Final = ", ".join((*ENGINES, *SERVICES))
TASKS: Final = Path("deploy/tasks")
NO_TEACHER: Final = (
    "the teacher is not set, and calls that need it will fail: set TEACHER_BASE_URL (any OpenAI-compatible API, ending "
    "in /v1) and TEACHER_API_KEY, then start again"
)
_STOPS_WITHIN_S: Final = 120.0

StateDir = Annotated[Path, typer.Option("--state", help="The folder of data, logs and the record of what runs.")]


@app.command()
def up(
    state: StateDir = Path(".tutelage"),
    tasks_dir: Annotated[Path, typer.Option("--tasks", help="The folder of the tasks' YAML files.")] = TASKS,
    port: Annotated[list[str] | None, typer.Option(help="NAME=NUMBER: gateway, control, kafka...; may repeat.")] = None,
    without: Annotated[list[str] | None, typer.Option(help=f"Leave out one of {PARTS}; may repeat.")] = None,
) -> None:
    """Starts every part and watches it until Ctrl-C or `down`. Code 1 if a part crashed, 2 if nothing was started."""
    options = StackOptions(state, tasks_dir, _ports(port or []), leave_out=_left_out(without or []))
    raise typer.Exit(run(options))


@app.command()
def down(state: StateDir = Path(".tutelage")) -> None:
    """Stops the stack of a state folder, and whatever a killed one left running."""
    _screen.print("stopped" if take_down(state) else f"nothing runs in {state}")


@app.command()
def status(state: StateDir = Path(".tutelage")) -> None:
    """Shows what runs and where. Code 1 if nothing does."""
    record = read_record(state)
    if record is None or record.stack.process() is None:
        _screen.print(f"nothing runs in {state}")
        raise typer.Exit(1)
    for name, leader in record.parts.items():
        _screen.print(f"{name:12} {'runs' if leader.process() else 'ended'}, process {leader.pid}")
    _screen.print(json.dumps(record.addresses, indent=2))


def run(options: StackOptions) -> int:
    """Runs a stack until Ctrl-C or SIGTERM and says on the screen what happens; returns the exit code."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    stack: Stack | None = None
    try:
        tasks.load(options.tasks_dir, "--tasks")  # Now, not by the gateway once the engines have started.
        if not teacher_is_set(options):
            _screen.print(NO_TEACHER, style="yellow")
        stack = Stack.start(options, show)
        for line in where(stack.addresses, options):
            _screen.print(line)
        stack.wait()
    except KeyboardInterrupt:
        return 0
    except Crashed as crash:
        _screen.print(str(crash), style="red", markup=False)
        return 1
    except (AlreadyUp, ValueError) as refusal:
        _screen.print(str(refusal), style="red", markup=False)
        return 2
    finally:
        if stack:
            stack.stop()
        signal.signal(signal.SIGTERM, before)
    return 0


def where(at: Addresses, options: StackOptions) -> list[str]:
    """Where the running parts that people and their tools speak to listen."""
    scheme = "https" if said("gateway", options).get("GATEWAY_TLS_CERT") else "http"
    parts = {
        "gateway": f"gateway, gRPC: {at.gateway}; OpenAI-compatible: {scheme}://{at.gateway_http}/v1",
        "controller": f"controller, gRPC: {at.control}",
        "broker": f"Kafka: {at.kafka}",
        "clickhouse": f"ClickHouse, HTTP: {at.clickhouse_url}",
    }
    listening = [line for part, line in parts.items() if part not in options.leave_out]
    return [*listening, f"up: logs in {options.state_dir}/logs; Ctrl-C stops it"]


def take_down(state: Path) -> bool:
    """Stops the stack of a folder as Ctrl-C would, from another process; False if there is none."""
    record = read_record(state)
    if record is None:
        return False
    if stack := record.stack.process():
        stack.terminate()
        if not wait_until(lambda: record.stack.process() is None, _STOPS_WITHIN_S):
            stack.kill()
    for leader in reversed(record.parts.values()):
        stop_session(leader, grace_s=5)
    return True


def show(event: Event) -> None:
    """One line for each part that is ready, stopped or crashed."""
    if event.state in _MARKS:
        _screen.print(f"{event.part:12} {_MARKS[event.state]} [dim]{event.seconds:.1f} s[/]")


def _ports(given: list[str]) -> dict[str, int]:
    pairs = (text.partition("=") for text in given)
    try:
        return {name: int(number) for name, _, number in pairs}
    except ValueError:
        raise typer.BadParameter("must be NAME=NUMBER, for instance gateway=50051", param_hint="--port") from None


def _left_out(given: list[str]) -> frozenset[str]:
    if unknown := sorted({*given} - {*ENGINES, *SERVICES}):
        raise typer.BadParameter(f"no part is called {', '.join(unknown)}; there are {PARTS}", param_hint="--without")
    return frozenset(given)
