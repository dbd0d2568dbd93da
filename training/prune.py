"""Students on prompts without what these have in common, each beside the same student on whole prompts.

What may be left out is found in the training split alone, once for a run; `unread.json` keeps it. It is part of the
student's config and version from then on: training, evaluation and serving read prompts without it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from services import pruning
from services.pruning import Rule
from training import base, data
from training.config import ALONE, Config, resolve
from training.contract import Frozen, Job, Pruning

PROPOSED: Final = "unread.json"
LEAST_GOLDEN: Final = 0.5
"""Share of the golden prompts that must have it, too: the others say nothing about the student."""

Settings = Mapping[str, dict[str, Any]]
"""Configs by the candidates' names, the cheapest first."""


class Proposal(Frozen):
    """What may be left out, or why nothing can be."""

    rule: Rule | None = None
    why: str = ""


@dataclass(frozen=True)
class Tried:
    """Candidates none of which is to be pruned any more."""

    several: Settings
    twins: Mapping[str, str]  # whose prompts are pruned -> the same on whole ones
    passed_over: Mapping[str, str]  # where nothing could be left out, with the reason


def tried(job: Job, several: Settings) -> Tried:
    """Each of the candidates that are to be pruned becomes two: with the rule, and then without, which is dearer."""
    candidates, twins, passed_over = dict[str, dict[str, Any]](), dict[str, str](), dict[str, str]()
    for name, settings in several.items():
        config = resolve(settings)
        if not config.prune:
            candidates[name] = settings
            continue
        short = "pruned" if name == ALONE else f"{name}-pruned"
        offer = Proposal(rule=config.unread) if config.unread else proposal(job)
        if offer.rule:
            candidates[short] = settings | {"prune": False, "unread": offer.rule.model_dump(mode="json")}
            twins[short] = name
        else:
            passed_over[short] = offer.why
        candidates[name] = settings | {"prune": False, "unread": None}
    return Tried(candidates, twins, passed_over)


def proposal(job: Job) -> Proposal:
    """What may be left out; a run that goes on finds what it found before."""
    written = job.output / PROPOSED
    if not written.is_file():
        part = written.with_suffix(".part")
        part.write_text(_found(job.dataset).model_dump_json(indent=2), encoding="utf-8")
        part.replace(written)
    return Proposal.model_validate_json(written.read_bytes())


def told(job: Job, config: Config) -> Pruning | None:
    """What the report says of a student; None where it reads all."""
    if config.unread is None:
        return None
    whole, read = (data.rows(job.dataset, "golden", unread) for unread in (None, config.unread))
    pairs = [(long["prompt"], short["prompt"]) for long, short in zip(whole, read, strict=True) if short["prompt"]]
    tokenizer = base.tokenizer(base.fetch(config))
    before, after = (sum(map(len, data.encode(side, tokenizer))) / len(side) for side in zip(*pairs, strict=True))
    return Pruning(
        **config.unread.model_dump(),
        golden_refused=len(whole) - len(pairs),
        tokens_before=before,
        tokens_after=after,
        usd_saved_per_million=float(Decimal(before - after) * job.student_input_usd_per_million),
    )


def _found(dataset: Path) -> Proposal:
    rule = pruning.rule([row["prompt"] for row in data.rows(dataset, "train")])
    if rule is None:
        return Proposal(why="the prompts have too little in common that could be left out")
    golden = [bool(row["prompt"]) for row in data.rows(dataset, "golden", rule)]
    if sum(golden) < LEAST_GOLDEN * len(golden):
        had = f"only {sum(golden)} of {len(golden)} golden prompts have what those to learn from have in common"
        return Proposal(why=f"{had}, so nothing could be proven of it")
    return Proposal(rule=rule)
