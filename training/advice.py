"""What whoever reads a report should do next; pure."""

from collections.abc import Iterator

from training.contract import Report
from training.verdict import MIN_GOLDEN_EXAMPLES, Verdict


def next_steps(report: Report, verdict: Verdict) -> list[str]:
    """One sentence or two each, what matters most first."""
    return [*_because_of(report, verdict), *_in_any_case(report)]


def _because_of(report: Report, verdict: Verdict) -> Iterator[str]:
    if verdict.way:
        yield (
            "Nothing has to be done: a controller that started this run serves the student as soon as it answers, "
            "unless a person decided otherwise since. "
            f"`tutelage rollback {report.task}` gives the traffic back."
        )
    elif report.truth == "teacher" and not report.teacher_proves:
        yield f"Let people decide some right answers, and add them with `tutelage golden {report.task} FILE`."
    elif report.golden < MIN_GOLDEN_EXAMPLES:
        yield f"Add golden examples with `tutelage golden {report.task} FILE`: {MIN_GOLDEN_EXAMPLES} at least."
    else:
        yield "The traffic stays where it is. The verdict names what would change that; then start another run."
    if not verdict.way and report.search and report.search.growth:
        yield f"Would more data help? {report.search.growth.answer}"


def _in_any_case(report: Report) -> Iterator[str]:
    if report.mistakes and report.truth == "people":
        yield (
            "Read the worst mistakes below. Where what counts as right is itself wrong, give the golden example again "
            "with the right answer: that is cheaper than any training."
        )
    if report.leaks.questions + report.leaks.near + report.leaks.groups:
        yield "Find out how golden examples came among the training rows: what leaked has proven nothing."
    if report.training_usd_per_hour is None:
        yield (
            "Say what an hour of the training machines costs, as `student.training_usd_per_hour` in the task's file, "
            "and the next report tells when training has paid off."
        )
