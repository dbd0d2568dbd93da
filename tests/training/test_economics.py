import math
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.services.controller.world import a_report
from training import economics
from training.contract import Amount, Report


def a_run(saved: Amount, **changes: Any) -> Report:
    """Half an hour of training at two dollars an hour, four thousand requests a day."""
    whole = a_report(
        **{"seconds": {"train": 1500.0, "evaluate": 300.0}, "training_usd_per_hour": "2", "requests_per_day": 4_000}
        | changes
    )
    return whole.model_copy(update={"cascade": whole.cascade.model_copy(update={"saved": saved})})


def of_the_cascade(report: Report) -> economics.Saving:
    return next(one for one in economics.economics(report).savings if one.name == "cascade")


def test_training_has_paid_off_when_what_a_day_saves_has_added_up_to_its_cost() -> None:
    report = a_run(Amount(value=500, low=250, high=1000))  # 2 dollars a day, from 1 to 4
    assert economics.economics(report).usd == pytest.approx(1.0)
    found = of_the_cascade(report)
    assert found.per_day == Amount(value=2, low=1, high=4)
    assert found.days == Amount(value=0.5, low=0.25, high=1)


def test_what_saves_nothing_never_pays_off() -> None:
    assert of_the_cascade(a_run(Amount(value=-1))).days == Amount(value=math.inf)
    perhaps = of_the_cascade(a_run(Amount(value=250, low=-250, high=500)))
    assert perhaps.days == Amount(value=1, low=0.5, high=math.inf)


def test_without_a_price_there_is_no_cost_and_without_traffic_no_day() -> None:
    unpriced = economics.economics(a_run(Amount(value=500), training_usd_per_hour=None))
    assert unpriced.usd is None
    assert [one.days for one in unpriced.savings] == [None, None]
    assert unpriced.savings[1].per_day == Amount(value=2)
    idle = of_the_cascade(a_run(Amount(value=500), requests_per_day=0.0))
    assert (idle.per_day, idle.days) == (None, None)


def test_a_report_from_before_savings_were_measured_has_the_difference_of_the_costs() -> None:
    whole = a_report(requests_per_day=1_000_000.0)
    dear = whole.model_copy(update={"teacher": whole.teacher.model_copy(update={"usd_per_million": 101.0})})
    assert [one.per_day for one in economics.economics(dear).savings] == [Amount(value=100), Amount(value=100)]


@given(st.floats(0.01, 1e6), st.floats(-1e3, 1e6), st.floats(0, 1e3), st.floats(0, 1e3))
def test_the_days_lie_within_their_bounds(usd: float, saved: float, less: float, more: float) -> None:
    found = economics.break_even_days(usd, Amount(value=saved, low=saved - less, high=saved + more))
    assert found.low is not None
    assert found.high is not None
    assert 0 <= found.low <= found.value <= found.high
    assert math.isinf(found.value) or saved > 0


def test_training_that_costs_nothing_has_paid_off_at_once() -> None:
    assert economics.break_even_days(economics.cost(60, Decimal(0)) or 0.0, Amount(value=1)).value == 0
