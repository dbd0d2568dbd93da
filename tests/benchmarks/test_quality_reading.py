import pytest

from benchmarks.quality_reading import first_label, first_object, messages
from benchmarks.quality_task import Example
from benchmarks.quality_tasks import FUNCTIONS


@pytest.mark.parametrize(
    ("said", "read"),
    [
        ('Sure: {"a": {"b": 1}} and {"c": 2}', '{"a": {"b": 1}}'),
        ('{not so} {"a": 1}', '{"a": 1}'),
        ("nothing of the kind", "nothing of the kind"),
        ('{"a": ', '{"a": '),
    ],
)
def test_the_first_object_that_is_whole_counts(said: str, read: str) -> None:
    assert first_object(said) == read


@pytest.mark.parametrize(
    ("said", "read"),
    [
        ("It is Positive.", "positive"),
        ("neutral, not positive", "neutral"),
        ("good", "good"),
        ("find_all of them", "find_all"),
    ],
)
def test_the_first_label_counts_and_of_two_there_the_longer(said: str, read: str) -> None:
    assert first_label(["positive", "neutral", "find", "find_all"], said) == read


def test_it_is_told_shown_and_asked_with_what_only_it_must_be_told() -> None:
    shown, asked = (Example(text, "find", "", "", context="find: finds") for text in ("shown", "asked"))
    told = messages(FUNCTIONS, [shown], asked)
    assert [turn["role"] for turn in told] == ["system", "user", "assistant", "user"]
    assert [turn["content"] for turn in told[1:]] == ["find: finds\nshown", "find", "find: finds\nasked"]
