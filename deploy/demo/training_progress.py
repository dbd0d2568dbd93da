"""A run's progress lines on the screen: bars in a terminal, lines of text in a log or a pipe."""

import json
import time
from pathlib import Path
from typing import Any, Final

from rich.progress import Progress, TaskID

TELL_EVERY_S: Final = 20.0


class TrainingProgress:
    """Shows what a run, and each of its candidates, writes to its train.jsonl, wherever below `runs_dir` that is."""

    def __init__(self, runs_dir: Path, run_id: str, bar: Progress) -> None:
        self._runs_dir = runs_dir
        self._logs = (f"**/{run_id}/train.jsonl", f"**/{run_id}/candidates/*/train.jsonl")
        self._bar = bar
        self._shown: dict[str, TaskID] = {}
        self._read: dict[Path, int] = {}
        self._told = ("", 0.0)
        self.cut: dict[str, tuple[int, int]] = {}
        """By candidate, '' where there is but one student: the steps done and planned of trainings that ended early."""

    def look(self) -> None:
        """Show what was written since the last look."""
        for line in self._fresh():
            if line["stage"].endswith("done"):
                continue
            self._show(line)
            if not self._bar.console.is_terminal:
                self._tell(line)

    def _fresh(self) -> list[dict[str, Any]]:
        logs = [path for pattern in self._logs for path in self._runs_dir.glob(pattern)]
        lines = [line for path in logs for line in self._fresh_of(path)]
        return sorted(lines, key=lambda line: float(line["at"]))

    def _fresh_of(self, path: Path) -> list[dict[str, Any]]:
        read = self._read.get(path, 0)
        with path.open("rb") as file:
            file.seek(read)
            whole, _, _torn = file.read().rpartition(b"\n")
        self._read[path] = read + (len(whole) + 1 if whole else 0)
        name = f"{path.parent.name}: " if path.parent.parent.name == "candidates" else ""
        return [line | {"stage": name + line["stage"]} for line in map(json.loads, whole.splitlines())]

    def _end(self, stage: str, shown: TaskID) -> None:
        """Another stage has begun: this one's bar is whole, but for a training that ended early."""
        done, whole = self._bar.tasks[shown].completed, self._bar.tasks[shown].total or 1.0
        candidate, _, step = stage.rpartition(": ")
        if step == "train" and 0 < done < whole:
            self.cut[candidate] = int(done), int(whole)
            self._bar.stop_task(shown)
            self._bar.update(shown, note=f"{done:.0f} of {whole:.0f} steps, ended early")
        else:
            self._bar.update(shown, total=whole, completed=whole)

    def _show(self, line: dict[str, Any]) -> None:
        stage = line["stage"]
        if stage not in self._shown:
            for name, ended in self._shown.items():
                self._end(name, ended)
            self._shown[stage] = self._bar.add_task(stage, total=None, note="")
        if total := line.get("steps") or line.get("total"):
            self._bar.update(self._shown[stage], completed=line.get("step") or line.get("done") or 0, total=total)
        self._bar.update(self._shown[stage], note=_notes(line))

    def _tell(self, line: dict[str, Any]) -> None:
        stage, now = line["stage"], time.monotonic()
        if stage != self._told[0] or now > self._told[1] + TELL_EVERY_S:
            self._told = (stage, now)
            done, of = line.get("step") or line.get("done"), line.get("steps") or line.get("total")
            self._bar.console.print(f"{stage} {f'{done} of {of}' if done else ''} {_notes(line)}", highlight=False)


def _notes(line: dict[str, Any]) -> str:
    figures = {"loss {:.3f}": "loss", "{:.0f} tokens/s": "tokens_per_s", "{:.0f} s left": "eta_s"}
    notes = [text.format(line[name]) for text, name in figures.items() if line.get(name) is not None]
    return ", ".join(notes) or str(line.get("message", ""))
