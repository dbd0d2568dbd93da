"""How far a training is told to be, from what it wrote."""

import json
from pathlib import Path
from typing import Any

from services.controller.progress import how_far


def write(folder: Path, *lines: dict[str, Any], torn: str = "") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "train.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + torn)


def test_before_anything_was_written_nothing_is_told(tmp_path: Path) -> None:
    assert how_far(tmp_path) == ""
    write(tmp_path, torn='{"stage": "tra')
    assert how_far(tmp_path) == ""


def test_the_last_whole_line_of_the_candidate_that_wrote_last_is_told(tmp_path: Path) -> None:
    write(tmp_path, {"stage": "settle", "at": 1.0, "message": "900 answers are looked at"})
    assert how_far(tmp_path) == "settle, 900 answers are looked at"
    write(tmp_path / "candidates" / "tagger", {"stage": "train", "at": 2.0, "step": 40, "steps": 80, "eta_s": 31.4})
    assert how_far(tmp_path) == "tagger: train 40 of 80 steps, about 31 s left"
    write(tmp_path / "candidates" / "causal", {"stage": "evaluate", "at": 3.0, "done": 5, "total": 200}, torn='{"st')
    assert how_far(tmp_path) == "causal: evaluate 5 of 200"
