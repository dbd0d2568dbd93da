"""What every drill gets: a fresh world, load on it, and the equality in the terminal's summary."""

import random
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Protocol

import pytest

from tests.drills import audit
from tests.drills.ledger import Equality
from tests.drills.table import row, table
from tests.drills.world import World, world

ROW, LINE = "a row of the drills' table", "a line below it"  # properties of a test, as they come from any process

Say = Callable[[str], None]
"""Puts a line into the terminal's summary."""


class Holds(Protocol):
    """Asserts the equality of a world, prints it, and returns it."""

    def __call__(self, world: World, by_kafka: Collection[str] = (), *, all_answered: bool = False) -> Equality: ...


class Fails(Protocol):
    """Asserts that a wrong build has lost or doubled what a sound one keeps: the audit says so, and so do the ids.

    `more_than`: what had been found before.
    """

    def __call__(self, world: World, *, twice: bool = False, more_than: int = 0) -> Equality: ...


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    ended = [*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")]
    said = [pair for report in ended if report.when == "call" for pair in report.user_properties]
    rows, lines = ([value for name, value in said if name == wanted] for wanted in (ROW, LINE))
    if rows or lines:
        terminalreporter.section("drills: answered = on Kafka = distinct in ClickHouse")
        for line in (*table(rows), *lines):
            terminalreporter.write_line(line)


@pytest.fixture
def dice(request: pytest.FixtureRequest) -> random.Random:
    """Random moments; the seed is shown if the drill fails."""
    seed = time.time_ns()
    request.node.add_report_section("setup", "dice", f"seed {seed}")
    return random.Random(seed)


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[World]:
    """A broker and ClickHouse, and no service yet."""
    with world(tmp_path) as made:
        yield made


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[World]:
    """The same with three brokers."""
    with world(tmp_path, brokers=3) as made:
        yield made


@pytest.fixture(scope="session")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Those that the wrong builds share: they are many, and each is soon found out."""
    with world(tmp_path_factory.mktemp("engines")) as made:
        yield made


@pytest.fixture
def shared(engines: World) -> World:
    """As `fresh`, but on engines that have been in use."""
    engines.renew()
    return engines


@pytest.fixture
def say(request: pytest.FixtureRequest) -> Say:
    """A line for the summary."""
    return lambda line: request.node.user_properties.append((LINE, f"{request.node.name}: {line}"))


@pytest.fixture
def holds(request: pytest.FixtureRequest) -> Holds:
    """The equality of this drill."""

    def look(world: World, by_kafka: Collection[str] = (), *, all_answered: bool = False) -> Equality:
        found = audit.equality(world, request.node.name, by_kafka)
        request.node.user_properties.append((ROW, row(found)))
        request.node.add_report_section("call", "equality", f"{found.line()}\n{world.calls.reasons}")
        world.check()
        assert found.answered, "a drill without answers proves nothing"
        assert found.problems() == []
        if all_answered:
            assert found.begun == found.answered, world.calls.reasons
        return found

    return look


@pytest.fixture
def fails(request: pytest.FixtureRequest, say: Say) -> Fails:
    """That this wrong build is found out."""

    def look(world: World, *, twice: bool = False, more_than: int = 0) -> Equality:
        found = audit.loss(world, request.node.name, twice, more_than)
        say(f"{'; '.join(found.problems()) or 'it holds, and must not'}; answers lost: {len(found.lost)}")
        world.check()
        assert (found.clickhouse.duplicates if twice else len(found.lost)) > more_than
        assert (found.audited.duplicates if twice else found.audited.missing) > more_than
        return found

    return look
