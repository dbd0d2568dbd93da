"""A task's definition and what follows from it."""

from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from protos import events_pb2 as events
from protos import inference_pb2 as inference
from services import tasks

DEFINITION: dict[str, Any] = {
    "name": "sentiment",
    "answer": "label",
    "teacher": {
        "model": "gpt-4",
        "may_be_trained_on": True,
        "prices": {"input_usd_per_million": 30, "output_usd_per_million": 60},
    },
    "student": {"prices": {"input_usd_per_million": 0.02, "output_usd_per_million": "0.04"}},
    "error_ceiling": 0.2,
}


def write(directory: Path, definition: object, name: str = "sentiment") -> None:
    (directory / f"{name}.yaml").write_text(yaml.safe_dump(definition))


def chat(*turns: tuple[inference.Role, str]) -> inference.Request:
    return inference.Request(messages=[inference.Message(role=role, content=text) for role, text in turns])


def test_the_tasks_that_ship_load() -> None:
    shipped = tasks.load(Path("deploy/tasks"))
    assert shipped["address-extraction"].instructions


def test_a_few_keys_define_a_task(tmp_path: Path) -> None:
    write(tmp_path, DEFINITION)
    task = tasks.load(tmp_path)["sentiment"]
    assert task.student.prompt is tasks.PromptRule.LAST_USER_MESSAGE
    assert task.sampling.rate == 1


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"colour": "red"}, "colour"),
        ({"error_ceiling": 1.5}, "error_ceiling"),
        ({"answer": "poem"}, "answer"),
        ({"name": "Not A Name"}, "name"),
        ({"name": "other"}, "must be the file's"),
        ({"sampling": {"split": {"golden": 0.6, "eval": 0.5}}}, "nothing is left to train on"),
        ({"validators": [{"kind": "unheard-of"}]}, "validators"),
    ],
)
def test_a_wrong_definition_is_refused_naming_file_and_key(
    tmp_path: Path, change: dict[str, Any], complaint: str
) -> None:
    write(tmp_path, DEFINITION | change)
    with pytest.raises(ValueError, match=complaint) as refused:
        tasks.load(tmp_path)
    assert "sentiment.yaml" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_what_is_no_yaml_and_a_folder_without_tasks_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="TASKS_DIR"):
        tasks.load(tmp_path)
    with pytest.raises(ValueError, match=r"there is no folder .*/nowhere; set --tasks"):
        tasks.load(tmp_path / "nowhere", "--tasks")
    (tmp_path / "broken.yaml").write_text("a: [")
    with pytest.raises(ValueError, match=r"broken\.yaml"):
        tasks.load(tmp_path)


def test_an_unknown_task_is_named_with_those_defined(tmp_path: Path) -> None:
    write(tmp_path, DEFINITION)
    with pytest.raises(KeyError, match="defined are sentiment"):
        tasks.by_name(tasks.load(tmp_path), "sentiments")


def test_a_cost_is_exact_money(tmp_path: Path) -> None:
    write(tmp_path, DEFINITION)
    prices = tasks.load(tmp_path)["sentiment"].teacher.prices
    usage = inference.Usage(prompt_tokens=700, completion_tokens=40)
    assert prices.cost(usage) == Decimal("0.0234")


def test_the_student_reads_the_last_user_message_alone(tmp_path: Path) -> None:
    write(tmp_path, DEFINITION)
    request = chat((inference.ROLE_SYSTEM, "be brief"), (inference.ROLE_USER, "one"), (inference.ROLE_USER, " two "))
    assert tasks.student_prompt(tasks.load(tmp_path)["sentiment"], request) == "two\n"


def test_a_transcript_rule_gives_the_student_the_whole_chat(tmp_path: Path) -> None:
    student = DEFINITION["student"] | {"prompt": "transcript"}
    write(tmp_path, DEFINITION | {"student": student})
    request = chat((inference.ROLE_SYSTEM, "be brief"), (inference.ROLE_USER, "one"))
    prompt = tasks.student_prompt(tasks.load(tmp_path)["sentiment"], request)
    assert prompt == "system: be brief\nuser: one\nassistant:\n"


def test_tool_calls_are_an_answer_too() -> None:
    call = inference.ToolCall(id="1", name="find", arguments='{"q":"x"}')
    message = inference.Message(role=inference.ROLE_ASSISTANT, tool_calls=[call])
    assert tasks.answer_text(message) == '{"tool_calls":[{"name":"find","arguments":"{\\"q\\":\\"x\\"}"}]}'


def test_the_split_keeps_its_shares() -> None:
    shares = tasks.SplitShares(golden=0.1, eval=0.2)
    counts = Counter(tasks.split(shares, f"customer-{number}") for number in range(10_000))
    assert 900 < counts[events.SPLIT_GOLDEN] < 1100
    assert 1850 < counts[events.SPLIT_EVAL] < 2150


@given(st.text(), st.floats(0, 0.4), st.floats(0.01, 0.4))
def test_the_split_depends_on_the_group_alone(group_key: str, golden: float, eval_share: float) -> None:
    shares = tasks.SplitShares(golden=golden, eval=eval_share)
    assert tasks.split(shares, group_key) == tasks.split(shares, group_key)
    assert 0 <= tasks.fraction(group_key, "split") < 1


def test_another_salt_draws_independently() -> None:
    keys = [f"k{number}" for number in range(2_000)]
    both = sum(tasks.fraction(key, "a") < 0.5 and tasks.fraction(key, "b") < 0.5 for key in keys)
    assert 420 < both < 580
