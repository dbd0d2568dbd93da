from typing import Any

from tests.services.controller.world import a_report, a_score
from training import verdict
from training.advice import next_steps
from training.contract import Difference, Doubted, Helped, Interval, KindScore, Leaks, Mistake, Opinions
from training.verdict import Rule

POOR = {name: a_score(0.5, 0.4, 0.6) for name in ("student", "cascade")}


def told(**changes: Any) -> str:
    report = a_report(**{"training_usd_per_hour": "1"} | changes)
    return " ".join(next_steps(report, verdict.judge(report, Rule.of(report))))


def test_who_has_proven_himself_needs_nothing_and_can_be_sent_back() -> None:
    assert told().startswith("Nothing has to be done")
    assert "tutelage rollback labels" in told()


def test_who_has_not_is_told_what_to_add_or_where_it_stands() -> None:
    assert "30 at least" in told(golden=12)
    assert "Let people decide" in told(truth="teacher")
    assert told(**POOR).startswith("The traffic stays where it is. The verdict names what would change that")


def test_who_had_too_little_time_is_given_more_unless_it_was_enough() -> None:
    cut = {"cut_short": True, "stopping": "was ended by the clock (`max_minutes: 2`) after 30 of 239 steps"}
    assert "Give the training more time: it was ended by the clock" in told(**cut, **POOR)
    assert "more time" not in told(**cut)
    assert "more time" not in told(**POOR)


def test_a_kind_on_which_the_teacher_is_surely_better_is_named_though_the_whole_is_proven() -> None:
    whole = a_report()
    kinds = {
        "teacher": {"rare": KindScore(n=51, error=0.1, error_low=0.04, error_high=0.21)},
        "cascade": {"rare": KindScore(n=51, error=0.4, error_low=0.28, error_high=0.55)},
    }
    scores = {name: getattr(whole, name).model_copy(update={"kinds": found}) for name, found in kinds.items()}
    assert "of kind rare: on these 51 examples the cascade is wrong on 40%, the teacher on 10%" in told(**scores)
    assert "of kind" not in told(**{**scores, "teacher": scores["cascade"]})


def test_settling_that_did_harm_and_a_second_teacher_that_fails_are_pointed_at() -> None:
    one, worse = Interval(error=0.1, low=0, high=1), Difference(difference=0.02, low=0.01, high=0.03)
    doubted = Doubted(
        wanted="leave_out",
        rows=10,
        why={"unlikely": 3},
        helped=Helped(given=one, settled=one, settled_minus_given=worse),
        opinions=Opinions(teacher="other", asked=3, agreed=0, differed=1, failed=2, why="it is away"),
    )
    assert "treat them otherwise than `doubtful: leave_out`" in told(doubted=doubted)
    assert "no opinion on 2 of 3 answers. The first failure: it is away" in told(doubted=doubted)
    assert "second teacher" not in told()


def test_a_student_that_a_linear_model_surely_beats_is_to_learn_longer() -> None:
    good, same = Interval(error=0.02, low=0.01, high=0.05), Difference(difference=0, low=-0.01, high=0.01)
    helped = Helped(given=good, settled=good, settled_minus_given=same)
    doubted = Doubted(wanted="relabel", rows=10, why={}, helped=helped)
    assert "a linear model, which learns in seconds, errs on 2.0%" in told(doubted=doubted, **POOR)
    level = good.model_copy(update={"high": 0.5})
    doubted = doubted.model_copy(update={"helped": helped.model_copy(update={"settled": level})})
    assert "a linear model" not in told(doubted=doubted, **POOR)


def test_mistakes_leaks_and_a_missing_price_are_pointed_at() -> None:
    wrong = Mistake(question="q", truth="a", answer="b", confidence=-1, kind="", kept=True)
    assert "Read the worst mistakes" in told(mistakes=[wrong])
    assert "what leaked has proven nothing" in told(leaks=Leaks(near=1))
    assert "training_usd_per_hour" in told(training_usd_per_hour=None)
    teacher = a_report().teacher
    assert "`usage`" in told(teacher=teacher.model_copy(update={"usd_per_million": 0.0}))
    assert "`usage`" not in told(teacher=teacher.model_copy(update={"usd_per_million": 3.0}))
