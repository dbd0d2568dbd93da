"""What the demo says of answers and of training is so."""

import io
import json
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from deploy.demo.addresses import Address
from deploy.demo.story import shown_answer, trained_on
from deploy.demo.training_progress import TrainingProgress
from protos import inference_pb2 as inference

ADDRESS = Address("12 Main St", {"number": "12", "street": "Main St"}, "osm", "customer-0001")


def answered(content: str) -> str:
    message = inference.Message(role=inference.ROLE_ASSISTANT, content=content)
    return "\n".join(shown_answer(ADDRESS, inference.Reply(message=message, student_version=1)))


def test_a_wrong_answer_is_marked_and_stands_beside_the_truth() -> None:
    assert "WRONG: the truth is " + ADDRESS.answer in answered('{"number":"12 Main","street":"St"}')
    assert "WRONG" not in answered('{"street": "Main St", "number": "12"}')


def test_the_caption_says_how_many_examples_were_seen_and_why_no_more() -> None:
    assert trained_on(3876, 3876, 0) == "3,876 of 3,876 examples"
    assert trained_on(2352, 3876, 12.0) == "2,352 of 3,876 examples, all that its 12 minutes allowed"


def progress_of(folder: Path, last_step: int, candidate: str = "") -> tuple[TrainingProgress, Progress]:
    lines = [
        {"stage": "train", "message": "started"},
        {"stage": "train", "step": last_step, "steps": 243, "loss": 0.2},
        {"stage": "merge", "message": "started"},
        {"stage": "evaluate", "done": 1, "total": 4},
        {"stage": "report", "message": "started"},
    ]
    output = folder / "task" / "a-run"
    if candidate:
        output = output / "candidates" / candidate
    output.mkdir(parents=True)
    told = [json.dumps(line | {"at": float(second)}) for second, line in enumerate(lines)]
    (output / "train.jsonl").write_text("".join(f"{line}\n" for line in told))
    bar = Progress(console=Console(file=io.StringIO()))
    shown = TrainingProgress(folder, "a-run", bar)
    shown.look()
    return shown, bar


def test_a_training_that_the_clock_has_ended_is_not_shown_as_whole(tmp_path: Path) -> None:
    shown, bar = progress_of(tmp_path, 147)
    assert shown.cut == {"": (147, 243)}
    done = {task.description: (task.completed, task.total) for task in bar.tasks}
    assert done["train"] == (147, 243)
    assert bar.tasks[0].fields["note"] == "147 of 243 steps, ended early"
    assert done["evaluate"] == (4, 4)


def test_a_training_that_went_to_its_end_is(tmp_path: Path) -> None:
    shown, bar = progress_of(tmp_path, 243)
    assert shown.cut == {}
    assert (bar.tasks[0].completed, bar.tasks[0].total) == (243, 243)


def test_which_of_several_students_the_clock_has_stopped_is_known(tmp_path: Path) -> None:
    shown, bar = progress_of(tmp_path, 147, "writer")
    assert shown.cut == {"writer": (147, 243)}
    assert bar.tasks[0].fields["note"] == "147 of 243 steps, ended early"
