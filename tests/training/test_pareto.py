from hypothesis import given
from hypothesis import strategies as st

from tests.services.controller.world import a_report, a_score
from training import pareto
from training.contract import Amount, Candidate, Report, ThresholdRow

figures = st.integers(0, 20).map(float)
clouds = st.lists(st.tuples(figures, figures), min_size=1, max_size=12)


def beats(one: tuple[float, float], other: tuple[float, float]) -> bool:
    return one != other and one[0] <= other[0] and one[1] <= other[1]


@given(clouds)
def test_nothing_beats_what_is_on_the_front_and_something_on_it_beats_all_else(
    points: list[tuple[float, float]],
) -> None:
    front = pareto.front(points)
    assert front
    for index, point in enumerate(points):
        beaten = any(beats(points[other], point) for other in front)
        assert beaten == (index not in front)


@given(clouds)
def test_along_the_front_the_first_respect_rises_and_the_second_falls(points: list[tuple[float, float]]) -> None:
    ordered = [points[index] for index in pareto.front(points)]
    assert ordered == sorted(ordered)
    assert [y for _, y in ordered] == sorted((y for _, y in ordered), reverse=True)


def a_candidate(name: str) -> Candidate:
    return Candidate(
        name=name,
        kind="tagger",
        base_model="tiny",
        engine="encoder",
        train=9,
        left_out={},
        threshold=-1,
        student=a_score(0.2, 0.1, 0.3),
        cascade=a_score(0.1, 0.0, 0.2, 0.5),
        on_eval=ThresholdRow(threshold=-1, kept=0.5, error=0.1, error_se=0.01),
        seconds=1,
    )


def test_all_candidates_are_options_alone_and_in_their_cascades_the_chosen_one_first() -> None:
    report = a_report(candidates=[a_candidate("small"), a_candidate("large")], chosen="large")
    found = pareto.options(report)
    assert [(one.number, one.name, one.chosen) for one in found] == [
        (1, "the teacher", True),
        (2, "large alone", True),
        (3, "large in a cascade", True),
        (4, "small alone", False),
        (5, "small in a cascade", False),
    ]


def priced(usd: float, ms: float, error: float) -> dict[str, object]:
    return {"error": error, "cost": Amount(value=usd), "mean_ms": Amount(value=ms)}


def test_the_fronts_of_cost_and_time_may_differ() -> None:
    whole = a_report()
    report: Report = whole.model_copy(
        update={
            "teacher": whole.teacher.model_copy(update=priced(100, 1000, 0.1)),
            "student": whole.student.model_copy(update=priced(1, 2000, 0.2)),
            "cascade": whole.cascade.model_copy(update=priced(50, 1500, 0.05)),
        }
    )
    options = pareto.options(report)
    assert [one.how for one in pareto.by_cost(options)] == ["student", "cascade"]
    assert [one.how for one in pareto.by_latency(options)] == ["teacher", "cascade"]


def test_where_the_log_had_no_costs_or_times_of_the_teacher_who_asks_it_is_compared_with_nobody() -> None:
    nothing = a_score(0.05, 0.0, 0.1, 1.0).model_copy(update={"usd_per_million": 0.0, "p50_ms": 0.0, "p99_ms": 0.0})
    known, unknown = (pareto.options(a_report(**teacher)) for teacher in ({}, {"teacher": nothing}))
    assert (pareto.priced(known), pareto.timed(known)) == (known, known)
    alone = [one for one in unknown if one.how == "student"]
    assert pareto.priced(unknown) == pareto.timed(unknown) == alone
    assert pareto.by_cost(unknown) == pareto.by_latency(unknown) == alone
