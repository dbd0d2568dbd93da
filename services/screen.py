"""What people see in a terminal: the console, progress bars, the table of scores, errors in one line.

What is printed was written by anybody: names of keys, reasons, answers, what another service says.
"""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import grpc
import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from protos import events_pb2 as events
from services.errors import Overloaded

PICTURES: Final[dict[int, int]] = {
    **{code: 0x2400 + code for code in range(0x20) if chr(code) not in "\n\t"},
    0x7F: 0x2421,
    **dict.fromkeys(range(0x80, 0xA0), 0xFFFD),
}
"""What stands for a control character: a terminal would obey it."""


def visible(text: str) -> str:
    """The text without characters that a terminal obeys, but for line ends and tabs: they are shown instead."""
    return text.translate(PICTURES)


class Screen(Console):
    """Shows texts as they are, whoever wrote them: without markup, unless it is asked for, and control characters."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"soft_wrap": True, "markup": False, "emoji": False, **options})

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(visible(text), **options)

    def tell(self, what: str, why: str) -> None:
        """A line, and under it the whole reason, indented; that is wrapped, as no line behind a margin can run on."""
        self.print(what, highlight=False)
        if why:
            self.print(Padding.indent(Text(visible(why), overflow="fold"), 4), highlight=False, soft_wrap=False)


console: Final = Screen()
errors: Final = Screen(stderr=True)
NOT_ASKED: Final = 2
IS_IT_UP: Final = "; is it up? `tutelage up` starts a stack, --state names the folder of one that runs"
WHO: Final = ("teacher", "student", "cascade")
FATES: Final = ("kept", "relabelled", "down_weighted", "left_out")
UNKNOWN: Final = "\N{EN DASH}"
"""Stands for a figure that nobody took: imported answers come without their latency, and often without their price."""
TIGHT: Final[Mapping[str, Any]] = {"box": SIMPLE, "padding": (0, 1), "collapse_padding": True, "pad_edge": False}
"""Tables that fit into 80 columns."""


def progress(on: Console = console) -> Progress:
    """A bar with count, time gone and time left."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=on,
    )


@contextmanager
def clear_errors() -> Iterator[None]:
    """Errors that a user can mend end the command with one line, without a trace.

    The exit code is NOT_ASKED where a service, Kafka or ClickHouse could not be asked, else 1.
    """
    try:
        yield
    except grpc.RpcError as error:
        away = error.code() is grpc.StatusCode.UNAVAILABLE
        raise fail(f"{error.code().name}: {error.details()}", away) from error
    except Overloaded as error:
        raise fail(str(error), away=True) from error
    except (ValueError, KeyError, OSError) as error:
        raise fail(str(error.args[0] if isinstance(error, KeyError) else error)) from error


def fail(message: str, away: bool = False) -> typer.Exit:
    """Print the message as an error; raise what this returns. `away`: for nobody could be asked."""
    errors.print(f"[bold red]error[/] {escape(message)}{IS_IT_UP if away else ''}", markup=True, highlight=False)
    return typer.Exit(NOT_ASKED if away else 1)


def ask(question: str, yes: bool, nobody: str) -> None:
    """End the command unless a person agrees, or has said `yes` already. `nobody`: the error without a terminal."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise fail(nobody)
    typer.confirm(visible(question), abort=True)


def score_table(report: dict[str, Any], trained_on: str = "") -> Table:
    """Who answers how well, how fast and at what price, from report.json's object.

    `trained_on` may say more of the examples than their number, which is all that the report knows.
    """
    teachers = report.get("truth") == "teacher"
    proven_on = "of the teacher's answers set aside, which count as right" if teachers else "golden examples"
    title = f"{report['task']}: {report['golden']} {proven_on}, trained on {trained_on or report['train']}"
    heads = ("who", "error % [95 %]", "p50 / p99 ms", "$/million", "tokens", "to teacher")
    table = Table(title=title, **TIGHT)
    for head in heads:
        table.add_column(head, no_wrap=True, justify="left" if head == "who" else "right")
    for who, score in _rows(report):
        table.add_row(who, *_cells(score))
    return table


def _rows(report: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Who answered, with the scores: each candidate alone and in its cascade, where there were several."""
    several = report.get("candidates", [])
    if not several:
        yield from ((who, report[who]) for who in WHO)
        return
    yield "teacher", report["teacher"]
    by = "kind" if len({one["kind"] for one in several}) == len(several) else "name"
    for one in several:
        yield f"{one[by]}{' *' if one['name'] == report['chosen'] else ''}", one["student"]
        yield "  in cascade", one["cascade"]


def kind_table(report: dict[str, Any]) -> Table:
    """The error in % with its 95 % interval, for each kind of input, from report.json's object."""
    table = Table("kind", "examples", *WHO, title="error % by kind", **TIGHT)
    for kind, first in report[WHO[0]]["kinds"].items():
        table.add_row(kind or "-", str(first["n"]), *(_error(report[who]["kinds"][kind]) for who in WHO))
    return table


def pruning_text(report: dict[str, Any]) -> str:
    """What leaving out what all prompts have in common saves, in a line, from report.json's object; '' if nothing."""
    found = report.get("pruning")
    if not found:
        return ""
    tokens = f"{found['tokens_after']:,.0f} instead of {found['tokens_before']:,.0f} tokens a prompt"
    money = f"${found['usd_saved_per_million']:,.2f} less a million requests"
    told = f"{tokens}, {money}"
    if cost := found["cost"]:
        told += f", {_points(cost)}"
    return f"pruned prompts: {told}" if found["used"] else f"whole prompts; pruned ones, not chosen: {told}"


def doubts_text(report: dict[str, Any]) -> str:
    """What became of likely wrong answers, and whether it helped, in a line, from report.json's object; '' of none."""
    found = report.get("doubted")
    if not found or (not found["why"] and found.get("judged", True)):
        return ""
    if not found["why"]:
        return f"the {found['rows']:,} answers were looked at by validators alone: none else could judge them"
    fates = ", ".join(f"{found[fate]:,} {fate.replace('_', ' ')}" for fate in FATES if found[fate])
    told = f"{sum(found['why'].values()):,} of {found['rows']:,} answers are likely wrong: {fates}"
    if helped := found["helped"]:
        told += f"; that changes a linear student by {_points(helped['settled_minus_given'])}"
    return told


def _points(difference: dict[str, float]) -> str:
    points = [f"{100 * difference[end]:+.1f}" for end in ("difference", "low", "high")]
    return f"{points[0]} points of error [{points[1]}, {points[2]}]"


def _error(score: dict[str, Any]) -> str:
    return f"{score['error'] * 100:.1f} [{score['error_low'] * 100:.1f}, {score['error_high'] * 100:.1f}]"


def _cells(score: dict[str, Any]) -> tuple[str, ...]:
    return (
        _error(score),
        f"{score['p50_ms']:,.0f} / {score['p99_ms']:,.0f}" if score["p99_ms"] else UNKNOWN,
        f"{float(score['usd_per_million']):,.0f}" if score["usd_per_million"] else UNKNOWN,
        f"{score['prompt_tokens']:,.0f} + {score['completion_tokens']:,.0f}",
        f"{score['teacher_share']:.0%}",
    )


def policy_text(policy: events.Policy) -> str:
    """A policy in a word or two."""
    match policy.kind:
        case events.POLICY_KIND_SHARE:
            kinds = "".join(f", {kind} {share:.0%}" for kind, share in sorted(policy.share_of_kind.items()))
            sure = f" from confidence {policy.min_confidence:.3f}" if policy.min_confidence < 0 else ""
            return f"share {policy.share:.0%}{kinds} by the student{sure}"
        case events.POLICY_KIND_SHADOW:
            return f"teacher, the student unseen in {policy.share or 1:.0%}"
        case events.POLICY_KIND_CASCADE:
            return f"cascade from confidence {policy.min_confidence:.3f}"
        case events.POLICY_KIND_STUDENT_ONLY:
            return "student"
        case _:
            return "teacher"
