"""A topic that is followed, and what becomes of a gateway that no longer can."""

import pytest

from services.gateway import following
from services.gateway.following import Following
from services.topics import Record
from tests.fakes.kafka import FakeBroker, FakeFollower
from tests.services.gateway.examples import until

TOPIC = "keys"


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the gateway was told, in place of its end."""
    told: list[str] = []
    monkeypatch.setattr(following, "end_gateway", lambda: told.append("stop"))
    return told


@pytest.fixture
def broker() -> FakeBroker:
    made = FakeBroker()
    made.create_topics()
    return made


async def test_what_is_there_and_what_comes_is_handed_on(broker: FakeBroker, ended: list[str]) -> None:
    broker.append(Record(TOPIC, b"a", b"1"))
    heard: list[bytes] = []
    followed = Following(FakeFollower(broker, TOPIC), TOPIC, lambda record: heard.append(record.value))
    assert await followed.start(30.0)
    broker.append(Record(TOPIC, b"a", b""))
    broker.append(Record(TOPIC, b"a", b"2"))
    broker.say_changed()
    await until(lambda: heard == [b"1", b"2"])
    await followed.close()
    assert ended == []


async def test_an_error_that_nobody_foresaw_ends_the_gateway_and_nothing_that_is_known_is_trusted(
    broker: FakeBroker, ended: list[str]
) -> None:
    fails = False

    def between() -> None:
        if fails:
            raise RuntimeError("fenced off")

    followed = Following(FakeFollower(broker, TOPIC), TOPIC, lambda _record: None, between)
    assert await followed.start(30.0)
    assert followed.caught_up
    fails = True
    broker.say_changed()
    await until(lambda: ended)
    assert not followed.caught_up
    with pytest.raises(RuntimeError, match="fenced off"):
        await followed.close()
