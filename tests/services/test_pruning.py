import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.pruning import LEAST_CHARACTERS, LEAST_PROMPTS, NEARLY_ALL, Rule, pruned, rule

INSTRUCTIONS = "system: You take addresses apart.\nAnswer with one line of JSON.\nuser: "
END = "\nassistant:\n"
STREETS = ("Oak St", "Elm Ave", "Main St")
NEVER = "Remember: never guess what is not written."
SPLIT = "---- and here is the second text ----"
few_letters = st.text(alphabet="ab \n", max_size=8)
line = st.text(alphabet="ab ", min_size=1, max_size=5).filter(str.strip).map(str.strip)


def prompt(number: int) -> str:
    return f"{INSTRUCTIONS}{number} {STREETS[number % 3]}{END}"


def test_what_all_prompts_begin_and_end_with_is_left_out() -> None:
    found = rule([prompt(number) for number in range(100, 200)])
    assert found == Rule(head=INSTRUCTIONS, tail=END)
    assert pruned(prompt(117), found) == "117 Oak St\n"


def test_no_word_is_cut_in_two() -> None:
    found = rule([prompt(number) for number in range(1000, 1099)])  # all begin with 10, end with t or e
    assert found is not None
    assert pruned(prompt(1001), found) == "1001 Main St\n"


def test_lines_between_are_left_out_too_and_an_empty_one_says_where_they_were() -> None:
    texts = [f"{n} first\n{NEVER}\n{SPLIT}\n{n} second\n" for n in range(100)]
    found = rule(texts)
    assert found is not None
    assert found.lines == (NEVER, SPLIT)
    assert pruned(texts[7], found) == "7 first\n\n7 second\n"


def test_one_prompt_of_another_make_in_a_hundred_spoils_nothing_and_is_not_pruned() -> None:
    found = rule([*(prompt(number) for number in range(99)), "hello\n"])
    assert found == Rule(head=INSTRUCTIONS, tail=END)
    assert pruned("hello\n", found) is None


def test_a_prompt_with_nothing_but_what_all_have_is_of_another_make_too() -> None:
    empty = f"{INSTRUCTIONS}{END}"
    found = rule([*(prompt(number) for number in range(99)), empty])
    assert found == Rule(head=INSTRUCTIONS, tail=END)
    assert pruned(empty, found) is None


def test_where_each_line_lacks_in_others_the_ends_alone_are_left_out() -> None:
    rare = {1: NEVER, 2: SPLIT, 3: NEVER + "!", 4: SPLIT + "!"}
    texts = [
        f"{INSTRUCTIONS}{n}\n" + "".join(f"{text}\n" for at, text in rare.items() if n != at) + f"{n}{END}"
        for n in range(100)
    ]
    assert rule(texts) == Rule(head=INSTRUCTIONS, tail=END)


@pytest.mark.parametrize(
    "prompts",
    [
        pytest.param([prompt(number) for number in range(LEAST_PROMPTS - 1)], id="too few"),
        pytest.param([f"{number} Oak St\n" for number in range(100)], id="too little in common"),
        pytest.param([f"{number}\n" for number in range(100)], id="nothing in common"),
        pytest.param([prompt(3)] * 100, id="nothing else in them"),
        pytest.param(
            [prompt(n) if n % 2 else f"Other instructions, as long. {n}\n" for n in range(100)], id="two makes"
        ),
    ],
)
def test_there_is_no_rule_where(prompts: list[str]) -> None:
    assert rule(prompts) is None


def test_a_prompt_that_lacks_a_line_is_of_another_make() -> None:
    assert pruned("a\nb\n", Rule(lines=("c",))) is None


def test_head_and_tail_may_not_share_a_place() -> None:
    assert pruned("one two\n", Rule(head="one two\n", tail="two\n")) is None


def test_a_line_that_a_caller_repeats_is_left_out_once() -> None:
    assert pruned(f"{NEVER}\nsaid he: x\n{NEVER}\n", Rule(lines=(NEVER,))) == f"\nsaid he: x\n{NEVER}\n"


@given(st.text())
def test_whatever_stands_between_the_ends_stays_to_the_letter(body: str) -> None:
    left = pruned(f"{INSTRUCTIONS}{body}{END}", Rule(head=INSTRUCTIONS, tail=END))
    assert left == (f"{body.strip()}\n" if body.strip() else None)


@given(*[st.tuples(st.lists(line, max_size=3), st.lists(line, max_size=3))] * 2)
def test_prompts_that_differ_before_or_after_a_line_that_all_have_differ_without_it(
    one: tuple[list[str], list[str]], other: tuple[list[str], list[str]]
) -> None:
    left = [pruned("\n".join([*before, SPLIT, *after]), Rule(lines=(SPLIT,))) for before, after in (one, other)]
    if any(map(any, one)) and any(map(any, other)):
        assert (left[0] == left[1]) == (one == other)
    else:
        assert None in left


@given(st.lists(few_letters.map(lambda text: f"{text}{SPLIT}\n{text}") | few_letters, min_size=50, max_size=60))
def test_a_rule_is_worth_it_and_leaves_something_of_nearly_all(texts: list[str]) -> None:
    if found := rule(texts):
        assert found.characters >= LEAST_CHARACTERS
        left = [pruned(text, found) for text in texts]
        assert all(text and text.strip() for text in left if text is not None)
        assert len(texts) - left.count(None) >= NEARLY_ALL**2 * len(texts)


@given(st.lists(few_letters, min_size=50, max_size=60))
def test_instructions_around_any_texts_are_found(texts: list[str]) -> None:
    found = rule([f"{INSTRUCTIONS}{number} {text}{END}" for number, text in enumerate(texts)])
    assert found is not None
    assert found.head == INSTRUCTIONS
    assert found.tail.endswith(END)
