"""How calls ended: who answered, and the errors by their kind, with an example of each."""

import re
from collections import Counter
from collections.abc import Iterator
from typing import Final

from protos import inference_pb2 as inference
from services.client import Answer
from services.topics import name

SHOWN: Final = 300


class Ends:
    """Counts how calls ended."""

    def __init__(self) -> None:
        self._answered = Counter[str]()
        self._failed = Counter[str]()
        self._examples: dict[str, str] = {}

    @property
    def answered(self) -> int:
        """How many calls got a reply."""
        return self._answered.total()

    def add(self, answer: Answer) -> None:
        """One more call has come to its end."""
        if answer.reply:
            self._answered[name(inference.Backend, answer.reply.answered_by).removeprefix("BACKEND_").lower()] += 1
        else:
            failed = kind(answer.status, SHOWN)
            self._failed[failed] += 1
            self._examples.setdefault(failed, answer.status)

    def lines(self) -> Iterator[str]:
        """Who answered how many, then each kind of error; under it the first, where that says more."""
        for ended, count in [*self._answered.most_common(), *self._failed.most_common()]:
            yield f"{count:>8}  {ended}"
            if (example := self._examples.get(ended, ended)) != ended:
                yield f"{'':>8}  for example: {example}"


def kind(reason: str, longest: int = 100) -> str:
    """A reason without its particulars, cut: those of one kind are counted together."""
    plain = re.sub(r"'[^']*'|\"[^\"]*\"", "'...'", reason)
    return re.sub(r"\d+(\.\d+)?", "N", plain)[:longest]
