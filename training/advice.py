"""What whoever reads a report should do next; pure."""

from collections.abc import Iterator

from training.contract import Report
from training.verdict import MIN_GOLDEN_EXAMPLES, Verdict, WayName


def next_steps(report: Report, verdict: Verdict) -> list[str]:
    """One sentence or two each, what matters most first."""
    return [*_because_of(report, verdict), *_of_doubtful_answers(report), *_in_any_case(report)]


def _because_of(report: Report, verdict: Verdict) -> Iterator[str]:
    if verdict.way:
        yield (
            "Nothing has to be done: a controller that started this run serves the student as soon as it answers, "
            "unless a person decided otherwise since. "
            f"`tutelage rollback {report.task}` gives the traffic back."
        )
        yield from _worse_on_a_kind(report, verdict.way)
    elif report.truth == "teacher" and not report.teacher_proves:
        yield f"Let people decide some right answers, and add them with `tutelage golden {report.task} FILE`."
    elif report.golden < MIN_GOLDEN_EXAMPLES:
        yield f"Add golden examples with `tutelage golden {report.task} FILE`: {MIN_GOLDEN_EXAMPLES} at least."
    else:
        yield "The traffic stays where it is. The verdict names what would change that; then start another run."
    if not verdict.way and report.cut_short:
        yield f"Give the training more time: it {report.stopping}."
    if not verdict.way and report.search and report.search.growth:
        yield f"Would more data help? {report.search.growth.answer}"


def _worse_on_a_kind(report: Report, way: WayName) -> Iterator[str]:
    """Kinds of requests for which the proof of the whole hides that the teacher is better."""
    name, score = ("the cascade", report.cascade) if way == "cascade" else ("the student alone", report.student)
    for kind, found in score.kinds.items():
        teachers = report.teacher.kinds.get(kind)
        if teachers and found.error_low > teachers.error_high:
            yield (
                f"Think of the requests of kind {kind or '(none)'}: on these {found.n} examples {name} is wrong on "
                f"{found.error:.0%}, the teacher on {teachers.error:.0%}, and that is no chance. If they matter more "
                "than their number says, teach more of them, or give them a task of their own."
            )


def _of_doubtful_answers(report: Report) -> Iterator[str]:
    doubted = report.doubted
    if doubted and doubted.helped and doubted.helped.settled_minus_given.low > 0:
        yield (
            f"Keep the doubtful answers, or treat them otherwise than `doubtful: {doubted.wanted}`: a linear student "
            "errs more for it, and that is no chance."
        )
    if doubted and doubted.helped and doubted.helped.settled.high < report.student.error_low:
        yield (
            f"Have the student learn longer, or with other settings: a linear model, which learns in seconds, errs on "
            f"{doubted.helped.settled.error:.1%} of the same questions, so the answers can be learnt."
        )
    if doubted and doubted.opinions and doubted.opinions.failed:
        yield (
            f"Look after the second teacher: it gave no opinion on {doubted.opinions.failed} of "
            f"{doubted.opinions.asked} answers. The first failure: {doubted.opinions.why}"
        )


def _in_any_case(report: Report) -> Iterator[str]:
    if report.mistakes and report.truth == "people":
        yield (
            "Read the worst mistakes below. Where what counts as right is itself wrong, give the golden example again "
            "with the right answer: that is cheaper than any training."
        )
    if not report.teacher.usd_per_million:
        yield (
            "Take nothing from the money in this report: what was logged names neither tokens (`usage`) nor cost of "
            "the teacher's answers, so that they count as free. Import a log that does."
        )
    if report.leaks.questions + report.leaks.near + report.leaks.groups:
        yield "Find out how golden examples came among the training rows: what leaked has proven nothing."
    if report.training_usd_per_hour is None:
        yield (
            "Say what an hour of the training machines costs, as `student.training_usd_per_hour` in the task's file, "
            "and the next report tells when training has paid off."
        )
