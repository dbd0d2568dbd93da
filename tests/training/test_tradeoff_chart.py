"""The charts of error against cost and time, as far as a number on them can be read."""

from matplotlib.figure import Figure

from tests.services.controller.world import a_report, a_score
from training import pareto, tradeoff_chart
from training.contract import Amount


def test_points_in_one_place_share_their_number_and_others_have_their_own() -> None:
    alone = a_score(0.1, 0.05, 0.15)
    report = a_report(teacher=a_score(0.2, 0.1, 0.3), student=alone, cascade=alone)
    found = pareto.options(report)
    axes = Figure().subplots()
    tradeoff_chart.draw(axes, found, found, lambda one: Amount(value=1000 if one.how == "teacher" else 10), 0.5)
    assert [text.get_text() for text in axes.texts] == ["1", "2, 3", "ceiling"]
