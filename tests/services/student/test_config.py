import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from services.student.config import Limits, Settings, Student, load_limits, load_settings, load_student

STUDENT = {"engine": "openvino", "base_model": "m", "max_tokens": 100, "eos_token_ids": [2], "stop_texts": ["\n"]}


def model_config(**parameters: str) -> str:
    return json.dumps({"name": "t", "parameters": {k: {"string_value": v} for k, v in parameters.items()}})


def test_student_json_is_read(tmp_path: Path) -> None:
    (tmp_path / "student.json").write_text(json.dumps(STUDENT))
    assert load_student(tmp_path).stop_texts == ("\n",)


@pytest.mark.parametrize("wrong", [{"engine": "toy"}, {"max_tokens": 0}, {"eos_token_ids": []}, {"extra": 1}])
def test_a_wrong_student_json_is_refused_with_its_field(tmp_path: Path, wrong: dict[str, object]) -> None:
    (tmp_path / "student.json").write_text(json.dumps(STUDENT | wrong))
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        load_student(tmp_path)


def test_an_encoder_needs_no_end_tokens_and_its_answer_no_room_beside_the_prompt(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"max_position_embeddings": 512}))
    student = Student(engine="encoder", base_model="m", max_tokens=100)
    assert load_limits(tmp_path, student, Settings()) == Limits(100, 508, 608)


def test_parameters_of_the_model_config_are_settings_and_tritons_own_are_left_alone() -> None:
    settings = load_settings(model_config(max_running="3", EXECUTION_ENV_PATH="/x"))
    assert settings == Settings(max_running=3)


def test_an_unknown_parameter_is_refused() -> None:
    with pytest.raises(ValidationError, match="max_runing"):
        load_settings(model_config(max_runing="3"))


@pytest.mark.parametrize(("context_tokens", "max_prompt_tokens"), [(8192, 4096), (512, 511)])
def test_the_prompt_may_not_be_longer_than_the_models_context(
    tmp_path: Path, context_tokens: int, max_prompt_tokens: int
) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"max_position_embeddings": context_tokens}))
    limits = load_limits(tmp_path, Student.model_validate(STUDENT), Settings())
    assert limits == Limits(100, max_prompt_tokens, context_tokens)
