"""The most that calls under way may take of what their key may use, kept free until they have ended. Pure."""

from decimal import Decimal
from typing import Final, NamedTuple

from protos import inference_pb2 as inference
from services.gateway import estimates
from services.tasks import Task


class Amount(NamedTuple):
    """Tokens and dollars."""

    tokens: int = 0
    usd: Decimal = Decimal(0)


NOTHING: Final = Amount()


def most(task: Task, request: inference.Request) -> Amount:
    """What a call may take: the whole of the answer that it may have, at the prices of both backends together.

    Of dollars no more can be had: each byte that is sent counts as a token. Tokens are those of a minute, so the usual
    four bytes do: else a few long questions would keep a minute free that they hardly use.
    """
    used = estimates.most(task, request)
    students = inference.Usage(prompt_tokens=used.prompt_tokens, completion_tokens=task.student.max_tokens)
    usd = task.teacher.prices.cost(used) + task.student.prices.cost(students)
    read = estimates.usage(task, request, inference.BACKEND_TEACHER, "", 0).prompt_tokens
    return Amount(read + estimates.written_most(task, request), usd)


class Reserve:
    """What is kept free of one key."""

    __slots__ = ("tokens", "usd")

    def __init__(self) -> None:
        self.tokens = 0
        self.usd = Decimal(0)

    def keep(self, amount: Amount) -> None:
        """A call begins."""
        self.tokens += amount.tokens
        self.usd += amount.usd

    def free(self, amount: Amount) -> None:
        """It has ended."""
        self.tokens -= amount.tokens
        self.usd -= amount.usd
