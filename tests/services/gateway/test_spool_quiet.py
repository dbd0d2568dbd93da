"""Whatever comes between calls, outages, rests and kills: every exchange reaches Kafka, and a rest leaves no text."""

import asyncio
import shutil
from collections import defaultdict
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from services.gateway import sources as sources_module
from services.gateway import spool as spool_module
from services.gateway import spool_drain
from services.gateway.spool import Fsync, Spool
from services.topics import SOURCES, decode
from tests.fakes.kafka import FakeBroker, FakeProducer
from tests.services.gateway.test_spool import exchange, files, until

MEBIBYTE = 1024 * 1024
steps = st.lists(st.sampled_from(["call", "calls", "rest", "away", "back", "kill", "stop"]), max_size=12)


def size_bytes(path: Path) -> int:
    """Of a file that may go at any moment."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


class Gateways:
    """One after the other on the same directory, and what each has promised."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory / "spool"
        self.broker = FakeBroker()
        self.promised: defaultdict[str, int] = defaultdict(int)
        self._spool = self._opened()

    def _opened(self) -> Spool:
        return Spool.open(self.directory, FakeProducer(self.broker), 64 * MEBIBYTE, Fsync.OFF)

    async def take(self, step: str) -> None:
        match step:
            case "call" | "calls":
                await self._answer(1 if step == "call" else 20)
            case "rest":
                await self._rest()
            case "away" | "back":
                self.broker.away = step == "away"
            case "kill" | "stop":
                await self._end(killed=step == "kill")
                self._spool = self._opened()

    async def _answer(self, count: int) -> None:
        await asyncio.gather(*(self._spool.append_exchange(exchange("x")) for _ in range(count)))
        self.promised[self._spool.source] += count

    async def _rest(self) -> None:
        if self.broker.away:
            await asyncio.sleep(0.02)  # Long enough to leave the file, were that allowed.
        else:
            await until(lambda: not any(map(size_bytes, files(self.directory))))

    async def _end(self, killed: bool) -> None:
        kept = self._as_signal_9_would_leave_it()  # What follows is undone.
        away, self.broker.away = self.broker.away, self.broker.away or killed
        await self._spool.close()
        self.broker.away = away
        if killed:
            shutil.rmtree(self.directory)
            kept.rename(self.directory)
        else:
            shutil.rmtree(kept)

    def _as_signal_9_would_leave_it(self) -> Path:
        """Notes last: a file that goes meanwhile has left its note before."""
        kept = self.directory.with_suffix(".kept")
        kept.mkdir()
        for path in [*files(self.directory), *self.directory.glob("*.source")]:
            with suppress(FileNotFoundError):
                shutil.copy(path, kept)
        return kept

    async def finish(self) -> None:
        self.broker.away = False
        await until(lambda: self._spool.waiting_bytes == 0)
        await until(lambda: self.promised.keys() <= {*self.ended(), self._spool.source})
        await self._spool.close()

    def arrived(self) -> dict[str, set[int]]:
        found: defaultdict[str, set[int]] = defaultdict(set)
        for record in self.broker.records("exchanges"):
            found[decode(record).source].add(decode(record).sequence)
        return found

    def ended(self) -> dict[str, int]:
        """The last sequence of each source that is told to have ended."""
        told = [decode(record) for record in self.broker.records(SOURCES.name)]
        return {state.source: state.last_sequence for state in told if state.ended}


@settings(max_examples=25, deadline=None)
@given(taken=steps)
@example(["calls", "rest", "kill"])
@example(["call", "rest", "calls", "away", "call", "kill"])
def test_no_sequence_is_missing_and_no_source_forgets_its_last_one(taken: list[str]) -> None:
    with TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patched:
        patched.setattr(spool_module, "KEEP_S", 0.005)
        patched.setattr(spool_module, "CLOSE_WITHIN_S", 0.05)
        patched.setattr(spool_drain, "SAY_GOODBYE_S", 0.05)
        patched.setattr(sources_module, "TELL_EVERY_S", 0.0)
        gateways = asyncio.run(_all(Path(directory), taken))
    expected = {source: set(range(1, count + 1)) for source, count in gateways.promised.items()}
    assert gateways.arrived() == expected
    assert {source: last for source, last in gateways.ended().items() if last} == dict(gateways.promised)


async def _all(directory: Path, taken: list[str]) -> Gateways:
    gateways = Gateways(directory)
    for step in taken:
        await gateways.take(step)
    await gateways.finish()
    return gateways
