"""A judge of texts, and what is thought of it."""

import threading
from collections.abc import Callable, Iterator

import pytest

from training.contract import Judgement
from training.judge import JudgeFailed, JudgeSettings, Preferred, configured, read
from training.judging import Pair, judgement


class FakeJudge:
    """Prefers by a rule, and counts."""

    name = "fake"

    def __init__(self, rule: Callable[[str, str], Preferred]) -> None:
        self.rule = rule
        self.asked = 0
        self.lock = threading.Lock()

    def prefer(self, question: str, first: str, second: str) -> Preferred:
        with self.lock:
            self.asked += 1
        if "?" not in question:
            raise JudgeFailed("no question")
        return self.rule(first, second)


def longer(first: str, second: str) -> Preferred:
    return "first" if len(first) > len(second) else "second" if len(second) > len(first) else "tie"


def judged(rule: Callable[[str, str], Preferred], pairs: list[Pair], people: list[Pair] | None = None) -> Judgement:
    return judgement(FakeJudge(rule), pairs, people or [])


PAIRS = [Pair("why?", "because it is so", "so"), Pair("who?", "I", "you"), Pair("when?", "now", "two")]


def test_what_is_preferred_in_both_places_wins() -> None:
    found = judged(longer, PAIRS)
    assert (found.wins, found.ties, found.losses) == (1, 1, 1)
    assert found.preferred.value == 0.5
    assert found.steady.value == 1
    assert found.first_place.value == 0.5


def test_a_judge_that_always_prefers_the_first_says_nothing_but_that() -> None:
    found = judged(lambda first, second: "first", PAIRS * 10)
    assert (found.wins, found.ties, found.losses) == (0, 30, 0)
    assert found.preferred.value == 0.5
    assert found.first_place.value == 1
    assert found.first_place.low > 0.5
    assert found.steady.value == 0


def test_a_preference_beside_a_tie_is_none_and_is_not_steady() -> None:
    answers: Iterator[Preferred] = iter(["first", "tie"])
    found = judged(lambda first, second: next(answers), PAIRS[:1])
    assert (found.ties, found.steady.value, found.first_place.value) == (1, 0, 1)


def test_answers_that_are_the_same_tie_unasked() -> None:
    judge = FakeJudge(longer)
    found = judgement(judge, [Pair("why?", "so", " so\n")], [])
    assert (found.pairs, found.ties, judge.asked) == (1, 1, 0)


def test_what_people_preferred_tries_the_judge() -> None:
    people = [Pair("why?", "a long answer", "short")] * 30
    agrees = judged(longer, PAIRS, people).agreement
    assert agrees is not None
    assert agrees.value == 1
    assert agrees.low > 0.5
    differs = judged(lambda first, second: longer(second, first), PAIRS, people).agreement
    assert differs is not None
    assert differs.high < 0.5
    assert judged(longer, PAIRS).agreement is None


def test_pairs_without_a_verdict_are_counted_and_the_others_stand() -> None:
    found = judged(longer, [*PAIRS, Pair("no question", "a", "bc")])
    assert (found.pairs, found.unanswered, found.why) == (3, 1, "no question")


def test_a_judge_that_never_answers_leaves_a_judgement_of_nothing() -> None:
    found = judged(longer, [Pair("no question", "a", "bc")])
    assert (found.pairs, found.preferred.low, found.preferred.high) == (0, 0, 1)


@pytest.mark.parametrize("said", ["FIRST", "Both are good.\n\n**First**", "first.", " `FIRST` \n"])
def test_the_last_line_is_the_verdict(said: str) -> None:
    assert read(said) == "first"


@pytest.mark.parametrize("said", ["", "first or second", "FIRST\nSECOND?!", "The first"])
def test_anything_else_is_no_verdict(said: str) -> None:
    with pytest.raises(JudgeFailed, match="last line"):
        read(said)


def test_there_is_no_judge_unless_one_is_named() -> None:
    assert configured(JudgeSettings(base_url="", model="x")) is None
    with pytest.raises(ValueError, match="JUDGE_MODEL"):
        configured(JudgeSettings(base_url="http://127.0.0.1:9/v1"))
