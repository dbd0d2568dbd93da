import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.pruning import Rule, pruned, rule

INSTRUCTIONS = "system: You take addresses apart.\nAnswer with one line of JSON.\nuser: "
STREETS = ("Oak St", "Elm Ave", "Main St")


def prompt(number: int) -> str:
    return f"{INSTRUCTIONS}{number} {STREETS[number % 3]}\nassistant:\n"


def test_what_all_prompts_begin_and_end_with_is_left_out() -> None:
    found = rule([prompt(number) for number in range(100, 200)])
    assert found == Rule(head=INSTRUCTIONS, tail="\nassistant:\n")
    assert pruned(prompt(117), found) == "117 Oak St\n"


def test_no_word_is_cut_in_two() -> None:
    found = rule([prompt(number) for number in range(1000, 1099)])  # all begin with 10, end with t or e
    assert found is not None
    assert pruned(prompt(1001), found) == "1001 Main St\n"


def test_lines_between_are_left_out_too() -> None:
    texts = [f"{n} first\nRemember: never guess what is not written.\n{n} second\n" for n in range(100)]
    found = rule(texts)
    assert found is not None
    assert found.lines == ("Remember: never guess what is not written.",)
    assert pruned(texts[7], found) == "7 first\n7 second\n"


def test_one_prompt_of_another_make_in_a_hundred_spoils_nothing_and_is_not_pruned() -> None:
    found = rule([*(prompt(number) for number in range(99)), "hello\n"])
    assert found == Rule(head=INSTRUCTIONS, tail="\nassistant:\n")
    assert pruned("hello\n", found) is None


@pytest.mark.parametrize(
    "prompts",
    [
        pytest.param([prompt(number) for number in range(49)], id="too few"),
        pytest.param([f"{number} Oak St\n" for number in range(100)], id="too little in common"),
        pytest.param([prompt(3)] * 100, id="nothing else in them"),
    ],
)
def test_there_is_no_rule_where(prompts: list[str]) -> None:
    assert rule(prompts) is None


def test_a_prompt_that_lacks_a_line_is_of_another_make() -> None:
    assert pruned("a\nb\n", Rule(lines=("c",))) is None


def test_head_and_tail_may_not_share_a_place() -> None:
    assert pruned("one two\n", Rule(head="one two\n", tail="two\n")) is None


@given(st.lists(st.text(alphabet="ab \n", max_size=8), min_size=50, max_size=60, unique=True))
def test_different_prompts_stay_different_but_for_space(bodies: list[str]) -> None:
    texts = [f"{INSTRUCTIONS}{body}\nassistant:\n" for body in bodies]
    if found := rule(texts):
        left = [" ".join(text.split()) for text in (pruned(text, found) for text in texts) if text is not None]
        whole = {" ".join(text.split()) for text in texts if pruned(text, found) is not None}
        assert len(set(left)) == len(whole)
