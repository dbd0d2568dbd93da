import subprocess
from typing import Any

import pytest

from benchmarks.training_goals import FLOPS_A_TOKEN, failure, goals

LIGER = "times TRL with liger"


def figures(speed: float, loss: float = 1.0) -> dict[str, Any]:
    return {"tokens_per_s": speed, "held_out_loss": loss}


def test_a_contestant_that_failed_leaves_its_last_line_and_misses_its_goal_alone() -> None:
    done = subprocess.CompletedProcess([], 1, "", "Traceback\nImportError: no liger-kernel\n")
    failed = failure(done)
    assert failed == {"failed": "ImportError: no liger-kernel"}
    found = {"ours": figures(200), "peft": figures(50), "trl": figures(100), "trl_liger": failed}
    wanted = goals(found, peak=200 * FLOPS_A_TOKEN)
    assert wanted[LIGER] == {"goal": ">= 1.3", "measured": None, "met": False}
    assert {name for name, goal in wanted.items() if goal["met"]} == wanted.keys() - {LIGER}


def test_a_contestant_that_died_without_a_word_is_told_by_its_exit_status() -> None:
    done = subprocess.CompletedProcess([], -9, "", "")
    assert failure(done) == {"failed": "no word; exit status -9"}


def test_who_fails_ourselves_meets_no_goal() -> None:
    found = {"ours": {"failed": "out of memory"}, "peft": figures(50), "trl": figures(100), "trl_liger": figures(100)}
    assert not any(goal["met"] for goal in goals(found, peak=1e12).values())


@pytest.mark.parametrize(("ours", "met"), [(1.02, True), (1.03, False)])
def test_our_loss_may_be_two_percent_above_the_best_of_the_others(ours: float, met: bool) -> None:
    found = {"ours": figures(200, ours), "peft": figures(50, 1.5), "trl": figures(100, 1.0)}
    wanted = goals(found, peak=None)
    assert wanted["held-out loss, ours over the best of the others"]["met"] == met
    assert wanted["times the plain loop"]["measured"] == 4
