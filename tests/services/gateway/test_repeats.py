"""A request_id that comes again."""

from collections.abc import Awaitable, Callable

import pytest

from protos import inference_pb2 as inference
from services.gateway.fields import BadInput
from services.gateway.repeats import KEEPING_BYTES, Repeats
from tests.services.gateway.examples import a_request


class Maker:
    """Makes replies, and counts them; its clock is set by hand."""

    def __init__(self, max_bytes: int = 100_000, max_age_s: float = 60.0) -> None:
        self.made = 0
        self.now_s = 0.0
        self.repeats = Repeats(max_bytes, max_age_s, lambda: self.now_s)

    async def ask(self, request_id: str, text: str = "what is it?", key_id: str = "") -> inference.Reply:
        return await self.repeats.once(key_id, a_request(text, request_id=request_id), self._make(request_id))

    def _make(self, request_id: str) -> Callable[[], Awaitable[inference.Reply]]:
        async def make() -> inference.Reply:
            self.made += 1
            return inference.Reply(exchange_id=request_id, why=f"made {self.made}")

        return make


async def test_a_repeated_id_has_the_first_reply():
    maker = Maker()
    assert await maker.ask("a") == await maker.ask("a")
    assert maker.made == 1


async def test_what_is_remembered_holds_nothing_of_the_exchange():
    maker = Maker()
    reply = await maker.ask("a")
    reply.why = "changed by whoever was given it"
    assert (await maker.ask("a")).why == "made 1"


async def test_other_ids_have_replies_of_their_own():
    maker = Maker()
    assert await maker.ask("a") != await maker.ask("b")


async def test_a_reply_is_forgotten_when_it_is_too_old():
    maker = Maker(max_age_s=60)
    await maker.ask("a")
    maker.now_s = 59.9
    await maker.ask("a")
    assert maker.made == 1
    maker.now_s = 60.0
    await maker.ask("a")
    assert maker.made == 2


async def test_replies_are_forgotten_when_they_take_too_many_bytes():
    maker = Maker(max_bytes=2 * (KEEPING_BYTES + 100))
    for request_id in ("a", "b", "c", "c", "b"):
        await maker.ask(request_id)
    assert maker.made == 3
    await maker.ask("a")
    assert maker.made == 4


async def test_a_reply_larger_than_all_of_the_memory_is_given_and_not_kept():
    maker = Maker(max_bytes=KEEPING_BYTES)
    await maker.ask("a")
    await maker.ask("a")
    assert maker.made == 2


async def test_an_id_of_another_request_is_refused():
    maker = Maker()
    await maker.ask("a")
    with pytest.raises(BadInput, match="request_id"):
        await maker.ask("a", "something else")


async def test_what_one_key_asked_another_learns_nothing_of():
    maker = Maker()
    anns = await maker.ask("a", key_id="ann")
    assert await maker.ask("a", key_id="bob") != anns
    await maker.ask("a", "something else", key_id="eve")
    assert await maker.ask("a", key_id="ann") == anns
