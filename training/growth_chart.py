"""The chart of held-out loss by data size, with the law that foretells what more data would bring."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, NullFormatter

from training.contract import Growth

COLOUR = "#2563eb"  # the student's


def draw(axes: Axes, growth: Growth) -> None:
    """The points with their errors, the loss foretold at twice the data beside them."""
    sizes = np.array([point.examples for point in growth.points])
    losses = np.array([point.eval_loss for point in growth.points])
    errors = [2 * point.standard_error for point in growth.points]
    axes.errorbar(sizes, losses, yerr=errors, color=COLOUR, marker="o", capsize=4, label="learned from so many")
    if growth.twice_loss is not None:
        ahead = [sizes[-1], 2 * sizes[-1]], [losses[-1], growth.twice_loss]
        axes.plot(*ahead, "--", color=COLOUR, marker="o", markerfacecolor="none", label="foretold")
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda count, _: f"{count:,.10g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_ylim(bottom=0)
    axes.set(xlabel="examples", ylabel="held-out loss, nats a token")
    axes.legend()
