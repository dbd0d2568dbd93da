"""What several want at the same time is made once."""

import asyncio

import pytest

from services.gateway.together import Together


def for_all(error: Exception) -> Exception | None:
    return LookupError(f"also: {error}") if isinstance(error, LookupError) else None


class Maker:
    """Makes when told to, and counts."""

    def __init__(self) -> None:
        self.begun = 0
        self.asked: asyncio.Queue[asyncio.Future[str]] = asyncio.Queue()
        self.together = Together[str, str](for_all)

    async def make(self) -> str:
        self.begun += 1
        made = asyncio.get_running_loop().create_future()
        self.asked.put_nowait(made)
        return await made

    def want(self, key: str = "key") -> "asyncio.Task[tuple[str, bool]]":
        return asyncio.create_task(self.together.once(key, self.make))


async def test_those_who_come_meanwhile_have_what_the_first_made() -> None:
    maker = Maker()
    wanting = [maker.want() for _ in range(3)]
    (await maker.asked.get()).set_result("it")
    assert await asyncio.gather(*wanting) == [("it", False), ("it", True), ("it", True)]
    assert maker.begun == 1


async def test_who_comes_later_or_wants_another_has_one_of_his_own() -> None:
    maker = Maker()
    first, other = maker.want("a"), maker.want("b")
    (await maker.asked.get()).set_result("one")
    (await maker.asked.get()).set_result("two")
    assert await asyncio.gather(first, other) == [("one", False), ("two", False)]
    again = maker.want("a")
    (await maker.asked.get()).set_result("three")
    assert await again == ("three", False)


async def test_where_the_first_is_cancelled_the_next_takes_its_place() -> None:
    maker = Maker()
    first, second, third = (maker.want() for _ in range(3))
    await maker.asked.get()
    first.cancel()
    (await maker.asked.get()).set_result("it")
    assert await asyncio.gather(second, third) == [("it", False), ("it", True)]
    assert maker.begun == 2
    assert first.cancelled()


async def test_the_first_ones_error_is_its_own_alone() -> None:
    maker = Maker()
    first, second = maker.want(), maker.want()
    (await maker.asked.get()).set_exception(ValueError("broken"))
    (await maker.asked.get()).set_result("it")
    assert await second == ("it", False)
    with pytest.raises(ValueError, match="broken"):
        await first


async def test_an_error_that_is_for_all_ends_all_that_wait_at_once_each_with_one_of_its_own() -> None:
    maker = Maker()
    first, second, third = (maker.want() for _ in range(3))
    (await maker.asked.get()).set_exception(LookupError("there is none"))
    ends = await asyncio.gather(first, second, third, return_exceptions=True)
    assert [str(end) for end in ends] == ["there is none", "also: there is none", "also: there is none"]
    assert ends[1] is not ends[2]
    assert maker.begun == 1
    again = maker.want()
    (await maker.asked.get()).set_result("it")
    assert await again == ("it", False)


async def test_who_waits_and_is_cancelled_leaves_the_others_alone() -> None:
    maker = Maker()
    first, second, third = (maker.want() for _ in range(3))
    made = await maker.asked.get()
    second.cancel()
    await asyncio.wait([second])
    made.set_result("it")
    assert await asyncio.gather(first, third) == [("it", False), ("it", True)]


async def test_nobody_waits_longer_than_his_patience() -> None:
    maker = Maker()
    first = maker.want()
    made = await maker.asked.get()
    with pytest.raises(TimeoutError):
        await maker.together.once("key", maker.make, lambda: 0.0)
    made.set_result("it")
    assert await first == ("it", False)
