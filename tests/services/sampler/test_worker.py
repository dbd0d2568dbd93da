"""The sampler as a process, against a real broker."""

import signal

import pytest

from protos import events_pb2 as events
from services.kafka import bury
from services.sampler.memory import Kind
from services.sampler.sampling import side
from services.topics import EXCHANGES, FORGOTTEN, LEFT_BYTES, Record, encode
from tests.services.largest import put_largest
from tests.services.sampler.conftest import PARTITIONS, PATIENCE_S, World
from tests.services.sampler.makers import PROVES, a_task, an_exchange, feedback

pytestmark = [pytest.mark.contract]

# A worker whose decision on one exchange breaks, as a bug would.
BROKEN = """
from services.sampler import __main__, joining
decide = joining.decide
def broken(task, exchange, said, duplicate):
    if exchange.id == "e70":
        raise RuntimeError("a bug")
    return decide(task, exchange, said, duplicate)
joining.decide = broken
__main__.main()
"""


def test_exchanges_and_feedback_become_candidates_in_any_order(world: World):
    newer = an_exchange("new", "5 Oak St", "{}")
    newer.request.ParseFromString(newer.request.SerializeToString() + b"\xfa\x3e\x03new")
    world.tell(
        feedback("early", correction='{"street": "Elm"}'),
        an_exchange("early", "7 Elm St", '{"street": "Elm St"}'),
        an_exchange("bad", "9 Fir St", "{}"),
        an_exchange("golden", "1 Ash St", "{}", group_key=PROVES),
        an_exchange("twice", "5  Oak St", "{}"),
        newer,
        feedback("bad", rating=-1.0),
    )
    world.produce(Record("exchanges", b"g1", b"\xff\xff"), encode(EXCHANGES, an_exchange("odd", task="nowhere")))
    with world.worker():
        world.wait_until(lambda: {"early", "bad"} < set(world.candidates) and len(world.dead) == 2)
        world.tell(an_exchange("last", "3 Yew St", "{}"))
        world.wait_until(lambda: "last" in world.candidates)
    assert len({"twice", "new"} & set(world.candidates)) == 1
    assert "golden" not in world.candidates
    assert world.candidates["early"].answer == '{"street": "Elm"}'
    assert world.candidates["bad"].excluded
    assert {(record.headers["dead-topic"], record.headers["dead-by"]) for record in world.dead} == {
        (b"exchanges", b"sampler")
    }
    assert any(b"\xfa\x3e\x03new" in made.SerializeToString() for made in world.candidates.values()) == (
        "new" in world.candidates
    )


def test_an_exchange_too_large_to_be_buried_stops_nobody(world: World):
    ruined = put_largest(world.settings, lambda size: Record("exchanges", b"g1", b"\xff" * size))
    whole = put_largest(
        world.settings, lambda size: encode(EXCHANGES, an_exchange("large", "9 Elm " + "x" * size, "{}"))
    )
    world.tell(an_exchange("last", "3 Yew St", "{}"))
    with world.worker():
        world.wait_until(lambda: "last" in world.candidates and len(world.dead) == 2)
    left = sorted((record.value, int(record.headers[LEFT_BYTES])) for record in world.dead)
    assert left == sorted((b"", len(record.value)) for record in (ruined, whole))
    assert "large" not in world.candidates


# What an erasure buries of the exchange `erased`, wherever it lies.
ERASED = [
    (f"{kind}:erased", place) for kind in (Kind.EXCHANGE, Kind.RATING, Kind.CORRECTION) for place in range(PARTITIONS)
]


def is_changelog(topic: str) -> bool:
    return topic.endswith("-changelog")


def test_a_worker_that_starts_again_has_forgotten_whom_an_erasure_buried(world: World):
    with world.worker():
        world.tell(an_exchange("erased", "8 Elm St", "{}"), an_exchange("kept", "9 Elm St", "{}"))
        world.wait_until(lambda: {"erased", "kept"} <= set(world.candidates))
    assert bury(world.settings, is_changelog, ERASED) == len(ERASED)
    with world.worker():
        world.tell(feedback("erased", rating=-1.0), feedback("kept", rating=-1.0))
        world.wait_until(lambda: world.candidates["kept"].excluded)
    assert not world.candidates["erased"].excluded


def test_a_worker_that_runs_forgets_whom_an_erasure_covers_and_remembers_them_no_more(world: World):
    with world.worker():
        world.tell(an_exchange("erased", "8 Elm St", "{}"), an_exchange("kept", "9 Elm St", "{}"))
        world.wait_until(lambda: {"erased", "kept"} <= set(world.candidates))
        bury(world.settings, lambda topic: topic == FORGOTTEN, ERASED)
        world.wait_until(lambda: "forgets erased customers" in world.log())
        world.tell(feedback("erased", rating=-1.0), feedback("kept", rating=-1.0))
        world.wait_until(lambda: world.candidates["kept"].excluded)
        assert not world.candidates["erased"].excluded
        world.tell(an_exchange("erased", "8 Elm St", "{}"), feedback("erased", rating=-1.0))  # read again, say
        world.tell(feedback("kept", rating=1.0, at_s=2))
        world.wait_until(lambda: world.candidates["kept"].corrected)
    assert not world.candidates["erased"].excluded


def test_a_killed_worker_remembers_and_loses_nothing(world: World):
    ids = {f"e{number}" for number in range(3000)}
    with world.worker() as worker:
        world.tell(an_exchange("known", "8 Elm St", "{}"))
        world.wait_until(lambda: "known" in world.candidates)
        world.tell(*(an_exchange(name, f"{name} Main St", "{}", group_key=f"g{name}") for name in ids))
        world.wait_until(lambda: len(world.candidates) > 1)
        worker.kill()
        worker.wait(PATIENCE_S)
    world.tell(feedback("known", correction='{"street": "Elm"}'))
    kept = {name for name in ids if not _golden(name)}
    with world.worker() as worker:
        world.wait_until(lambda: kept < set(world.candidates) and world.candidates["known"].corrected)
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(PATIENCE_S) == 0
    assert set(world.candidates) == kept | {"known"}


def test_a_backlog_is_taken_whole_by_workers_that_come_and_are_killed(world: World):
    """Each start has a backlog: reading on while the changelog is recovered must not lose what was read."""
    kept = set()
    for turn in range(3):
        names = [f"t{turn}e{number}" for number in range(1500)]
        world.tell(*(an_exchange(name, f"{name} Main St", "{}", group_key=f"g{name}") for name in names))
        kept |= {name for name in names if not _golden(name)}
        seen = len(world.candidates)
        with world.worker() as worker:
            world.wait_until(lambda seen=seen: len(world.candidates) > seen)  # type: ignore[misc]
            worker.kill()
            worker.wait(PATIENCE_S)
    with world.worker():
        world.wait_until(lambda: kept <= set(world.candidates))
    assert set(world.candidates) == kept


def test_two_workers_share_the_partitions_and_one_takes_over(world: World):
    with world.worker(), world.worker() as other:
        first = {f"a{number}" for number in range(900)}
        world.tell(*(an_exchange(name, f"{name} Main St", "{}", group_key=f"g{name}") for name in first))
        world.wait_until(lambda: {name for name in first if not _golden(name)} <= set(world.candidates))
        other.send_signal(signal.SIGTERM)
        other.wait(PATIENCE_S)
        known = next(name for name in sorted(first) if not _golden(name))
        said = feedback(known, correction='{"street": "Elm"}')
        said.group_key = f"g{known}"
        world.tell(said, an_exchange("last", "3 Yew St", "{}"))
        world.wait_until(lambda: "last" in world.candidates and world.candidates[known].corrected)


def test_a_bug_stops_the_worker_before_it_acknowledges(world: World):
    world.tell(*(an_exchange(f"e{number}", f"{number} Main St", "{}") for number in range(100)))
    with world.worker(("-c", BROKEN)) as worker:
        assert worker.wait(PATIENCE_S) != 0
    with world.worker():
        world.wait_until(lambda: len(world.candidates) == 100)


def _golden(name: str) -> bool:
    return side(a_task(), an_exchange(name, group_key=f"g{name}")) == events.SPLIT_GOLDEN
