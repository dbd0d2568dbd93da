"""Where the command line finds the services: the environment, else the stack on this machine, else the defaults."""

import json
import os
from pathlib import Path
from typing import Annotated, Final

import typer

from services.settings import ClickHouseSettings, ControlAccess, GatewayAccess, KafkaSettings

STATE: Final = Path(".tutelage")
StateOption = Annotated[Path, typer.Option("--state", help="Folder of the stack on this machine.")]


class CliSettings(KafkaSettings, ClickHouseSettings, GatewayAccess, ControlAccess):
    """What the commands speak to."""


def settings(state: Path = STATE) -> CliSettings:
    """The settings; variables of the environment win over those of the stack whose folder `state` is.

    Raises BadParameter if a folder was named in which no stack is up, and the environment says nothing either: the
    defaults may be another system.
    """
    told = {name.upper() for name in CliSettings.model_fields} & os.environ.keys()
    if state != STATE and not told and not (state / "stack.json").exists():
        raise typer.BadParameter(f"no stack is up in {state}: `tutelage up --state {state}`, or leave --state away")
    for name, value in stack_environment(state).items():
        os.environ.setdefault(name, value)
    return CliSettings()


def stack_environment(state: Path) -> dict[str, str]:
    """The variables under which the stack in `state` is reached; none where there is no such stack."""
    path = state / "stack.json"
    return dict(json.loads(path.read_text(encoding="utf-8"))["env"]) if path.exists() else {}
