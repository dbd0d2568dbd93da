"""What stands in all prompts of a task, and prompts without it; pure. Imports nothing of ours.

The student in Triton leaves out with this code what training has left out, so it reads in serving what it learned from.

The rule is found in the prompts themselves: how nearly all of them begin, how nearly all of them end, and the lines
between that stand in nearly all. What all have in common tells no request from another. A prompt that lacks a part of
it is of another make, and is not for this student.
"""

import math
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from pydantic import BaseModel, ConfigDict

NEARLY_ALL: Final = 0.99
"""Of the prompts, for each part; what has all parts may be as few as the square of it."""
LEAST_PROMPTS: Final = 50
"""With fewer, what they share may be chance."""
LEAST_CHARACTERS: Final = 20
"""Of a beginning, of a line, and of a whole rule: less is not worth its risk."""


class Rule(BaseModel):
    """What is left out: a beginning, an end, and whole lines between them, each once."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    head: str = ""
    lines: tuple[str, ...] = ()
    tail: str = ""

    @property
    def characters(self) -> int:
        """How many it leaves out."""
        return len(self.head) + sum(map(len, self.lines)) + len(self.tail)


def rule(prompts: Sequence[str]) -> Rule | None:
    """What nearly all prompts have in common; None if that is too little, or all there is."""
    if len(prompts) < LEAST_PROMPTS:
        return None
    ends = _ends(prompts)
    bodies = [body for body in (_between(prompt, ends) for prompt in prompts) if body is not None]
    whole = ends.model_copy(update={"lines": _lines(bodies)})
    return next((found for found in (whole, ends) if _worth(found, prompts)), None)


def pruned(prompt: str, rule: Rule) -> str | None:
    """The prompt without what the rule names, and with a line feed at its end. Where lines were there is an empty one.

    None if it lacks a part of that, or holds nothing else.
    """
    body = _between(prompt, rule)
    if body is None:
        return None
    lines: list[str | None] = [*body.split("\n")]
    for line in rule.lines:
        if line not in lines:
            return None
        lines[lines.index(line)] = None
    left = [line or "" for before, line in pairwise(["", *lines]) if before is not None or line is not None]
    return "\n".join(left) + "\n" if any(left) else None


def _ends(prompts: Sequence[str]) -> Rule:
    """A beginning up to a space, so that no word is cut in two, and whole lines at the end."""
    head = _to_the_last(" \n", _beginning(prompts))
    head = head if len(head) >= LEAST_CHARACTERS else ""
    rests = [text.removeprefix(head)[::-1] for text in prompts if text.startswith(head)]
    tail = _to_the_last("\n", _beginning(rests))[::-1]
    return Rule(head=head, tail=tail if tail.strip() else "")


def _between(prompt: str, ends: Rule) -> str | None:
    """What stands between the ends, without outer space; None if it lacks one of them."""
    rest = prompt.removeprefix(ends.head)
    whole = prompt.startswith(ends.head) and rest.endswith(ends.tail)
    return rest.removesuffix(ends.tail).strip() if whole else None


def _worth(found: Rule, prompts: Sequence[str]) -> bool:
    """Whether it leaves out enough, and leaves something of nearly all prompts."""
    left = sum(pruned(prompt, found) is not None for prompt in prompts)
    return found.characters >= LEAST_CHARACTERS and left >= NEARLY_ALL * NEARLY_ALL * len(prompts)


def _beginning(texts: Sequence[str]) -> str:
    """The longest text that nearly all begin with: of a sorted list these stand side by side."""
    order = sorted(texts)
    many = math.ceil(NEARLY_ALL * len(order))
    pairs = zip(order, order[many - 1 :], strict=False)
    return max((_shared(first, last) for first, last in pairs), key=len)


def _shared(first: str, last: str) -> str:
    length = next((n for n, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))
    return first[:length]


def _to_the_last(ends: str, text: str) -> str:
    return text[: max(map(text.rfind, ends)) + 1]


def _lines(bodies: Sequence[str]) -> tuple[str, ...]:
    """Long lines that stand in nearly all of them, in the order in which they come up."""
    counts = Counter(line for body in bodies for line in dict.fromkeys(body.split("\n")))
    least = NEARLY_ALL * len(bodies)
    return tuple(line for line, count in counts.items() if count >= least and len(line.strip()) >= LEAST_CHARACTERS)
