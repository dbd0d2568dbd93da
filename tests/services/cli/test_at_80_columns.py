"""What is printed keeps every heading, figure and reason in 80 columns, which is also what a pipe or a log has."""

import io
from dataclasses import replace

import pytest
from rich.console import RenderableType

from services.audit import Account, Audit
from services.audit.arithmetic import Course
from services.audit.graves import Grave
from services.audit.letters import Letter, Spot
from services.cli import audit_text, dead_letters
from services.screen import Screen

SOURCE = "01a1fe16-d912-7194-bd4b-4bdd2e300cbf"
LARGE = Account(
    SOURCE, answered=16_000_000, acknowledged=15_999_999, stored=15_999_000, in_flight=12_345, dead=6_789, missing=987
)


def printed(*what: RenderableType) -> list[str]:
    shown = io.StringIO()
    screen = Screen(file=shown, width=80)
    for one in what:
        screen.print(one, markup=True, highlight=False)
    return shown.getvalue().splitlines()


@pytest.mark.parametrize("read", [True, False])
def test_the_audit_cuts_no_figure_and_no_heading(read: bool) -> None:
    found = Audit([LARGE], LARGE)
    lines = printed(*audit_text.table(found, {SOURCE: 15_990_000}, read, all_=False))
    assert max(map(len, lines)) <= 80
    upper, lower, _, source, figures, total, sums = lines
    heads = ["answered", "on", "Kafka", "stored", "in", "flight", "dead", "letters", "missing", "oldest", "s"]
    heads += ["read", "back"] * read
    assert sorted([*upper.split(), *lower.split()]) == sorted(heads)
    assert source == f"{SOURCE} open"
    read_back = ["15,990,000"] if read else []
    expected = ["16,000,000", "15,999,999", *read_back, "15,999,000", "12,345", "6,789", "987", "-"]
    assert figures.split() == expected
    assert (total, sums.split()) == ("1 sources", expected)


def test_the_audit_leaves_out_sources_that_ended_whole() -> None:
    whole = Account("whole", answered=1, acknowledged=1, stored=1, course=Course.ENDED)
    found = Audit([LARGE, whole], LARGE)
    assert not any("whole" in line for line in printed(*audit_text.table(found, {}, read=False, all_=False)))
    assert any("whole ended" in line for line in printed(*audit_text.table(found, {}, read=False, all_=True)))


def test_a_dead_letters_reason_is_there() -> None:
    reason = "INSERT refused: cost_usd '99999999999999' is out of the range of [Decimal(18, 8)], column 14"
    letter = Letter(
        Spot(3, 1_234_567), "exchanges", 2, 7_654_321, reason, 1_795_264_289_738, 1_048_576, None, left=True
    )
    other = replace(letter, spot=Spot(0, 5), reason="its candidate has 9,999,999 bytes", by="sampler")
    lines = printed(dead_letters.table([Grave([replace(letter, by="sink"), other], sent_back=True)]))
    assert max(map(len, lines)) <= 80
    words = " ".join(" ".join(lines).split())
    for said in (
        "3:1234567",
        "exchanges 2:7654321",
        "2026-11-21 12:31:29",
        "1,048,576 bytes",
        "left there",
        "sent back",
    ):
        assert said in words
    assert f"sink: {reason}" in words
    assert "sampler: its candidate has 9,999,999 bytes" in words
