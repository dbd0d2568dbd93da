"""An exchange from arrival to record: admitted, answered, written to the spool, and only then told to the caller."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import NamedTuple, Protocol

from protos import events_pb2 as events
from protos import inference_pb2 as inference
from services import telemetry
from services.gateway import ends, router, shedding
from services.gateway.alike import Alike, Found
from services.gateway.answering import Answering, NoAnswer, too_late
from services.gateway.asking import Backends
from services.gateway.counting import count
from services.gateway.listening import Clock, Listener, Told, in_words, stamp
from services.gateway.repeats import Repeats
from services.gateway.shadow import Shadows
from services.gateway.shedding import TooLate
from services.gateway.standing import Standings
from services.tasks import Task


class Ledger(Protocol):
    """Where exchanges are written: `spool.Spool`."""

    def admit(self) -> None:
        """Raise SpoolFull if no more can be written."""

    def append_exchange(self, exchange: events.Exchange) -> Awaitable[None]:
        """It is taken at once, and written whoever waits for it; to be awaited until it is on disk."""


class Arrival(NamedTuple):
    """A checked request: with its task, how it came, how long its caller waits, its exchange's id, and by which key he
    was let in."""

    request: inference.Request
    task: Task
    origin: str
    timeout_s: float
    exchange_id: str
    key_id: str = ""
    traceparent: str = ""
    bears_restart: bool = True
    """Whether its listener can take back what it heard. If not, it hears no student whom another may follow."""


class Exchanges:
    """Answers arrivals. Every exchange that a backend is asked for is written down once, however it ends."""

    def __init__(  # noqa: PLR0913
        self,
        backends: Backends,
        ledger: Ledger,
        promoted: Callable[[str], events.Promotion | None],
        repeats: Repeats,
        *,
        teacher_needs_s: float,
        stops: Callable[[], bool],
        shadows: Shadows | None = None,
        reserve: Callable[[events.Exchange, Task], Callable[[], None]] | None = None,
        trace: Callable[[events.Exchange, str], None] | None = None,
    ) -> None:
        """`stops` says whether the gateway itself now ends calls, rather than their callers.

        `shadows` compares what it answered; None compares nothing. `reserve` is told of each exchange that comes with a
        key, and what it returns is called once, as it ends; `trace` is told of every one, with its caller's
        `traceparent`.
        """
        self._backends = backends
        self._ledger = ledger
        self._promoted = promoted
        self._repeats = repeats
        self._teacher_needs_s = teacher_needs_s
        self._stops = stops
        self._standings = Standings(promoted)
        self._shadows = shadows
        self._reserve = reserve
        self._trace = trace
        self._alike = Alike()

    async def reply(self, arrival: Arrival, listener: Listener | None = None) -> inference.Reply:
        """The reply, once it is on disk. Raises BadInput, SpoolFull, TooLate, OverQuota, NotAllowed or NoAnswer.

        A repeated request_id has the first one's reply; the listener hears nothing of it.
        """
        clock = Clock(arrival.timeout_s)
        if not arrival.request.request_id:
            return await self._make(arrival, clock, listener)
        make = lambda: self._make(arrival, clock, listener)  # noqa: E731 - the arguments, once
        try:
            return await self._repeats.once(arrival.key_id, arrival.request, make, clock.left_s)
        except TimeoutError as error:
            raise too_late(clock, "the call that came first with this request_id has none") from error

    async def _make(self, arrival: Arrival, clock: Clock, listener: Listener | None) -> inference.Reply:
        self._ledger.admit()
        promotion = self._promoted(arrival.task.name)
        plan = self._plan(arrival, promotion, clock)
        exchange = events.Exchange(
            id=arrival.exchange_id,
            request=arrival.request,
            origin=arrival.origin,
            key_id=arrival.key_id,
            outcome=events.OUTCOME_FAILED,
            error="internal: the gateway is at fault, see its log",  # Stays if it is.
        )
        found = self._alike.find(exchange, arrival.task, promotion.id if promotion else "")
        charge = None
        if found.kept is None:
            self._check_time(arrival, plan, clock)
            charge = self._reserve(exchange, arrival.task) if self._reserve and exchange.key_id else None
        stamp(exchange.started_at)
        try:
            await self._answer(exchange, arrival.task, plan, found, Told(clock, listener))
        finally:  # Also a call that was cancelled is written down.
            exchange.end = ends.of_exchange(exchange)
            stamp(exchange.finished_at)
            try:
                written = self._ledger.append_exchange(exchange)
            finally:
                self._tell(exchange, arrival.traceparent, charge)
            await written
        if self._shadows is not None:
            self._shadows.begin(exchange, arrival.task, promotion)
        return exchange.reply

    def _tell(self, exchange: events.Exchange, traceparent: str, charge: Callable[[], None] | None) -> None:
        """Those who want to know of each exchange. Whatever they raise, it is written down and its caller answered."""
        try:
            try:
                count(exchange)
            finally:
                try:
                    if charge:
                        charge()
                finally:
                    if self._trace:
                        self._trace(exchange, traceparent)
        except Exception:  # noqa: BLE001
            telemetry.log.exception("an exchange is written, but not counted, charged or traced", exchange=exchange.id)

    def _plan(self, arrival: Arrival, promotion: events.Promotion | None, clock: Clock) -> router.Plan:
        """Who is asked."""
        budget = router.Budget(clock.usable_s, self._teacher_needs_s)
        plan = router.plan(arrival.task, promotion, arrival.request, arrival.exchange_id, budget)
        return plan if arrival.bears_restart else router.without_restart(plan)

    def _check_time(self, arrival: Arrival, plan: router.Plan, clock: Clock) -> None:
        """Raise TooLate where nobody who would be asked is likely to answer in time."""
        request = arrival.request
        least_s = self._standings.least_s(arrival.task, plan, request.priority)
        if least_s > clock.usable_s:
            part, took_s = 1 - shedding.chance(request.priority), least_s + clock.timeout_s - clock.usable_s
            raise TooLate(
                f"{in_words(clock.timeout_s)} are left, and {part:.0%} of the answers take more than {in_words(took_s)}"
                " until they are written down: allow more time, or try again later"
            )

    async def _answer(self, exchange: events.Exchange, task: Task, plan: router.Plan, found: Found, told: Told) -> None:
        clock = told.clock
        try:
            backends, standings = self._backends, self._standings
            answering = Answering(exchange, task, plan, backends=backends, clock=clock, told=told, standings=standings)
            exchange.reply.CopyFrom(await self._alike.reply(exchange, task, found, told, answering.reply))
            exchange.outcome, exchange.error = events.OUTCOME_ANSWERED, ""
        except NoAnswer as failure:
            exchange.outcome, exchange.error = failure.outcome, str(failure)
            raise
        except asyncio.CancelledError:
            exchange.outcome, exchange.error = self._cut_short(clock)
            raise

    def _cut_short(self, clock: Clock) -> tuple[events.Outcome, str]:
        if clock.is_up():  # gRPC cancels a call, too, when its deadline has passed.
            return events.OUTCOME_DEADLINE_EXCEEDED, "the deadline passed"
        if self._stops():
            return events.OUTCOME_FAILED, "the gateway was stopped"
        return events.OUTCOME_CANCELLED, "the caller went away"
