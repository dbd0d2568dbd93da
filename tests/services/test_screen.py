"""The table of scores shows what was measured, and says where nothing was."""

import io
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.table import Table

from protos import events_pb2 as events
from services.screen import TIGHT, UNKNOWN, Screen, doubts_text, policy_text, pruning_text, score_table

SCORE = {
    "error": 0.1,
    "error_low": 0.05,
    "error_high": 0.2,
    "p50_ms": 400.0,
    "p99_ms": 900.0,
    "usd_per_million": 2.0,
    "prompt_tokens": 18.0,
    "completion_tokens": 33.0,
    "teacher_share": 0.0,
}


def shown(report: dict[str, Any], **more: str) -> str:
    console = Console(file=(out := io.StringIO()), width=80)
    console.print(score_table({"task": "t", "golden": 5, "train": 2352, **report}, **more))
    return out.getvalue()


def test_imported_answers_have_no_latency() -> None:
    told = shown({"teacher": SCORE | {"p50_ms": 0.0, "p99_ms": 0.0}, "student": SCORE, "cascade": SCORE})
    lines = {line.split()[0]: line for line in told.splitlines() if line.strip()}
    assert f" {UNKNOWN} " in lines["teacher"]
    assert "0 / 0" not in lines["teacher"]
    assert "400 / 900" in lines["student"]


def test_the_caption_can_say_why_no_more_examples_were_seen() -> None:
    scores = dict.fromkeys(("teacher", "student", "cascade"), SCORE)
    assert "trained on 2352" in shown(scores)
    assert "trained on 2,352 of 3,876" in " ".join(shown(scores, trained_on="2,352 of 3,876 examples").split())


def test_the_caption_counts_no_golden_examples_where_there_are_none() -> None:
    scores = dict.fromkeys(("teacher", "student", "cascade"), SCORE)
    told = " ".join(shown({**scores, "truth": "teacher"}).split())
    assert "5 of the teacher's answers set aside, which count as right, trained on 2352" in told


def first_words(report: dict[str, Any]) -> list[str]:
    return [row.partition("10.0")[0].strip() for row in shown(report).splitlines() if "10.0" in row]


def test_one_student_has_a_row_alone_and_one_with_its_teacher() -> None:
    assert first_words(dict.fromkeys(("teacher", "student", "cascade"), SCORE)) == ["teacher", "student", "cascade"]


def test_every_candidate_has_its_rows_and_the_chosen_one_a_star() -> None:
    several = [
        {"name": name, "kind": kind, "student": SCORE, "cascade": SCORE}
        for name, kind in (("small", "tagger"), ("large", "causal"))
    ]
    words = first_words({"teacher": SCORE, "candidates": several, "chosen": "small"})
    assert words == ["teacher", "tagger *", "in cascade", "causal", "in cascade"]


def test_candidates_of_one_kind_are_told_apart_by_their_names() -> None:
    several = [{"name": name, "kind": "causal", "student": SCORE, "cascade": SCORE} for name in ("small", "large")]
    words = first_words({"teacher": SCORE, "candidates": several, "chosen": "large"})
    assert words == ["teacher", "small", "in cascade", "large *", "in cascade"]


def test_what_pruning_saves_is_told_in_a_line() -> None:
    found = {"tokens_before": 312.4, "tokens_after": 20.6, "usd_saved_per_million": 5.836, "cost": None, "used": True}
    saved = "21 instead of 312 tokens a prompt, $5.84 less a million requests"
    assert pruning_text({"pruning": found}) == f"pruned prompts: {saved}"
    cost = {"difference": 0.031, "low": -0.004, "high": 0.07}
    told = pruning_text({"pruning": {**found, "cost": cost, "used": False}})
    assert told == f"whole prompts; pruned ones, not chosen: {saved}, +3.1 points of error [-0.4, +7.0]"
    assert pruning_text({"pruning": None}) == pruning_text({}) == ""


def test_what_became_of_likely_wrong_answers_is_told_in_a_line() -> None:
    fates = {"kept": 0, "relabelled": 1040, "left_out": 12, "down_weighted": 0}
    found = {"rows": 9000, "why": {"refused": 40, "doubted": 1012}, **fates, "helped": None}
    told = "1,052 of 9,000 answers are likely wrong: 1,040 relabelled, 12 left out"
    assert doubts_text({"doubted": found}) == told
    helped = {"settled_minus_given": {"difference": -0.031, "low": -0.05, "high": -0.012}}
    points = "-3.1 points of error [-5.0, -1.2]"
    assert doubts_text({"doubted": found | {"helped": helped}}) == f"{told}; that changes a linear student by {points}"
    assert doubts_text({"doubted": found | {"why": {}}}) == doubts_text({"doubted": None}) == doubts_text({}) == ""


def test_a_policy_is_told_with_what_it_shares() -> None:
    share = events.Policy(kind=events.POLICY_KIND_SHARE, share=0.25, share_of_kind={"osm": 1.0}, min_confidence=-0.5)
    assert policy_text(share) == "share 25%, osm 100% by the student from confidence -0.500"
    assert policy_text(events.Policy(kind=events.POLICY_KIND_SHADOW)) == "teacher, the student unseen in 100%"
    assert policy_text(events.Policy(kind=events.POLICY_KIND_SHADOW, share=0.05)) == "teacher, the student unseen in 5%"


ANYBODYS = "[/nope] [red]k[/] :smile: \x1b[2J\x00\x9b1m\x7f\rend"
SHOWN = "[/nope] [red]k[/] :smile: \u241b[2J\u2400\ufffd1m\u2421\u240dend"


def test_what_anybody_wrote_is_shown_as_it_is_and_no_terminal_obeys_it() -> None:
    table = Table(ANYBODYS, title=ANYBODYS, **TIGHT)
    table.add_row(ANYBODYS)
    for what, times in ((ANYBODYS, 1), (Padding(ANYBODYS, 1), 1), (table, 3)):
        screen = Screen(file=(out := io.StringIO()), width=100, force_terminal=True, no_color=True, highlight=False)
        screen.print(what)
        plain = out.getvalue().replace("\x1b[1m", "").replace("\x1b[3m", "").replace("\x1b[0m", "")
        assert plain.count(SHOWN) == times
        assert "\x1b" not in plain


def test_lines_and_tabs_stay_and_markup_is_there_for_who_asks() -> None:
    screen = Screen(file=(out := io.StringIO()), width=100)
    screen.print("a\nb\tc")
    screen.print("[red]d[/]", markup=True)
    assert out.getvalue().split() == ["a", "b", "c", "d"]
