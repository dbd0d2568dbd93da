"""`up`, `down`, `demo`: the stack on this machine."""

import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from deploy.demo import show
from deploy.demo.archive import DataUnavailableError
from deploy.demo.scale import FULL, QUICK
from deploy.demo.story import DemoFailed
from deploy.local import cli
from deploy.local.home import AlreadyUp
from deploy.local.stack import Crashed
from services.cli.settings import STATE
from services.screen import clear_errors, console, fail

app = typer.Typer()
app.command()(cli.up)
app.command()(cli.down)


@app.command()
def demo(
    quick: Annotated[bool, typer.Option("--quick", help="Fewer examples, in minutes.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Pay a real teacher without asking.")] = False,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the stack up afterwards, until Ctrl-C.")] = False,
    state: Annotated[Path, typer.Option("--state", help="The stack's folder; emptied first.")] = STATE / "demo",
    tasks: Annotated[Path, typer.Option("--tasks", help="The folder of the tasks' YAML files.")] = Path("deploy/tasks"),
) -> None:
    """The whole loop on real addresses: teacher, student, proof, promotion.

    TEACHER_BASE_URL and TEACHER_API_KEY name a real teacher; without them a stand-in answers.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with clear_errors():
            show.demo(QUICK if quick else FULL, state, tasks, _yes if yes else _ask, keep=keep)
    except (DemoFailed, DataUnavailableError, AlreadyUp, Crashed) as error:
        raise fail(str(error)) from error
    except KeyboardInterrupt:
        raise typer.Exit(0 if keep else 130) from None


def _ask(price: str) -> None:
    if sys.stdin.isatty():
        typer.confirm(f"{price}. Go on?", abort=True)
    else:  # Nobody to ask: whoever set the variables has decided.
        _yes(price)


def _yes(price: str) -> None:
    console.print(price, highlight=False)
