"""The encoders' engine over a reader that waits for the test, so that nothing hangs on time."""

import threading
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.encoder import TOGETHER, Read
from services.errors import Overloaded
from services.student.config import Settings
from services.student.encoder import PADDED_MOST, MicroBatches, alike
from services.student.engine import Finish, Load, Prompt
from tests.services.student.collector import Collector


class Reader:
    """Answers with the text in capitals, batch after batch, as the test lets it."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.begun = threading.Semaphore(0)
        self.go_on = threading.Semaphore(0)
        self.fails = ""

    def read(self, texts: Sequence[str], max_tokens: Sequence[int]) -> list[Read]:
        self.batches.append(list(texts))
        self.begun.release()
        assert self.go_on.acquire(timeout=60)
        if self.fails:
            raise RuntimeError(f"Exception from src/core.cpp:1:\n{self.fails}")
        pairs = zip(texts, max_tokens, strict=True)
        return [Read(text.upper(), (-0.5,) * min(limit, 2), cut=limit <= 2) for text, limit in pairs]


@pytest.fixture
def reader() -> Iterator[Reader]:
    made = Reader()
    yield made
    made.go_on.release(100)


def ask(engine: MicroBatches, id_: int, text: str = "hello", max_tokens: int = 8, tokens: int = 2) -> Collector:
    collector = Collector()
    engine.submit(Prompt(id_, (1,) * tokens, max_tokens, text=text), collector)
    return collector


def first_of(engine: MicroBatches, reader: Reader) -> Collector:
    """A request that the reader is at."""
    first = ask(engine, 0, "first")
    assert reader.begun.acquire(timeout=60)
    return first


def test_an_answer_comes_whole_with_its_text_and_a_logprob_a_token(reader: Reader) -> None:
    engine = MicroBatches(reader.read, Settings())
    reader.go_on.release(2)
    (delta,) = ask(engine, 1, "oak st").wait().deltas
    assert (delta.text, delta.logprobs, len(delta.token_ids), delta.finish) == ("OAK ST", (-0.5, -0.5), 2, Finish.STOP)
    assert ask(engine, 2, max_tokens=1).wait().finish is Finish.LENGTH
    engine.close()


def test_what_waits_meanwhile_is_read_together_but_not_too_much_of_it(reader: Reader) -> None:
    engine = MicroBatches(reader.read, Settings())
    first = first_of(engine, reader)
    rest = [ask(engine, i, f"text {i}") for i in range(1, TOGETHER + 3)]
    assert engine.load() == Load(1, TOGETHER + 2)
    reader.go_on.release(3)
    assert [answer.wait().text for answer in (first, *rest)] == [
        "FIRST",
        *(f"TEXT {i}" for i in range(1, TOGETHER + 3)),
    ]
    engine.close()
    assert list(map(len, reader.batches)) == [1, TOGETHER, 2]
    assert engine.load() == Load(0, 0)


def test_the_oldest_takes_along_those_of_like_length_and_none_waits_behind_younger_ones_twice(reader: Reader) -> None:
    engine = MicroBatches(reader.read, Settings())
    first = first_of(engine, reader)
    lengths = {"short": 10, "long": 100, "short, too": 11, "long, too": 95, "middling": 40}
    rest = [ask(engine, id_, text, tokens=tokens) for id_, (text, tokens) in enumerate(lengths.items(), 1)]
    reader.go_on.release(4)
    assert [answer.wait().text for answer in (first, *rest)] == ["FIRST", *(text.upper() for text in lengths)]
    engine.close()
    assert reader.batches == [["first"], ["short", "short, too"], ["long", "long, too"], ["middling"]]


@given(lengths=st.lists(st.integers(1, 500), min_size=1, max_size=60), most=st.integers(1, 20))
def test_a_batch_has_the_oldest_and_little_padding(lengths: list[int], most: int) -> None:
    taken = alike(lengths, most)
    assert taken[0] == 0
    assert len(set(taken)) == len(taken) <= most
    computed = max(lengths[place] for place in taken) * len(taken)
    assert computed - sum(lengths[place] for place in taken) <= PADDED_MOST * computed + 1e-9
    if len(set(lengths)) == 1:
        assert len(taken) == min(most, len(lengths))


def test_a_request_can_be_cancelled_while_it_waits_and_while_it_is_read(reader: Reader) -> None:
    engine = MicroBatches(reader.read, Settings(max_running=1))
    first, second, third = first_of(engine, reader), ask(engine, 1, "second"), ask(engine, 2, "third")
    engine.cancel(0)
    engine.cancel(1)
    engine.cancel(99)
    reader.go_on.release(2)
    assert first.wait().finish is second.wait().finish is Finish.CANCELLED
    assert third.wait().finish is Finish.STOP
    engine.close()
    assert reader.batches == [["first"], ["third"]]


def test_one_request_too_many_is_refused_with_the_limit_and_the_others_are_answered(reader: Reader) -> None:
    engine = MicroBatches(reader.read, Settings(max_running=1, max_waiting=2))
    accepted = [first_of(engine, reader), ask(engine, 1), ask(engine, 2)]
    with pytest.raises(Overloaded, match="overloaded: 2 requests waiting; limit 2"):
        ask(engine, 3)
    reader.go_on.release(3)
    assert [answer.wait().finish for answer in accepted] == [Finish.STOP] * 3
    engine.close()


def test_a_batch_that_fails_takes_its_requests_along_and_no_others(reader: Reader) -> None:
    engine = MicroBatches(reader.read, Settings())
    reader.fails = "out of memory"
    first = first_of(engine, reader)
    reader.go_on.release()
    assert first.wait().error == "engine: out of memory"
    reader.fails = ""
    reader.go_on.release()
    assert ask(engine, 1).wait().finish is Finish.STOP
    engine.close()


def test_closing_cancels_all_that_waits(reader: Reader) -> None:
    engine = MicroBatches(reader.read, Settings(max_running=1))
    first, second = first_of(engine, reader), ask(engine, 1)
    closing = threading.Thread(target=engine.close)
    closing.start()
    while not engine._closed:  # the thread has nothing else to do before
        closing.join(0.001)
    reader.go_on.release()
    closing.join(60)
    assert first.wait().finish is Finish.STOP
    assert second.wait().finish is Finish.CANCELLED
