"""What stands in all prompts of a task, and prompts without it; pure. Imports nothing of ours.

The student in Triton leaves out with this code what training has left out, so it reads in serving what it learned from.

The rule is found in the prompts themselves: how nearly all of them begin, how nearly all of them end, and the lines
between that stand in nearly all. What all have in common tells no request from another. A prompt that lacks a part of
it is of another make, and is not for this student.
"""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Final

from pydantic import BaseModel, ConfigDict

NEARLY_ALL: Final = 0.99
LEAST_PROMPTS: Final = 50
"""With fewer, what they share may be chance."""
LEAST_CHARACTERS: Final = 20
"""Of a line, and of a whole rule: less is not worth its risk."""


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
    head = _to_a_space(_beginning(prompts))
    rests = [text.removeprefix(head) for text in prompts]
    tail = _to_a_space(_beginning([rest[::-1] for rest in rests]))[::-1]
    bodies = [rest.removesuffix(tail) for rest in rests]
    found = Rule(head=head if head.strip() else "", lines=_lines(bodies), tail=tail if tail.strip() else "")
    left = [text for text in (pruned(prompt, found) for prompt in prompts) if text is not None]
    worth = found.characters >= LEAST_CHARACTERS and len(left) >= NEARLY_ALL * NEARLY_ALL * len(prompts)
    return found if worth and all(text.strip() for text in left) else None


def pruned(prompt: str, rule: Rule) -> str | None:
    """The prompt without what the rule names, and with a line feed at its end; None if it lacks a part of that."""
    if not prompt.startswith(rule.head) or not prompt.removeprefix(rule.head).endswith(rule.tail):
        return None
    lines = prompt.removeprefix(rule.head).removesuffix(rule.tail).split("\n")
    for line in rule.lines:
        if line not in lines:
            return None
        lines.remove(line)
    return "\n".join(lines).strip() + "\n"


def _beginning(texts: Sequence[str]) -> str:
    """The longest text that nearly all begin with: of a sorted list these stand side by side."""
    order = sorted(texts)
    many = math.ceil(NEARLY_ALL * len(order))
    pairs = zip(order, order[many - 1 :], strict=False)
    return max((_shared(first, last) for first, last in pairs), key=len)


def _shared(first: str, last: str) -> str:
    length = next((n for n, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))
    return first[:length]


def _to_a_space(text: str) -> str:
    """Up to its last space, so that no word is cut in two."""
    return text[: max((place + 1 for place, character in enumerate(text) if character.isspace()), default=0)]


def _lines(bodies: Sequence[str]) -> tuple[str, ...]:
    """Long lines that stand in nearly all of them, in the order of the first that has them all."""
    counts = Counter(line for body in bodies for line in dict.fromkeys(body.split("\n")))
    least = NEARLY_ALL * len(bodies)
    return tuple(line for line, count in counts.items() if count >= least and len(line.strip()) >= LEAST_CHARACTERS)
