"""The table of scores shows what was measured, and says where nothing was."""

import io
from typing import Any

from rich.console import Console

from services.screen import UNKNOWN, score_table

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
