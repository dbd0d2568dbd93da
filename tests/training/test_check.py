import json
import subprocess
import sys
from typing import Any

import pytest

from training import check


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"from": "label", "learning_rat": 1}, "learning_rat: "),
        ({"from": "label", "lora": {"ranks": 4}}, "lora.ranks: "),
        ({"from": "label", "prune": True, "epochs": -1}, "epochs: "),
        ({"from": "auto", "learning_rat": 1}, "learning_rat: "),
        ({"from": "label", "search": {"space": {"learnig_rate": [1, 2]}}}, "search.space.learnig_rate: "),
        ({"from": "label", "search": {"space": {"dpo": {"beta": [1]}}}}, "search.space.dpo.beta: there is no such"),
        ({"from": "label", "search": {"space": {"lora": {"rank": ["a"]}}}}, "search.space.lora.rank: "),
        ({"from": "label", "search": {"space": {"epochs": {"low": -1, "high": 2}}}}, "search.space.epochs: "),
        ({"from": "no-such-config"}, "no training config 'no-such-config'"),
    ],
)
def test_settings_that_no_student_can_be_made_of_are_refused_by_name(settings: dict[str, Any], named: str) -> None:
    assert named in check.refusal(settings)


def test_what_all_candidates_are_refused_for_is_said_once() -> None:
    assert check.refusal({"from": "auto", "learning_rat": 1}).count("learning_rat:") == 1
    several = check.refusal({"from": "auto", "prune": "perhaps", "lora": {"rank": 0}})
    assert several.count("prune") == 1


@pytest.mark.parametrize("settings", [{"from": "label"}, {"from": "auto"}, {"from": "auto", "dpo": {}}])
def test_settings_that_fit_one_student_at_least_are_not(settings: dict[str, Any]) -> None:
    assert check.refusal(settings) == ""


def test_the_command_answers_on_its_output_without_torch_and_ray() -> None:
    run = "import runpy, sys; runpy.run_module('training.check', run_name='__main__')"
    code = f"{run}; print({{'torch', 'ray'}} & {{*sys.modules}})"
    asked = json.dumps({"from": "label", "learning_rat": 1})
    done = subprocess.run([sys.executable, "-c", code], input=asked, capture_output=True, text=True, check=True)
    said, heavy = done.stdout.splitlines()
    assert said.startswith("learning_rat: ")
    assert heavy == "set()"
