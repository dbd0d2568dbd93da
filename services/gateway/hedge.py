"""The second backend, asked while the first is still at it: the first good answer wins, and the other one is ended."""

import asyncio
import time
from collections.abc import Callable

from services import telemetry
from services.gateway import router
from services.gateway.asking import Asking, Call
from services.gateway.breaker import State
from services.gateway.standing import NAMES, USUAL

Begin = Callable[[router.Step], Asking]


class Hedge:
    """One call's; it hedges once. Nothing is set up for a task without `hedging`."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._second: Asking | None = None
        self._running: asyncio.Task[None] | None = None
        self._spent = False

    @property
    def runs(self) -> bool:
        """Whether a second one has been asked whose answer nobody has looked at."""
        return self._running is not None

    async def beside(self, first: Asking, steps: list[router.Step], begin: Begin) -> None:
        """Run `first`; if it is slow, take the next of `steps` that can be asked, and begin it, too."""
        timer = self._timer(first, steps, begin)
        try:
            await first.run()
        finally:
            if timer is not None:
                timer.cancel()

    async def ended(self) -> Asking:
        """The second one, at its end."""
        running, second = self._running, self._second
        assert running is not None and second is not None  # noqa: PT018, S101 - `runs` was asked
        self._running = None
        await running
        return second

    async def drop(self, winner: Asking) -> list[Asking]:
        """The second one's answer is not needed any more; returns the second one if it lost by that."""
        if self._second is None:
            return []
        telemetry.HEDGES.labels(self._call.task.name, NAMES[winner.step.backend]).inc()
        if self._running is None:
            return []
        why = _quicker(winner)
        self._second.give_way(why)
        second = await self.ended()
        second.supersede(why)
        return [second]

    async def cancel(self) -> None:
        """End it if it runs: the call itself has ended."""
        if self._running is not None:
            running, self._running = self._running, None
            running.cancel()
            await asyncio.wait([running])

    def _timer(self, first: Asking, steps: list[router.Step], begin: Begin) -> asyncio.TimerHandle | None:
        call, now_s = self._call, time.monotonic()
        if self._spent or call.told.has_heard:
            return None
        self._spent = True
        call.standings.hedges(call.task).called(now_s)
        after_s = self._after_s(first, now_s) if steps else None
        if after_s is None:
            return None
        return asyncio.get_running_loop().call_later(after_s, self._begin, first, steps, begin)

    def _after_s(self, first: Asking, now_s: float) -> float | None:
        """None as long as it is neither set nor learned."""
        hedging, standing = self._call.task.hedging, self._call.standing(first.step)
        if hedging is not None and hedging.after_ms is not None:
            return hedging.after_ms / 1000
        streams = first.step.streams and self._call.told.listens
        return (standing.firsts if streams else standing.answers).quantile(USUAL, now_s)

    def _begin(self, first: Asking, steps: list[router.Step], begin: Begin) -> None:
        call, step = self._call, self._call.who_could(steps)
        if first.has_spoken or step is None or call.standing(step).breaker.state is not State.CLOSED:
            return
        hedging = call.task.hedging
        if hedging is None or not call.standings.hedges(call.task).take(hedging.most, time.monotonic()):
            return
        steps.remove(step)
        second = self._second = begin(step)
        second.attempt.hedge = True
        first.spoke = lambda: _give_way(second, first)
        second.spoke = lambda: _give_way(first, second)
        self._running = asyncio.get_running_loop().create_task(self._run(first, second))

    async def _run(self, first: Asking, second: Asking) -> None:
        await second.run()
        if second.verdict.kept:
            _give_way(first, second)


def _give_way(loser: Asking, winner: Asking) -> None:
    loser.give_way(_quicker(winner))


def _quicker(winner: Asking) -> str:
    return f"the {NAMES[winner.step.backend]} was quicker"
