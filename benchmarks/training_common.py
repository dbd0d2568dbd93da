"""What the contestants of `benchmarks.training` share: the data, the judge, the scales. Imports torch and no more, so
that each can run in an environment of its own.
"""

import json
import random
import resource
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, PreTrainedTokenizerFast

STREETS = ("Oak St", "Elm Avenue", "N Main Street", "Lake Rd", "Hill Court", "Old Mill Lane", "5th Ave", "County Rd 12")
CITIES = ("Springfield", "Riverside", "Franklin", "Greenville", "Clinton", "Salem", "Georgetown", "Madison")
NOTES = ("please call before you come", "gate code is with the neighbour", "leave it at the back door", "second floor")


@dataclass(frozen=True)
class Spec:
    """What everyone learns, and how."""

    base: str  # a directory in Hugging Face layout
    data: str  # a directory with train.jsonl and eval.jsonl
    output: str
    batch_size: int
    learning_rate: float
    warmup: float
    rank: int
    alpha: int
    bf16: bool
    threads: int
    device: str = "cpu"
    liger: bool = False


def read(path: Path) -> Spec:
    """The spec in a file."""
    return Spec(**json.loads(path.read_text()))


def write(spec: Spec, path: Path) -> Path:
    """The spec as a file."""
    path.write_text(json.dumps(asdict(spec)))
    return path


def rows(count: int, seed: int) -> Iterator[dict[str, str]]:
    """Addresses in short and long messages, and their fields as JSON."""
    draw = random.Random(seed)
    for _ in range(count):
        number, street, city = draw.randint(1, 9999), draw.choice(STREETS), draw.choice(CITIES)
        notes = " ".join(draw.choices(NOTES, k=draw.choice((0, 0, 1, 2, 6))))
        fields = {"number": str(number), "street": street, "city": city, "zip": f"{draw.randint(501, 99950):05d}"}
        text = f"{number} {street}, {city} {fields['zip']}" + (f". {notes}" if notes else "")
        yield {"prompt": f"{text}\n", "completion": json.dumps(fields, separators=(",", ":"))}


def tokenizer(spec: Spec) -> Any:
    """The base's, from its file: by the class that AutoTokenizer takes it for, spaces would be unknown tokens."""
    made = PreTrainedTokenizerFast(tokenizer_file=str(Path(spec.base) / "tokenizer.json"))
    made.backend_tokenizer.post_processor = None  # no token goes before the prompt, as none does where all are judged
    end = AutoConfig.from_pretrained(spec.base).eos_token_id
    made.eos_token = made.pad_token = made.convert_ids_to_tokens(end[0] if isinstance(end, list) else end)
    return made


def frozen_dtype(spec: Spec) -> torch.dtype:
    """What the base's weights are kept in; peft keeps adapters in fp32 nevertheless."""
    return torch.bfloat16 if spec.bf16 else torch.float32


def load(spec: Spec, split: str) -> list[dict[str, str]]:
    """One split of the data."""
    return [json.loads(line) for line in (Path(spec.data) / f"{split}.jsonl").read_text().splitlines()]


@torch.no_grad()  # type: ignore[untyped-decorator]
def judged(model: Any, pairs: Sequence[tuple[list[int], list[int]]]) -> float:
    """The mean loss in nats per completion token of (prompt, completion) token ids, the same for everyone."""
    model.float().eval()  # what bf16 rounds away here is not what was learnt
    nats, tokens = 0.0, 0
    for prompt, completion in pairs:
        ids = torch.tensor([prompt + completion], device=model.device)
        logits = model(input_ids=ids).logits[0, len(prompt) - 1 : -1].float()
        nats += float(torch.nn.functional.cross_entropy(logits, ids[0, len(prompt) :], reduction="sum"))
        tokens += len(completion)
    return nats / tokens


class Scales:
    """Time and peak memory of the part between `start` and `tell`."""

    def __init__(self) -> None:
        self._began_s, self._began_cpu_s = time.monotonic(), time.process_time()

    def tell(self, tokens: int, loss: float, spent: "Spent") -> None:
        """Print the figures as the last line."""
        figures = {"tokens": tokens, "held_out_loss": round(loss, 4), **asdict(spent)}
        print(json.dumps({**figures, "tokens_per_s": round(tokens / spent.seconds, 1)}))

    def stop(self) -> "Spent":
        """What was spent since the beginning."""
        seconds, cpu_s = time.monotonic() - self._began_s, time.process_time() - self._began_cpu_s
        peak = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0
        peak = peak or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        return Spent(round(seconds, 2), round(cpu_s, 2), round(peak / 2**20))


@dataclass(frozen=True)
class Spent:
    """Wall clock, processor time of all threads, and the most memory held."""

    seconds: float
    cpu_s: float
    peak_mib: int
