"""What a search may try: settings with their choices or ranges, flat, and a config with some of them chosen; pure."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from xxhash import xxh3_64_hexdigest

from training.config import Config, Range

Settings = dict[str, Any]
"""A choice for each setting, by its path in the config: {"lora.rank": 8}."""


def flat(space: Mapping[str, Any], outer: str = "") -> Iterator[tuple[str, list[Any] | Range]]:
    """Every setting's path with its choices, or its range."""
    for name, value in space.items():
        if isinstance(value, Mapping) and not {"low", "high"} <= value.keys():
            yield from flat(value, f"{outer}{name}.")
        else:
            yield (
                f"{outer}{name}",
                Range.model_validate(value) if isinstance(value, Mapping) else [*map(_number, value)],
            )


def _number(choice: Any) -> Any:
    """YAML takes 1e-3 for a text."""
    try:
        return float(choice) if isinstance(choice, str) else choice
    except ValueError:
        return choice


def chosen(config: Config, settings: Mapping[str, Any]) -> Config:
    """The config with the settings in their places. Raises ValueError (pydantic's) on one that there is not."""
    raw = config.model_dump()
    for path, value in settings.items():
        *outer, name = path.split(".")
        section = raw
        for step in outer:
            section = section[step]
        section[name] = value
    return Config.model_validate({**raw, "search": None})  # a trial searches for nothing itself


def beside(config: Config, at_once: int, cores: int) -> Config:
    """A trial's config where `at_once` of them may share the cores, unless it says itself how many threads it takes."""
    return config.model_copy(update={"threads": config.threads or max(1, cores // at_once)})


def name(settings: Mapping[str, Any]) -> str:
    """A trial's directory: the same settings are the same trial, also when the search is begun again."""
    return xxh3_64_hexdigest(json.dumps(settings, sort_keys=True).encode())
