import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

from deploy.demo.training_progress import TrainingProgress


def write(folder: Path, *lines: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "train.jsonl").open("a") as log:
        log.write("".join(f"{json.dumps(line)}\n" for line in lines))


def test_each_line_of_the_run_and_of_its_candidates_is_told_once_and_in_order(tmp_path: Path) -> None:
    console = Console(width=100, force_terminal=False)
    run = tmp_path / "addresses" / "run-1"
    with console.capture() as capture, Progress(console=console, disable=True) as bar:
        shown = TrainingProgress(tmp_path, "run-1", bar)
        shown.look()  # nothing is there yet
        write(run, {"stage": "train", "at": 1.0, "message": "tagger, 1 of 2"})
        write(run / "candidates" / "tagger", {"stage": "train", "at": 2.0, "step": 3, "steps": 9, "loss": 0.5})
        shown.look()
        write(
            run / "candidates" / "tagger",
            {"stage": "export", "at": 3.0, "message": "started"},
            {"stage": "done", "at": 4.0},
        )
        write(run, {"stage": "report", "at": 5.0, "message": "tagger, because it is better"})
        shown.look()
        shown.look()
    told = [line.strip() for line in capture.get().splitlines()]
    assert told == [
        "train  tagger, 1 of 2",
        "tagger: train 3 of 9 loss 0.500",
        "tagger: export  started",
        "report  tagger, because it is better",
    ]
