"""`python -m training.check < SETTINGS.json`: prints why no student can be made of the settings; nothing if one can.

Whoever starts runs may ask here first, and hear of a misspelt key before there is a run. Imports neither torch nor ray.
"""

import json
import sys
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from training import space
from training.config import ALONE, Config, Dpo, Lora, Search, candidates, resolve

KEYS: Final = [key for part in (Config, Lora, Dpo, Search) for key in part.model_fields]


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
    places = [(".".join(map(str, one["loc"])), _why(one)) for one in error.errors()]
    return "; ".join(f"{key}: {message}" if key else message for key, message in places)


def _why(one: ErrorDetails) -> str:
    """Of a key that there is not, what may have been meant."""
    if one["type"] != "extra_forbidden":
        return one["msg"]
    near = get_close_matches(str(one["loc"][-1]), KEYS, n=1)
    return f"there is no such setting{f'; {near[0]}?' if near else ''} (training/config.py has all of them)"


if __name__ == "__main__":
    print(refusal(json.load(sys.stdin)))  # noqa: T201 - this is its answer
