"""Which environment variables a program of ours reads: the fields of the settings that its module uses."""

import importlib
from importlib.util import find_spec
from types import ModuleType

from pydantic_settings import BaseSettings


def program(module: str) -> ModuleType:
    """What `python -m module` runs, imported."""
    package = find_spec(module)
    assert package is not None, f"there is no module {module}"
    return importlib.import_module(f"{module}.__main__" if package.submodule_search_locations else module)


def variables(module: str) -> set[str]:
    """The names of the variables, in upper case."""
    used = [
        value for value in vars(program(module)).values() if isinstance(value, type) and issubclass(value, BaseSettings)
    ]
    assert used, f"{module} reads no settings"
    return {name.upper() for settings in used for name in settings.model_fields}


def module_of(command: list[str]) -> str:
    """The module of a container's arguments: the image runs `python -m` with them."""
    return command[0]
