"""`python -m training.check < SETTINGS.json`: prints why no student can be made of the settings; nothing if one can.

Whoever starts runs may ask here first, and hear of a misspelt key before there is a run. Imports neither torch nor ray.
"""

import json
import sys
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from training import space
from training.config import ALONE, Config, candidates, resolve


def refusal(settings: dict[str, Any]) -> str:
    """Why no student can be made of a job's settings; '' if one can."""
    try:
        several = candidates(settings) or {ALONE: settings}
    except ValidationError as error:
        return _said(error)
    except (ValueError, OSError) as error:  # a file that is not there, or holds no settings
        return str(error)
    refused = refusals(several)
    if len(refused) < len(several):
        return ""
    alike = set(refused.values())
    return alike.pop() if len(alike) == 1 else "; ".join(f"{name}: {why}" for name, why in refused.items())


def refusals(several: Mapping[str, dict[str, Any]]) -> dict[str, str]:
    """Which candidates' settings make no config, and why: a key laid over all may be for one kind alone."""
    refused = dict[str, str]()
    for name, settings in several.items():
        try:
            config = resolve(settings)
            refused |= {name: why} if (why := _unsearchable(config)) else {}
        except ValidationError as error:
            refused[name] = _said(error)
    return refused


def _unsearchable(config: Config) -> str:
    """What is wrong with a search's space: a setting that there is not, or a value that it can't have."""
    for path, values in space.flat(config.search.space if config.search else {}):
        for value in values if isinstance(values, list) else (values.low, values.high):
            try:
                space.chosen(config, {path: value})
            except ValidationError as error:
                return f"search.space.{_said(error)}"
            except (KeyError, TypeError):
                return f"search.space.{path}: there is no such setting"
    return ""


def _said(error: ValidationError) -> str:
    """Each key with what is wrong with it."""
    places = [(".".join(map(str, one["loc"])), one["msg"]) for one in error.errors()]
    return "; ".join(f"{key}: {message}" if key else message for key, message in places)


if __name__ == "__main__":
    print(refusal(json.load(sys.stdin)))  # noqa: T201 - this is its answer
