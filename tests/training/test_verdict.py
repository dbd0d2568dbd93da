"""The rule as reports show it; what the controller makes of it is told in its own tests."""

from services.controller import verdict as controllers
from tests.services.controller.world import a_report, a_score, a_task
from training import verdict
from training.verdict import Rule


def test_a_report_is_judged_by_the_rule_of_its_own_job() -> None:
    report = a_report()
    assert verdict.judge(report, Rule.of(report)).way == "cascade"
    strict = report.model_copy(update={"error_ceiling": 0.05})
    assert verdict.judge(strict, Rule.of(strict)).way is None


def test_agreement_with_the_teacher_is_enough_only_where_the_job_says_so() -> None:
    agreed = a_report(truth="teacher")
    assert verdict.judge(agreed, Rule.of(agreed)).way is None
    taken = agreed.model_copy(update={"teacher_proves": True})
    assert verdict.judge(taken, Rule.of(taken)).way == "cascade"


def test_the_page_and_the_controller_give_the_same_reason() -> None:
    for student in (a_score(0.04, 0.02, 0.06), a_score(0.2, 0.15, 0.25)):
        report = a_report(student=student)
        assert verdict.judge(report, Rule.of(report)).reason == controllers.judge(report, a_task()).reason


def test_a_way_that_is_not_supported_is_named_with_its_figures() -> None:
    report = a_report()
    assert verdict.objection(report, Rule.of(report), "cascade") == ""
    assert verdict.objection(report, Rule.of(report), "student").startswith("student alone: upper end 17.3 %")
