"""A dataset whose prompts lack what they all have in common, and what that saves.

The rule is found in the training split alone, and is part of the student's version from then on: `pruned/rule.json`
here, `student.json` where it is served. Prompts of another make stay as they are in what judges the student, which is
hard on it: in serving it refuses them, so that the teacher answers.
"""

import shutil
import tempfile
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
from tokenizers import Tokenizer

from services import pruning
from services.pruning import Rule
from training import data
from training.contract import Job, Pruning

FOLDER = "pruned"


def job(asked: Job) -> Job:
    """The job on pruned prompts, which are written below its output; the job as it is where nothing can be pruned."""
    target = asked.output / FOLDER
    if not (target / "train.parquet").is_file():
        part = Path(tempfile.mkdtemp(dir=asked.output))
        _write(asked.dataset, part)
        shutil.rmtree(target, ignore_errors=True)
        part.rename(target)
    return asked.model_copy(update={"dataset": target}) if rule(asked.output) else asked


def rule(output: Path) -> Rule | None:
    """What the student in `output` does not read; None where it reads all."""
    written = output / FOLDER / "rule.json"
    return Rule.model_validate_json(written.read_bytes()) if written.is_file() else None


def told(asked: Job, dataset: Path, tokenizer: Tokenizer) -> Pruning | None:
    """What the report says of it. `dataset` is the whole one, `asked.dataset` the pruned one."""
    found = rule(asked.output)
    if found is None:
        return None
    tables = [[row["prompt"] for row in data.rows(place, "golden")] for place in (dataset, asked.dataset)]
    before, after = (sum(map(len, data.encode(prompts, tokenizer))) / len(prompts) for prompts in tables)
    saved = Decimal(before - after) * asked.student_input_usd_per_million
    return Pruning(
        **found.model_dump(),
        golden_left_whole=sum(map(str.__eq__, *tables)),
        tokens_before=before,
        tokens_after=after,
        usd_saved_per_million=float(saved),
    )


def forget(output: Path) -> None:
    """Remove the pruned copy of the dataset, which holds what customers wrote; the rule stays."""
    for file in (output / FOLDER).glob("*.parquet"):
        file.unlink()


def _write(dataset: Path, target: Path) -> None:
    found = pruning.rule([row["prompt"] for row in data.rows(dataset, "train")])
    if found is None:
        return
    for file in sorted(dataset.iterdir()):
        if file.suffix == ".parquet":
            pa.parquet.write_table(_pruned(pa.parquet.read_table(file), found), target / file.name)
        elif file.is_file():
            shutil.copy(file, target / file.name)
    (target / "rule.json").write_text(found.model_dump_json(indent=2))


def _pruned(table: pa.Table, found: Rule) -> pa.Table:
    prompts = [pruning.pruned(prompt, found) or prompt for prompt in table["prompt"].to_pylist()]
    return table.set_column(table.column_names.index("prompt"), "prompt", pa.array(prompts, pa.string()))
