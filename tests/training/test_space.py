import pytest
from pydantic import ValidationError

from training import space
from training.config import Config, Range, resolve


def test_settings_are_found_however_deep_they_stand() -> None:
    nested = {"learning_rate": {"low": 1e-4, "high": 1e-2}, "lora": {"rank": [4, 8]}, "dpo": {"beta": [0.1]}}
    assert dict(space.flat(nested)) == {
        "learning_rate": Range(low=1e-4, high=1e-2),
        "lora.rank": [4, 8],
        "dpo.beta": [0.1],
    }


def test_a_trial_has_its_settings_and_searches_for_nothing(config: Config) -> None:
    searched = resolve({**config.model_dump(mode="json"), "search": {"space": {"lora": {"rank": [4]}}}})
    tried = space.chosen(searched, {"lora.rank": 4, "epochs": 2})
    assert (tried.lora.rank, tried.epochs, tried.search) == (4, 2, None)
    assert tried.lora.alpha == config.lora.alpha


def test_a_setting_that_there_is_not_is_named(config: Config) -> None:
    with pytest.raises(ValidationError, match="ranks"):
        space.chosen(config, {"lora.ranks": 4})


def test_the_same_settings_are_the_same_trial() -> None:
    assert space.name({"a": 1, "b": 2}) == space.name({"b": 2, "a": 1}) != space.name({"a": 1, "b": 3})


@pytest.mark.parametrize(("at_once", "threads"), [(1, 8), (3, 2), (8, 1), (20, 1)])
def test_trials_that_run_at_the_same_time_share_the_cores(at_once: int, threads: int) -> None:
    assert space.beside(Config(base_model="x"), at_once, cores=8).threads == threads


def test_a_trial_takes_the_threads_that_its_config_names() -> None:
    assert space.beside(Config(base_model="x", threads=3), at_once=8, cores=8).threads == 3
