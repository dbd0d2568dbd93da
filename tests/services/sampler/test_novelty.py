"""Novel questions: told from those that are like others, noted, and bounded in memory."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from services.sampler.hardness import reasons
from services.sampler.joining import Joiner
from services.sampler.memory import Memory
from services.sampler.minilm import embedder
from services.sampler.novelty import Novelties
from services.tasks import Task
from tests.services.sampler.makers import a_task, an_exchange

ASKED: list[list[str]] = []


def by_first_letter() -> Callable[[Sequence[str]], NDArray[np.float32]]:
    """Texts with the same first letter are alike, others have nothing in common."""
    ASKED.clear()

    def embed(texts: Sequence[str]) -> NDArray[np.float32]:
        ASKED.append(list(texts))
        return np.eye(26, dtype=np.float32)[[ord(text[0]) - ord("a") for text in texts]]

    return embed


def an_asking_task(**sampling: object) -> Task:
    return a_task(sampling={"novelty": {"embedder": f"{__name__}:by_first_letter"}, **sampling})


def novelties(most: int = 10) -> Novelties:
    return Novelties({"address": an_asking_task()}, most)


def test_what_is_like_nothing_before_it_is_novel_and_what_is_like_it_is_not():
    seen = novelties()
    told = [seen.is_novel(an_exchange(f"e{n}", text)) for n, text in enumerate(["apple", "axe", "bee", "apple"])]
    assert told == [True, False, True, False]


def test_an_exchange_that_comes_again_is_as_novel_as_before():
    seen = novelties()
    assert [seen.is_novel(an_exchange("e1", "apple")) for _ in range(3)] == [True, True, True]


def test_the_oldest_is_forgotten_first():
    seen = novelties(most=2)
    told = [seen.is_novel(an_exchange(f"e{n}", text)) for n, text in enumerate(["a", "b", "c", "b", "a"])]
    assert told == [True, True, True, False, True]


def test_a_batch_is_embedded_at_once_and_each_question_once():
    seen = novelties()
    batch = [an_exchange("e1", "apple"), an_exchange("e2", "bee"), an_exchange("e3", "apple")]
    seen.look_ahead(batch)
    assert [seen.is_novel(exchange) for exchange in batch] == [True, True, False]
    assert ASKED == [["apple", "bee"]]


def test_a_task_that_does_not_ask_has_no_novel_questions():
    assert not Novelties({"address": a_task()}).is_novel(an_exchange())


@pytest.mark.parametrize("name", ["nowhere:at_all", f"{__name__}:missing", "no colon"])
def test_an_embedder_that_is_not_there_is_said_at_the_start(name: str):
    with pytest.raises(ValueError, match=r"sampling.novelty.embedder: .* can't be loaded"):
        Novelties({"address": a_task(sampling={"novelty": {"embedder": name}})})


def test_a_novel_question_is_a_hard_case_and_is_kept_more_often():
    joiner = Joiner({"address": an_asking_task(rate=0.25, hard_weight=4)}, Memory({}, 1000, max_age_s=100.0))
    exchanges = [an_exchange(f"e{n}", f"{'abcde'[n % 5]} street {n}", '{"street":"street"}') for n in range(200)]
    made = [one for exchange in exchanges for one in joiner.take(exchange, 0, 1.0)]
    hard = [one for one in made if "novel" in one.hard]
    assert [one.id for one in hard] == [f"e{n}" for n in range(5)]
    assert {one.probability for one in hard} == {1.0}
    assert {one.probability for one in made if not one.hard} == {0.25}
    assert reasons(hard[0].request) == ["novel"]


def test_the_shipped_embedder_tells_what_is_meant():
    near = embedder()(["Where is my parcel?", "When will my package arrive?", "I want to close my bank account."])
    assert near.shape == (3, 384)
    assert np.allclose(np.linalg.norm(near, axis=1), 1, atol=1e-5)
    assert near[0] @ near[1] > near[0] @ near[2] + 0.2
