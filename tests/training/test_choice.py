from dataclasses import replace

import pytest

from training.choice import Standing, accepted, choose
from training.contract import Difference
from training.threshold import Judged


def standing(kept_right: int, kept_wrong: int, left: int) -> Standing:
    """So many eval answers above the threshold of -1, and so many below; people vouch for every label."""
    sure = [judged(-0.1, wrong=False)] * kept_right + [judged(-0.1, wrong=True)] * kept_wrong
    return Standing(-1.0, sure + [judged(-5.0, wrong=True)] * left)


def judged(confidence: float, *, wrong: bool) -> Judged:
    return Judged(confidence, refused=False, differs=wrong, corrected=True, teacher_differs=False)


def test_of_equally_good_ones_the_one_that_leaves_the_fewest_to_the_teacher_is_chosen() -> None:
    made = choose({"small": standing(85, 1, 14), "large": standing(95, 1, 4)})
    assert made.name == "large"
    assert "leaves the fewest requests to the teacher" in made.why
    assert made.on_eval["small"].kept == pytest.approx(0.86)
    assert made.on_eval["large"].error == pytest.approx(0.01)


def test_of_those_that_keep_about_as_much_the_first_and_cheapest_is_chosen() -> None:
    made = choose({"small": standing(940, 10, 50), "large": standing(945, 10, 45)})
    assert made.name == "small"
    assert "it is the cheapest" in made.why


def test_one_that_errs_clearly_more_is_not_chosen_however_much_it_keeps() -> None:
    made = choose({"small": standing(85, 15, 0), "large": standing(79, 1, 20)})
    assert made.name == "large"
    assert "small keeps 100% at 15.0 % error" in made.why


def test_one_that_keeps_nothing_errs_as_its_teacher_does() -> None:
    none = Standing(0.0, standing(50, 0, 50).judged)
    made = choose({"none": none, "some": standing(50, 0, 50)})
    assert made.name == "some"
    assert (made.on_eval["none"].kept, made.on_eval["none"].error_se) == (0, 0)


def test_one_that_keeps_nothing_is_not_chosen_for_erring_exactly_as_the_teacher_does() -> None:
    wrong = replace(judged(-0.1, wrong=True), teacher_differs=True)
    some = Standing(-1.0, [judged(-0.1, wrong=False)] * 90 + [wrong] * 3 + [judged(-0.1, wrong=True)] * 7)
    made = choose({"some": some, "none": Standing(0.0, some.judged)})
    assert made.on_eval["none"].error == pytest.approx(0.03)
    assert made.on_eval["some"].error == pytest.approx(0.1)
    assert made.name == "some"
    assert "the others keep nothing" in made.why


def test_of_those_that_keep_something_one_that_cannot_be_told_from_the_best_is_as_good() -> None:
    made = choose({"more": standing(93, 4, 3), "less": standing(49, 2, 49)})
    assert made.on_eval["less"].error < made.on_eval["more"].error
    assert made.name == "more"


def test_the_only_one_is_chosen_as_such() -> None:
    assert "the only one that can do the task" in choose({"small": standing(9, 0, 1)}).why


def test_a_student_on_pruned_prompts_is_kept_only_if_it_errs_no_more_than_the_margin_on_golden_examples() -> None:
    made = choose({"pruned": standing(90, 1, 9), "whole": standing(90, 1, 9)})
    kept = accepted(made, "whole", Difference(difference=0.0, low=-0.01, high=0.02), margin=0.02)
    assert kept.name == "pruned"
    assert "cost +0.0 points [-1.0, +2.0] of error beside whole, within the margin of 2" in kept.why
    refused = accepted(made, "whole", Difference(difference=0.01, low=-0.01, high=0.03), margin=0.02)
    assert refused.name == "whole"
    assert refused.why.startswith("whole, because pruned is refused: on the golden set its pruned prompts cost +1.0")
    assert refused.why.endswith(made.why)
