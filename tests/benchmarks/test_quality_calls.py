import json
from typing import Any

import pytest

from benchmarks import quality_calls as calls
from benchmarks.quality_task import Example
from protos import inference_pb2 as inference
from services import tasks

QUESTION = {
    "id": "simple_0",
    "question": [[{"role": "user", "content": "Find the area of a triangle, base 10 and height 5."}]],
    "function": [
        {
            "name": "area",
            "description": "The area of a triangle.",
            "parameters": {
                "type": "dict",
                "properties": {"base": {"type": "integer"}, "unit": {"type": "string"}},
                "required": ["base"],
            },
        }
    ],
}
POSSIBLE = {"area": {"base": [10], "height": [5, 5.5], "unit": ["sq. units", ""], "sides": [["a", "b"], ["A-B"]]}}
NESTED = {"update": {"who": [{"name": ["John Doe"], "email": ["j@x.org", ""], "ages": [[1, 2]]}]}}


def one(possible: Any) -> Example:
    return Example("", "", "", "", possible=({}, possible))


def said(**arguments: Any) -> str:
    return json.dumps({"area": {"base": 10, "height": 5, "sides": ["a", "b"]} | arguments})


def test_a_question_reads_as_the_gateway_s_transcript_rule_would_write_it() -> None:
    (read,) = [calls._call(*pair, "simple") for pair in calls.paired([QUESTION], [truth("simple_0", POSSIBLE)])]
    task = tasks.Task.model_construct(student=tasks.Student.model_construct(prompt=tasks.PromptRule.TRANSCRIPT))
    tool = QUESTION["function"][0]
    parameters = json.dumps(tool["parameters"], separators=(",", ":"))
    request = inference.Request(
        messages=[inference.Message(role=inference.ROLE_USER, content=QUESTION["question"][0][0]["content"])],
        tools=[inference.Tool(name=tool["name"], parameters=parameters)],
    )
    assert read.prompt == tasks.student_prompt(task, request)
    assert read.group == "area"


def truth(name: str, *possible: Any) -> dict[str, Any]:
    return {"id": name, "ground_truth": list(possible)}


def test_questions_without_exactly_one_right_call_are_left_out() -> None:
    questions = [QUESTION | {"id": name} for name in ("none", "one", "two")]
    truths = [truth("none"), truth("two", POSSIBLE, POSSIBLE), truth("one", POSSIBLE)]
    assert [question["id"] for question, _ in calls.paired(questions, truths)] == ["one"]


def test_a_question_with_a_parameter_that_may_be_nothing_at_all_cannot_be_answered() -> None:
    assert calls.answerable(POSSIBLE)
    assert not calls.answerable({"area": {"base": [10], "height": []}})


def test_the_call_to_learn_takes_the_first_values_and_leaves_out_what_may_be() -> None:
    assert calls.plainest(POSSIBLE) == {"area": {"base": 10, "height": 5, "sides": ["a", "b"]}}
    assert calls.plainest(NESTED) == {"update": {"who": {"name": "John Doe", "ages": [1, 2]}}}


@pytest.mark.parametrize("possible", [POSSIBLE, NESTED])
def test_the_call_to_learn_is_right(possible: Any) -> None:
    assert calls.right(one(possible), json.dumps(calls.plainest(possible)))


@pytest.mark.parametrize(
    "arguments",
    [
        {"height": 5.5},
        {"height": 5.0},
        {"unit": "SQ units"},
        {"unit": ""},
        {"sides": ["A-B"]},
        {"sides": ["a/b"]},
    ],
)
def test_any_value_that_is_allowed_is_right_whatever_its_case_and_marks(arguments: Any) -> None:
    assert calls.right(one(POSSIBLE), said(**arguments))


@pytest.mark.parametrize(
    "arguments",
    [
        {"height": 6},
        {"height": "5"},
        {"base": True},
        {"unit": "metres"},
        {"sides": ["a"]},
        {"sides": ["b", "a"]},
        {"sides": "ab"},
        {"more": 1},
    ],
)
def test_any_other_value_is_wrong_and_so_is_a_parameter_that_nobody_asked_for(arguments: Any) -> None:
    assert not calls.right(one(POSSIBLE), said(**arguments))


@pytest.mark.parametrize(
    "answer",
    ["", "area", "[]", "{}", '{"area": 3}', '{"other": {}}', '{"area": {"base": 10, "height": 5}}'],
)
def test_what_is_no_such_call_or_lacks_a_parameter_is_wrong(answer: str) -> None:
    assert not calls.right(one(POSSIBLE), answer)


def test_one_is_not_true() -> None:
    assert calls.same(True, True)
    assert not calls.same(1, True)
    assert not calls.same(True, 1)


def test_only_functions_that_are_often_asked_for_make_a_closed_set() -> None:
    many = [Example(f"{n}", "often", "", "") for n in range(calls.FEWEST)]
    assert calls.common([*many, Example("x", "seldom", "", "")]) == many


def test_two_calls_in_one_answer_are_wrong() -> None:
    both = json.loads(said()) | {"other": {}}
    assert not calls.right(one(POSSIBLE), json.dumps(both))
