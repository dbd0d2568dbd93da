"""Writes a tiny base model and a tiny dataset."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM

from tests.fixtures.tiny_encoder import make_encoder, make_tokenizer
from training import recipe
from training.config import Config
from training.lesson import imitation

SORTS = {"St": "street", "Ave": "avenue", "Rd": "road", "Ct": "court"}
STREETS = ("Oak St", "Elm Ave", "Main St", "Lake Rd", "Hill Ct")


def write_base(directory: Path) -> Path:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        STREETS,
        trainers.BpeTrainer(
            vocab_size=300,
            special_tokens=["<|start|>", "<|end|>"],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    tokenizer.save(str(directory / "tokenizer.json"))
    described = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<|start|>", "eos_token": "<|end|>"}
    (directory / "tokenizer_config.json").write_text(json.dumps(described))
    torch.manual_seed(0)
    shape = LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=256,
        bos_token_id=0,
        eos_token_id=1,
        initializer_range=0.3,  # wide, so that the frozen vocabulary tells tokens apart
    )
    LlamaForCausalLM(shape).save_pretrained(directory)
    return directory


def write_encoder(directory: Path) -> Path:
    make_encoder(directory, make_tokenizer(directory))
    return directory


def example(index: int) -> dict[str, Any]:
    question = f"{index} {STREETS[index % len(STREETS)]}"
    number, street = question.split(" ", 1)
    answer = json.dumps({"number": number, "street": street}, separators=(",", ":"))
    return {
        "id": str(index),
        "prompt": f"{question}\n",
        "completion": answer,
        "question": question,
        "kind": ("even", "odd")[index % 2],
        "weight": 1.0,
        "corrected": index % 5 == 0,
        "teacher_answer": answer if index % 9 else "{}",
    }


def golden_example(index: int) -> dict[str, Any]:
    row = example(index)
    kept = {key: row[key] for key in ("id", "prompt", "question", "kind", "teacher_answer")}
    return {
        **kept,
        "truth": row["completion"],
        "group_key": row["id"],
        "teacher_latency_us": 1_000_000 + index,
        "teacher_cost_usd": "0.001",
        "teacher_prompt_tokens": 700,
        "teacher_completion_tokens": 20,
    }


def write_dataset(directory: Path, train: int, held_out: int, golden: int) -> Path:
    parts = {
        "train": [example(index) for index in range(train)],
        "eval": [example(1000 + index) for index in range(held_out)],
        "golden": [golden_example(2000 + index) for index in range(golden)],
    }
    return write_rows(directory, parts)


def instructed(row: dict[str, Any]) -> dict[str, Any]:
    """The same row of a task whose callers say each time what they want."""
    instructions = "system: Take the address apart, word by word.\nuser: "
    return row | {"prompt": f"{instructions}{row['question']}\nassistant:\n"}


def write_instructed(directory: Path, golden_whole: int = 1) -> Path:
    """Of the rows to learn from the last lacks the instructions, and so do some golden ones from the second on."""
    golden = [golden_example(2000 + index) for index in range(16)]
    parts = {
        "train": [*(instructed(example(index)) for index in range(100, 199)), example(199)],
        "eval": [instructed(example(1000 + index)) for index in range(16)],
        "golden": [row if 1 <= at <= golden_whole else instructed(row) for at, row in enumerate(golden)],
    }
    return write_rows(directory, parts)


def write_labelled(directory: Path) -> Path:
    """The same questions with a label each, by the last word."""
    rows = [example(index) for index in range(96)]
    for row in rows:
        row["completion"] = row["teacher_answer"] = SORTS[row["question"].split()[-1]]
    golden = [
        {**golden_example(2000 + index), "truth": SORTS[STREETS[index % 5].split()[-1]], "teacher_answer": "street"}
        for index in range(16)
    ]
    return write_rows(directory, {"train": rows[:64], "eval": rows[64:], "golden": golden})


def write_sorted(directory: Path) -> Path:
    """The same questions with a number that stands in them, and a sort that does not, as JSON."""
    rows = [example(index) for index in range(96)]
    for row in rows:
        number, *_, last = row["question"].split()
        made = {"sort": SORTS[last], "number": number, "short": last in ("St", "Ct")}
        row["completion"] = row["teacher_answer"] = json.dumps(made, separators=(",", ":"))
    golden = [golden_example(2000 + index) for index in range(16)]
    return write_rows(directory, {"train": rows[:64], "eval": rows[64:], "golden": golden})


def pair(index: int, split: str) -> dict[str, Any]:
    """The right answer is preferred to one with another street."""
    row = example(index)
    street = STREETS[index % len(STREETS)]
    wrong = row["completion"].replace(street, STREETS[(index + 1) % len(STREETS)])
    texts = {"id": row["id"], "prompt": row["prompt"], "chosen": row["completion"], "rejected": wrong}
    return {**texts, "why": "correction", "split": split, "kind": ""}


def write_preferences(dataset: Path, directory: Path) -> Path:
    """The dataset with 40 pairs to learn from and 10 held out."""
    for file in dataset.iterdir():
        (directory / file.name).symlink_to(file)
    rows = [pair(index, "train") for index in range(40)] + [pair(1000 + index, "eval") for index in range(10)]
    pa.parquet.write_table(pa.Table.from_pylist(rows), directory / "preferences.parquet")
    return directory


def write_rows(directory: Path, parts: dict[str, list[dict[str, Any]]]) -> Path:
    for name, rows in parts.items():
        pa.parquet.write_table(pa.Table.from_pylist(rows), directory / f"{name}.parquet")
    (directory / "manifest.json").write_text(json.dumps({name: len(rows) for name, rows in parts.items()}))
    return directory


def train(config: Config, dataset: Path, output: Path) -> None:
    """The imitation alone, in this process, on its CPU."""
    recipe.train(config, imitation(config, dataset), output, torch.device("cpu"))
