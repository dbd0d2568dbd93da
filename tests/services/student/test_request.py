import math

import pytest

from services.pruning import Rule
from services.student.config import Limits, Student
from services.student.request import BadRequest, read_ask

LIMITS = Limits(max_tokens=20, max_prompt_tokens=40, context_tokens=50)
STUDENT = Student(engine="openvino", base_model="random", max_tokens=20, eos_token_ids=(2,))
ENCODER = Student(engine="encoder", base_model="random", max_tokens=20)


def encode(text: str) -> tuple[int, ...]:
    return tuple(ord(char) for char in text if char != "~")


def test_what_is_absent_gets_its_default() -> None:
    ask = read_ask(7, {"text_input": b"abc"}, encode, LIMITS, STUDENT)
    assert ask.prompt.token_ids == (97, 98, 99)
    assert (ask.prompt.max_tokens, ask.prompt.temperature, ask.prompt.top_p) == (20, 0.0, 1.0)
    assert (ask.stop, ask.stream) == ((), False)


def test_what_is_given_is_taken() -> None:
    values = {"text_input": "é".encode(), "max_tokens": 3, "temperature": 0.5, "top_p": 0.9, "seed": 2**64 - 1}
    ask = read_ask(7, {**values, "stop": (b"a", "é".encode()), "stream": True}, encode, LIMITS, STUDENT)
    prompt = ask.prompt
    assert (prompt.max_tokens, prompt.temperature, prompt.top_p, prompt.seed) == (3, 0.5, 0.9, 2**64 - 1)
    assert (ask.stop, ask.stream) == (("a", "é"), True)


def test_requests_without_a_seed_differ() -> None:
    first, second = (read_ask(id_, {"text_input": b"abc"}, encode, LIMITS, STUDENT).prompt.seed for id_ in (1, 2))
    assert first != second


def test_a_prompt_and_answer_that_just_fit_are_taken() -> None:
    assert read_ask(7, {"text_input": b"x" * 40, "max_tokens": 10}, encode, LIMITS, STUDENT).prompt.max_tokens == 10


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"text_input": b""}, "text_input: .*at least 1 character"),
        ({}, "text_input: Field required"),
        ({"text_input": b"\xff"}, "text_input: .*unicode"),
        ({"text_input": b"~"}, "text_input: has no tokens"),
        ({"text_input": b"x" * 41}, "text_input: 41 tokens are above the limit 40"),
        ({"text_input": b"x" * 40, "max_tokens": 11}, "max_tokens: 11 is above the 10 that 40 prompt tokens leave"),
        ({"text_input": b"x", "max_tokens": 21}, "max_tokens: 21 is above the limit 20"),
        ({"text_input": b"x", "max_tokens": 0}, "max_tokens: .*greater than or equal to 1"),
        ({"text_input": b"x", "temperature": -0.1}, "temperature: .*greater than or equal to 0"),
        ({"text_input": b"x", "temperature": math.nan}, "temperature: .*finite"),
        ({"text_input": b"x", "top_p": 0.0}, "top_p: .*greater than 0"),
        ({"text_input": b"x", "top_p": 1.5}, "top_p: .*less than or equal to 1"),
        ({"text_input": b"x", "stop": (b"a",) * 5}, "stop: .*at most 4"),
        ({"text_input": b"x", "stop": (b"",)}, "stop.0: .*at least 1 character"),
    ],
)
def test_a_bad_request_is_refused_with_its_field_and_limit(values: dict[str, object], reason: str) -> None:
    with pytest.raises(BadRequest, match=f"^{reason}"):
        read_ask(7, values, encode, LIMITS, STUDENT)


def test_a_student_that_learned_without_the_instructions_reads_none() -> None:
    pruned = STUDENT.model_copy(update={"pruning": Rule(head="Take it apart: ", tail=" now\n")})
    prompt = read_ask(7, {"text_input": b"Take it apart: abc now\n"}, encode, LIMITS, pruned).prompt
    assert prompt.text == "abc\n"
    assert prompt.token_ids == encode("abc\n")
    with pytest.raises(BadRequest, match=r"^text_input: lacks what all prompts had in common"):
        read_ask(7, {"text_input": b"abc\n"}, encode, LIMITS, pruned)


def test_the_beginning_of_an_answer_is_read_behind_the_prompt_and_takes_of_the_answers_tokens() -> None:
    ask = read_ask(7, {"text_input": b"abc\n", "partial": b"de", "max_tokens": 10}, encode, LIMITS, STUDENT)
    assert ask.prompt.token_ids == (*encode("abc\n"), *encode("de"))
    assert ask.prompt.max_tokens == 8
    assert (ask.partial, ask.partial_ids) == ("de", encode("de"))


def test_a_prompt_and_a_beginning_that_just_fit_are_taken() -> None:
    values = {"text_input": b"x" * 35, "partial": b"y" * 5, "max_tokens": 15}
    assert read_ask(7, values, encode, LIMITS, STUDENT).prompt.max_tokens == 10


@pytest.mark.parametrize(
    ("student", "partial", "reason"),
    [
        (ENCODER, b"de", "partial: this student gives whole answers"),
        (STUDENT, b"d" * 12, "partial: its 12 tokens leave nothing of the 12 of an answer"),
        (STUDENT, b"\xff", "partial: .*unicode"),
    ],
)
def test_a_beginning_that_can_not_be_gone_on_from_is_refused_by_name(
    student: Student, partial: bytes, reason: str
) -> None:
    with pytest.raises(BadRequest, match=f"^{reason}"):
        read_ask(7, {"text_input": b"abc", "partial": partial, "max_tokens": 12}, encode, LIMITS, student)
