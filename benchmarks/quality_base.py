"""The writing base model as it is, untuned, as a contestant of benchmarks.student_quality.

SmolLM2-135M-Instruct is told what to do in its own chat template, shown answered examples, and read leniently: the
first JSON object that it writes, or the first label. It answers through the engine and in the precision (int8) that
serve a student.
"""

from pathlib import Path
from typing import Any, Final

from transformers import AutoTokenizer

from benchmarks.quality_reading import Messages, messages
from benchmarks.quality_task import Answers, Splits, Task
from training import answers, base, export
from training.causal import Causal
from training.config import Config, resolve

WRITER: Final = "smollm2-135m-cpu"


def untuned(task: Task, splits: Splits, most: int, directory: Path) -> Answers:
    """Its answers to the first `most` golden examples, as the task reads them."""
    config = resolve({"from": WRITER})
    template = AutoTokenizer.from_pretrained(base.fetch(config))
    shown = splits.train[: task.shots]
    asked = [_prompt(template, messages(task, shown, one)) for one in splits.golden[:most]]
    said = answers.engine("openvino", _exported(config, directory), task.max_tokens).answers(asked, lambda _: None)
    return [task.read(splits.train, answer.text) for answer in said]


def _prompt(template: Any, told: Messages) -> str:
    return str(template.apply_chat_template(told, tokenize=False, add_generation_prompt=True))


def _exported(config: Config, directory: Path) -> Path:
    """The base as a student's output directory; made once."""
    output = directory / "untuned"
    if not (output / "triton").is_dir():
        output.mkdir(parents=True, exist_ok=True)
        (output / "model").unlink(missing_ok=True)
        (output / "model").symlink_to(Path(base.fetch(config)).absolute(), target_is_directory=True)
        export.triton_version(config, Causal(config), output / "model", 128, output)
    return output
