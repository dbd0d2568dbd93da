import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protos import events_pb2 as events
from services.controller.verdict import judge, objection
from tests.services.controller.world import a_report, a_score, a_task
from training.contract import Difference, Interval, Leaks, Paired, Proof

CASCADE = events.Policy(kind=events.POLICY_KIND_CASCADE, min_confidence=-0.5)
STUDENT = events.Policy(kind=events.POLICY_KIND_STUDENT_ONLY)


def paired(student_high: float, cascade_high: float) -> Paired:
    def difference(high: float) -> Difference:
        return Difference(difference=high - 0.02, low=high - 0.04, high=high)

    return Paired(student_minus_teacher=difference(student_high), cascade_minus_teacher=difference(cascade_high))


def test_the_cascade_is_promoted_with_its_figures_as_the_reason() -> None:
    verdict = judge(a_report(), a_task())
    assert verdict.promote
    assert verdict.policy == CASCADE
    assert verdict.reason == (
        "cascade error 4.1 % [2.6, 6.2] under ceiling 9 % and not above teacher 11.2 % [8.4, 14.6] "
        "(paired difference -7.1 points [-9.6, -4.7]): promote"
    )


def a_proof(student: tuple[float, float, float], high: float = -0.04) -> Proof:
    error, low, upper = student
    bounds = Interval(error=error, low=low, high=upper)
    teacher = Interval(error=0.112, low=0.07, high=0.16)
    return Proof(look=2, level=0.9924, teacher=teacher, student=bounds, cascade=bounds, paired=paired(high, high))


def test_the_proof_decides_whatever_the_95_percent_intervals_say() -> None:
    better = a_score(0.05, 0.03, 0.08)
    report = a_report(student=better, cascade=better, proof=a_proof((0.05, 0.02, 0.0914)))
    verdict = judge(report, a_task())
    assert not verdict.promote
    assert "student alone: upper end 9.14 % is above the ceiling 9 %" in verdict.reason
    assert verdict.reason.endswith("; by 99.24 % intervals, as this is look 2 at the golden set")
    assert "is above the ceiling" in objection(report, a_task(), STUDENT)


def test_the_sentence_names_the_look_and_its_intervals() -> None:
    verdict = judge(a_report(proof=a_proof((0.031, 0.02, 0.046))), a_task())
    assert verdict.reason == (
        "student alone error 3.1 % [2, 4.6] under ceiling 9 % and not above teacher 11.2 % [7, 16] "
        "(paired difference -6 points [-8, -4]); by 99.24 % intervals, as this is look 2 at the golden set: promote"
    )


def test_where_no_people_have_a_say_the_sentences_name_the_teachers_answers_and_no_golden_set() -> None:
    teachers = a_task(proof="teacher")
    promoted = judge(a_report(truth="teacher", proof=a_proof((0.031, 0.02, 0.046))), teachers)
    assert promoted.reason == (
        "student alone is not what the teacher said on 3.1 % [2, 4.6], under ceiling 9 %; by 99.24 % intervals, "
        "as this is look 2 at the teacher's answers that are set aside: promote"
    )
    weak = a_report(truth="teacher", cascade=a_score(0.06, 0.04, 0.102, 0.19), leaks=Leaks(near=2))
    few = a_report(truth="teacher", golden=29)
    reasons = [judge(report, teachers).reason for report in (weak, few)]
    assert "about 980 of the teacher's answers set aside would prove it" in reasons[0]
    assert "2 of the teacher's answers set aside that were learnt from, too, had no say" in reasons[0]
    assert "29 of the teacher's answers set aside prove nothing: at least 30 are needed" in reasons[1]
    assert not any("golden" in reason for reason in (promoted.reason, *reasons))


def test_a_difference_that_may_be_above_the_teachers_at_this_look_is_not_promoted() -> None:
    assert not judge(a_report(proof=a_proof((0.031, 0.02, 0.046), high=0.001)), a_task()).promote


def test_leaked_examples_are_named() -> None:
    verdict = judge(a_report(leaks=Leaks(questions=1, near=2)), a_task())
    assert "3 golden examples that were learnt from, too, had no say" in verdict.reason


def test_a_student_that_is_good_enough_alone_is_promoted_alone() -> None:
    report = a_report(student=a_score(0.05, 0.03, 0.08), paired=paired(-0.01, -0.01))
    assert judge(report, a_task()).policy == STUDENT


def test_an_upper_end_on_the_ceiling_and_a_difference_that_ends_at_zero_are_good_enough() -> None:
    report = a_report(student=a_score(0.05, 0.03, 0.09), paired=paired(0.0, 0.0))
    assert judge(report, a_task()).promote


def test_an_interval_that_is_too_wide_asks_for_more_golden_examples() -> None:
    verdict = judge(a_report(golden=100, cascade=a_score(0.06, 0.03, 0.102, 0.2)), a_task())
    assert not verdict.promote
    assert verdict.policy.kind == events.POLICY_KIND_TEACHER_ONLY
    assert (
        "cascade: upper end 10.2 % is above the ceiling 9 %: 6 % was measured: about 196 golden examples"
        in verdict.reason
    )


def test_an_error_above_the_ceiling_asks_for_more_training() -> None:
    verdict = judge(a_report(cascade=a_score(0.12, 0.10, 0.14, 0.2)), a_task())
    assert "cascade: upper end 14 % is above the ceiling 9 %: more training examples" in verdict.reason


def test_a_student_under_the_ceiling_but_perhaps_worse_than_the_teacher_is_not_promoted() -> None:
    verdict = judge(a_report(paired=paired(0.02, 0.012)), a_task())
    assert not verdict.promote
    assert "cascade: paired difference to the teacher reaches 1.2 points, above 0" in verdict.reason


def test_a_cascade_that_asks_the_teacher_every_time_is_not_promoted() -> None:
    verdict = judge(a_report(cascade=a_score(0.04, 0.02, 0.06, teacher_share=1.0)), a_task())
    assert not verdict.promote
    assert "keeps no answer" in verdict.reason


def test_a_handful_of_golden_examples_proves_nothing() -> None:
    assert "at least 30" in judge(a_report(golden=29), a_task()).reason
    assert judge(a_report(golden=30), a_task()).promote


def test_agreement_with_the_teacher_promotes_only_a_task_that_takes_its_word() -> None:
    report = a_report(truth="teacher", paired=paired(0.02, 0.02))
    assert "accept them by `proof: teacher`" in judge(report, a_task()).reason
    accepted = judge(report, a_task(proof="teacher"))
    assert accepted.promote
    assert accepted.reason == "cascade is not what the teacher said on 4.1 % [2.6, 6.2], under ceiling 9 %: promote"
    assert not judge(a_report(truth="people", paired=paired(0.02, 0.02)), a_task(proof="teacher")).promote


def test_a_figure_that_is_no_number_never_promotes() -> None:
    broken = a_score(0.01, 0.0, math.nan, 0.2)
    assert not judge(a_report(student=broken, cascade=broken, paired=paired(-1, -1)), a_task()).promote
    assert not judge(a_report(paired=paired(math.nan, math.nan)), a_task()).promote


def test_a_report_supports_the_threshold_that_it_measured_and_no_other() -> None:
    assert objection(a_report(), a_task(), CASCADE) == ""
    bolder = events.Policy(kind=events.POLICY_KIND_CASCADE, min_confidence=-2)
    assert "was not measured" in objection(a_report(), a_task(), bolder)


def test_a_share_of_the_calls_needs_the_proof_of_the_student_alone() -> None:
    share = events.Policy(kind=events.POLICY_KIND_SHARE, share=0.05)
    assert "student alone: upper end 17.3 %" in objection(a_report(), a_task(), share)


def test_the_teacher_alone_needs_no_report() -> None:
    assert objection(a_report(), a_task(), events.Policy(kind=events.POLICY_KIND_TEACHER_ONLY)) == ""


shares = st.floats(0, 1)
differences = st.floats(-1, 1)


@st.composite
def reports(draw: st.DrawFn) -> Any:
    low, middle, high = sorted(draw(st.tuples(shares, shares, shares)))
    low2, middle2, high2 = sorted(draw(st.tuples(shares, shares, shares)))
    return a_report(
        golden=draw(st.integers(0, 5000)),
        student=a_score(middle, low, high),
        cascade=a_score(middle2, low2, high2, draw(shares)),
        paired=paired(draw(differences), draw(differences)),
    )


@given(reports())
def test_what_is_promoted_is_always_proven(report: Any) -> None:
    verdict = judge(report, a_task())
    if verdict.promote:
        alone = verdict.policy.kind == events.POLICY_KIND_STUDENT_ONLY
        score = report.student if alone else report.cascade
        difference = report.paired.student_minus_teacher if alone else report.paired.cascade_minus_teacher
        assert score.error_high <= 0.09
        assert difference.high <= 0
        assert report.golden >= 30
        assert objection(report, a_task(), verdict.policy) == ""


@given(reports())
def test_what_is_not_promoted_says_why_of_both_ways(report: Any) -> None:
    verdict = judge(report, a_task())
    assert verdict.promote or ("student alone: " in verdict.reason and "cascade: " in verdict.reason)


def test_a_share_that_is_a_cascade_needs_the_cascades_proof_and_one_without_the_students() -> None:
    report = a_report()  # The cascade is good enough, the student alone is not.
    share = events.Policy(kind=events.POLICY_KIND_SHARE, share=0.1, min_confidence=-0.5)
    assert objection(report, a_task(), share) == ""
    share.min_confidence = -0.7
    assert "was not measured" in objection(report, a_task(), share)
    share.min_confidence = 0.0
    assert objection(report, a_task(), share).startswith("student alone")


def test_a_student_that_nobody_hears_needs_no_proof() -> None:
    assert objection(a_report(), a_task(), events.Policy(kind=events.POLICY_KIND_SHADOW)) == ""


@pytest.mark.parametrize(
    "kind", [events.POLICY_KIND_STUDENT_ONLY, events.POLICY_KIND_SHARE, events.POLICY_KIND_CASCADE]
)
def test_a_perfect_student_supports_every_policy(kind: "events.PolicyKind") -> None:
    perfect = a_score(0.0, 0.0, 0.01, 0.0)
    report = a_report(student=perfect, cascade=perfect, paired=paired(-0.05, -0.05))
    assert objection(report, a_task(), events.Policy(kind=kind, min_confidence=-0.5)) == ""
