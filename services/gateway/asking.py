"""One backend asked once, for one attempt of an exchange: bounded in time, its text passed on, its end written down."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from math import inf
from typing import Any, Final

from protos import events_pb2 as events
from protos import inference_pb2 as inference
from services import telemetry
from services.gateway import ends, estimates, router
from services.gateway.backends import Ask, Backend, BackendFailed, FailureKind
from services.gateway.breaker import State
from services.gateway.listening import Clock, Told, in_words
from services.gateway.standing import NAMES, Standing, Standings, patience_s, said_of, tell
from services.tasks import Task

CANCELLED: Final = "cancelled: the call ended before its answer"
"""Of an attempt until it has come to another end. It may never run: a hedge waits for its turn of the loop."""
UNHEARD: Final = router.Verdict(False, "it has not ended")
Backends = Mapping[inference.Backend, Backend]


@dataclass(slots=True)
class Call:
    """What all that are asked for one exchange share."""

    exchange: events.Exchange
    task: Task
    plan: router.Plan
    backends: Backends
    clock: Clock
    told: Told
    standings: Standings

    def standing(self, step: router.Step) -> Standing:
        """The step's backend's."""
        return self.standings.of(self.task, step.backend, self.plan.student_version)

    def who_could(self, steps: Iterable[router.Step]) -> router.Step | None:
        """The first of them whose backend could be asked now; None if there is none."""
        now_s, elapsed_s = time.monotonic(), self.clock.elapsed_s()
        able = (step for step in steps if elapsed_s < step.until_s and not self.standing(step).breaker.why_not(now_s))
        return next(able, None)


class Asking:
    """Fills its attempt. After `run`, `verdict` says whether the answer is kept and, as its `refusal`, why not.

    It ends by itself, or is made to: by its step's time, by a stall where another backend can take over, or because
    another one that was asked beside it was quicker (`give_way`).
    """

    __slots__ = (
        "_began_s",
        "_behind",
        "_call",
        "_ended_s",
        "_era",
        "_estimated",
        "_heard_s",
        "_is_stall",
        "_limit",
        "_longest_gap_s",
        "_pieces",
        "_stall",
        "_standing",
        "_watch",
        "_way",
        "attempt",
        "failure",
        "partial",
        "retry_after_s",
        "spoke",
        "step",
        "verdict",
    )

    def __init__(
        self, call: Call, step: router.Step, attempt: events.Attempt, behind: Sequence[router.Step], partial: str = ""
    ) -> None:
        """`behind`: who is left, to take over where it stalls. `partial`: the text to go on from."""
        self.step = step
        self.attempt = attempt
        self.partial = partial
        self.spoke: Callable[[], None] | None = None
        """Called at the first piece of its text."""
        self.failure: FailureKind | None = None
        self.retry_after_s: float | None = None
        self.verdict = UNHEARD
        self._call = call
        self._behind = behind
        self._standing = call.standing(step)
        self._limit: asyncio.Timeout | None = None
        self._watch: asyncio.TimerHandle | None = None
        self._pieces = self._era = 0
        self._began_s = self._heard_s = self._longest_gap_s = 0.0
        self._way = self._stall = ""
        self._ended_s = 0.0  # While it has not.
        self._estimated = self._is_stall = False

    async def run(self) -> None:
        """Ask, and return when it has ended, however it did. Raises CancelledError if the whole call was."""
        call, attempt, breaker = self._call, self.attempt, self._standing.breaker
        self._began_s = self._heard_s = time.monotonic()
        elapsed_s = call.clock.elapsed_s()
        budget_s = self._until_s() - elapsed_s
        if self.step.backend == inference.BACKEND_STUDENT:
            attempt.student_version = call.plan.student_version
        self._era = breaker.asked(self._began_s)
        tries = breaker.state is State.HALF_OPEN
        try:
            async with asyncio.timeout(0 if self._way else budget_s) as self._limit:
                attempt.MergeFrom(await self._answer(self.step.until_s - elapsed_s))
            attempt.refusal, attempt.end = "", inference.END_UNSPECIFIED
            self._answered()
            self._judge()
        except TimeoutError:
            self._cut_short()
        except BackendFailed as failure:
            self._failed(failure.kind, str(failure), failure.retry_after_s)
        except Exception as fault:  # noqa: BLE001 - whatever it is, another backend may do better
            self._broke(fault)
        finally:
            self._limit, self._ended_s = None, self._ended_s or time.monotonic()
            if self._watch is not None:
                self._watch.cancel()
            if tries:
                breaker.dropped(self._era, self._ended_s)  # If nothing else was told.
                tell(call.task, self.step.backend, self._standing)
            attempt.latency_us = round((self._ended_s - self._began_s) * 1e6)
            if not estimates.is_told(attempt.usage):
                self._estimate()
            attempt.cost_usd = f"{self._cost():f}"
        if attempt.refusal:
            self.verdict = router.Verdict(False, attempt.refusal)

    def _until_s(self) -> float:
        """When it must have begun at the latest; nobody is hurried for the sake of one who can't be asked."""
        step = self.step
        hurried = step.first_by_s < step.until_s and self._call.who_could(self._behind) is not None
        return step.first_by_s if hurried else step.until_s

    def give_way(self, why: str) -> bool:
        """End now, since another one has been quicker. Returns whether that is what ends it."""
        if self._ended_s or self._way:
            return False
        self._way = why
        self._expire()
        return True

    @property
    def gave_way(self) -> bool:
        """Whether another one was quicker."""
        return bool(self._way)

    @property
    def has_spoken(self) -> bool:
        """Whether any of its text was heard."""
        return self._pieces > 0

    def supersede(self, why: str) -> None:
        """Its answer is not needed."""
        self.attempt.refusal, self.attempt.end = f"replaced: {why}", inference.END_REPLACED

    def recount(self, prompt_tokens: int) -> None:
        """Another one has counted what both have read."""
        if self._estimated:
            self.attempt.usage.prompt_tokens = prompt_tokens
            self.attempt.cost_usd = f"{self._cost():f}"

    def _answer(self, budget_s: float) -> Coroutine[Any, Any, events.Attempt]:
        """What the backend says, to be awaited."""
        call, on_text = self._call, None
        if self.step.streams and call.told.listens:
            on_text = self._on_text
            if self._behind:
                self._watch_for(self._standing.first_stall_s(self._bound_s(), self._began_s))
        if self.partial:
            self.attempt.resumed_characters = len(self.partial)
        request, version = call.exchange.request, call.plan.student_version
        ask = Ask(call.task, request, call.exchange.id, version, budget_s, self.partial, self._is_slow)
        return call.backends[self.step.backend].answer(ask, on_text)

    def _is_slow(self) -> bool:
        """Of one that is cut short: whether by its own fault. Who is cut as its caller hurries is not to blame."""
        if self._way or self._limit is None or not self._limit.expired():
            return False
        limit_s = self._call.task.student.timeout_s if self.step.backend == inference.BACKEND_STUDENT else inf
        now_s = time.monotonic()
        return self._is_stall or self._standing.is_fair(now_s - self._began_s, limit_s, now_s)

    def _on_text(self, piece: str) -> None:
        if self._way or self._ended_s:
            return
        now_s = time.monotonic()
        took_s, self._heard_s = now_s - self._heard_s, now_s
        self._pieces += 1
        if self._pieces == 1:
            self._begun(took_s, now_s)
        elif took_s > self._longest_gap_s:
            self._longest_gap_s = took_s
        self._call.told.text(piece)

    def _begun(self, took_s: float, now_s: float) -> None:
        self.attempt.first_text_us = round(took_s * 1e6)
        self._standing.firsts.note(took_s, now_s)
        if self._standing.breaker.state is State.HALF_OPEN:  # The trial need not speak to its end.
            self._standing.breaker.spoke(self._era)
            tell(self._call.task, self.step.backend, self._standing)
        if self.spoke is not None:
            self.spoke()
        if self.step.first_by_s < self.step.until_s and self._limit is not None and not self._limit.expired():
            left_s = self.step.until_s - self._call.clock.elapsed_s()
            self._limit.reschedule(asyncio.get_running_loop().time() + left_s)
        if self._watch is not None:
            self._watch.cancel()
            self._watch_for(self._standing.gap_stall_s(self._bound_s(), now_s))

    def _bound_s(self) -> float | None:
        return said_of(self._call.task, self.step.backend).stall_s

    def _watch_for(self, stall_s: float) -> None:
        """End it when nothing has been heard for that long, or for what its caller's deadline allows, and somebody can
        take over. A timer is set once a stall."""

        def look() -> None:
            if self._limit is None or self._limit.expired():
                return
            quiet_s, bound_s = time.monotonic() - self._heard_s, self._patience_s(stall_s)
            late = quiet_s >= 0.99 * bound_s  # A timer may ring early.
            if not late or self._call.who_could(self._behind) is None:
                self._watch = loop.call_later(bound_s if late else bound_s - quiet_s, look)
                return
            self._stall = f"stall: nothing for {self._quiet()}"
            self._is_stall = quiet_s >= 0.99 * stall_s
            self._expire()

        loop = asyncio.get_running_loop()
        self._watch = loop.call_later(self._patience_s(stall_s), look)

    def _patience_s(self, stall_s: float) -> float:
        """How long it may be silent. Before its first piece `run` keeps the time of who stands behind."""
        step, call = self.step, self._call
        if not self._pieces or step.first_by_s >= step.until_s:
            return stall_s
        left_s = step.until_s - call.clock.elapsed_s() + time.monotonic() - self._heard_s
        return patience_s(stall_s, left_s, router.behind_s(call.task, left_s), self._longest_gap_s)

    def _quiet(self) -> str:
        return f"{time.monotonic() - self._heard_s:.2f} s after {self._pieces} pieces"

    def _expire(self) -> None:
        if self._limit is not None and not self._limit.expired():
            self._limit.reschedule(0)

    def _answered(self) -> None:
        self._ended_s = now_s = time.monotonic()
        self._standing.answers.note(now_s - self._began_s, now_s)
        if self._longest_gap_s:
            self._standing.gaps.note(self._longest_gap_s, now_s)
        self._standing.breaker.succeeded(self._era, now_s)

    def _cut_short(self) -> None:
        if self._way:
            self.supersede(self._way)
            return
        self._failed(FailureKind.TIMEOUT, self._stall or self._timeout(), fair=self._is_slow())

    def _timeout(self) -> str:
        waited = in_words(time.monotonic() - self._began_s)
        if not self.has_spoken:
            return f"timeout: no answer within {waited}"
        return f"timeout: no whole answer within {waited}, nothing for the last {self._quiet()}"

    def _failed(self, kind: FailureKind, why: str, retry_after_s: float | None = None, *, fair: bool = True) -> None:
        self.failure, self.retry_after_s = kind, retry_after_s
        self.attempt.refusal, self.attempt.end = why, inference.END_FAILED
        if kind is not FailureKind.REFUSED and fair:
            self._standing.breaker.failed(self._era, time.monotonic(), retry_after_s)
            tell(self._call.task, self.step.backend, self._standing, kind)
        if self.has_spoken:  # What its caller has heard of it, so that what comes next can be told from it.
            self.attempt.message.role, self.attempt.message.content = inference.ROLE_ASSISTANT, self._call.told.heard

    def _broke(self, fault: Exception) -> None:
        """By a fault of our own, or by an answer that nobody had thought of. What it says may hold anything."""
        name = NAMES[self.step.backend]
        telemetry.log.error("a backend's part of a call failed by a fault", backend=name, exc_info=fault)
        self._failed(FailureKind.UNAVAILABLE, f"internal: {type(fault).__name__}, the gateway's log says more")

    def _estimate(self) -> None:
        """Nobody has told its usage. Who failed without a word has none; who was cut short was at work."""
        call, attempt = self._call, self.attempt
        answered = attempt.HasField("message")
        cut_short = self._way or attempt.end == inference.END_CANCELLED or self.failure is FailureKind.TIMEOUT
        if answered or cut_short or self._pieces:
            heard = call.told.heard if self._pieces else ""
            text = (estimates.written(attempt) if answered else heard).removeprefix(self.partial)
            usage = estimates.usage(call.task, call.exchange.request, attempt.backend, text, self._pieces)
            attempt.usage.CopyFrom(usage)
            self._estimated = True

    def _cost(self) -> Decimal:
        return said_of(self._call.task, self.step.backend).prices.cost(self.attempt.usage)

    def _judge(self) -> None:
        """Whether the answer is kept."""
        if self._way:  # It has answered all the same, and its caller hears the other one already.
            self.supersede(self._way)
            return
        call = self._call
        self.verdict = router.keep(call.task, call.plan.policy, call.exchange.request, self.attempt)
        if self.verdict.kept:
            self.attempt.end = ends.of_answer(self.attempt.finish)
        else:
            self.attempt.refusal, self.attempt.end = self.verdict.why, inference.END_REPLACED
