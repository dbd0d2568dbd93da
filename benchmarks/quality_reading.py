"""What an untuned base is told in benchmarks.student_quality, and how its words are read: leniently; pure."""

import json
from collections.abc import Sequence

from benchmarks.quality_task import Example, Task

Messages = list[dict[str, str]]


def messages(task: Task, shown: Sequence[Example], one: Example) -> Messages:
    """What it is told, what it is shown, what it is asked."""
    turns = [
        turn
        for other in shown
        for turn in ({"role": "user", "content": _asks(other)}, {"role": "assistant", "content": other.answer})
    ]
    return [{"role": "system", "content": task.instruction}, *turns, {"role": "user", "content": _asks(one)}]


def _asks(one: Example) -> str:
    return f"{one.context}\n{one.text}".strip()


def first_object(said: str) -> str:
    """The first JSON object in a text; the text where there is none."""
    for place in (place for place, letter in enumerate(said) if letter == "{"):
        try:
            _, end = json.JSONDecoder().raw_decode(said, place)
        except ValueError:
            continue
        return said[place:end]
    return said


def first_label(labels: Sequence[str], said: str) -> str:
    """The label that comes first in a text, of those the longest, whatever its case; the text where there is none."""
    places = {label: said.casefold().find(label.casefold()) for label in labels}
    found = [label for label in labels if places[label] >= 0]
    return min(found, key=lambda label: (places[label], -len(label)), default=said)
