import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.strata import LONGEST_NAME, stratum


@pytest.mark.parametrize(
    ("answers", "answer", "expected"),
    [
        ("label", " yes\n", "yes"),
        ("json", '{"zip":"1","city":"x"}', "city+zip"),
        ("json", '{"city":"y","zip":"2"}', "city+zip"),
        ("json", "{}", ""),
        ("json", "[1]", "list"),
        ("json", "{", "not JSON"),
        ("text", "one", "below 2 words"),
        ("text", "one two three four", "below 8 words"),
    ],
)
def test_a_stratum_is_named_by_the_answers_structure(answers: str, answer: str, expected: str) -> None:
    assert stratum("answer", answers, "tag", answer) == expected  # type: ignore[arg-type]


def test_or_by_the_requests_tag_or_not_at_all() -> None:
    assert stratum("kind", "label", "tag", "yes") == "tag"
    assert stratum("none", "label", "tag", "yes") == ""


@given(st.text())
def test_a_name_has_a_bound_whatever_the_answer(answer: str) -> None:
    for answers in ("label", "json", "text"):
        assert len(stratum("answer", answers, "", answer)) <= LONGEST_NAME  # type: ignore[arg-type]


def test_an_answer_nested_beyond_all_reason_is_not_read() -> None:
    assert stratum("answer", "json", "", "[" * 100_000) == "not JSON"
