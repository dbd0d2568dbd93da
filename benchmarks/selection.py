"""What is a choice of candidates worth? `python -m benchmarks.selection`.

The demo's addresses and a stand-in teacher that errs on 11 %: one pool to choose from, and addresses of other customers
to prove on, whose right fields are known. From the pool so many candidates are chosen in three ways at equal budget,
and a linear student learns from the teacher's answers to them:

- random: by the sampler's priority alone;
- balanced: as many of each sort of answer (the fields that it has), as far as there are, by a snapshot's quotas;
- full: what the task's validators let through, near-duplicates left out, balanced, and then without the answers that
  students doubt which never saw them; the places of these are filled up.

Each also with its examples weighted back to the traffic (`weigh: traffic`). Errors are the shares of addresses with any
field wrong, in percent: of all, and the mean of the three kinds of addresses, in which the rare kind counts as much.
"""

import argparse
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.result import Goal, Help, at_most, tell
from deploy.demo.addresses import Address, addresses
from deploy.demo.scale import SEED, STAND_IN_ERROR_RATE
from deploy.demo.spoiling import Oracle, normal
from protos import events_pb2 as events
from services import tasks
from services.controller.quotas import Quotas
from services.similarity import Neighbours, sketch
from services.tasks import Task
from services.validators import refusal
from training import doubts, scoring
from training.linear import Tagger

TASK: Final = tasks.load(Path("deploy/tasks"))["address-extraction"]
BUDGETS: Final = (125, 250, 500, 1000, 2000, 4000)
ROUNDS: Final = 3
"""Times that the places of doubted answers are filled up."""
Row = dict[str, Any]


@dataclass(frozen=True)
class World:
    """What can be chosen, in the order of priority, and what proves."""

    pool: Sequence[Row]
    proof: Sequence[Address]


def world(count: int, seed: int, cache_dir: Path) -> World:
    """Addresses of customers whom the task's shares set aside prove; of all others the teacher's answers are there."""
    given = addresses(count, SEED, cache_dir)
    oracle = Oracle({normal(one.text): one.truth for one in given}, STAND_IN_ERROR_RATE, SEED + seed)
    aside = [tasks.split(TASK.sampling.split, one.group_key) == events.SPLIT_GOLDEN for one in given]
    pool = [_row(one, oracle.answer(one.text) or "") for one, proves in zip(given, aside, strict=True) if not proves]
    pool.sort(key=lambda row: tasks.fraction(row["id"], salt=f"selection {seed}"))
    return World(pool, [one for one, proves in zip(given, aside, strict=True) if proves])


def _row(one: Address, answer: str) -> Row:
    """A candidate with the columns of train.parquet that are looked at."""
    names = {"id": one.text, "question": one.text, "prompt": one.text, "kind": one.kind}
    return {**names, "answer": answer, "completion": answer, "corrected": False, "wrong": answer != one.answer}


def random_choice(pool: Sequence[Row], budget: int) -> list[Row]:
    """The first by priority; each stands for as many as the others."""
    return [row | {"weight": 1.0} for row in pool[:budget]]


def balanced(pool: Sequence[Row], budget: int) -> list[Row]:
    """The largest quota for each sort with which they are no more than the budget; the rest by priority."""
    low, high = 1, budget
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if len(_within(pool, middle)) <= budget else (low, middle - 1)
    taken = _within(pool, low)
    known = {row["id"] for row in taken}
    spare = [row for row in pool if row["id"] not in known][: max(0, budget - len(taken))]
    return [*taken, *(row | {"weight": 1.0} for row in spare)][:budget]


def _within(pool: Sequence[Row], size: int) -> list[Row]:
    """What a snapshot with that quota takes, with 1 / the probability of it as the weight."""
    sampling = TASK.sampling.model_copy(
        update={"strata": TASK.sampling.strata.model_copy(update={"per_snapshot": size})}
    )
    quotas = Quotas(TASK.model_copy(update={"sampling": sampling}))
    for row in pool:
        quotas.look(row)
    return [row | {"weight": 1 / quotas.probability(row)} for row in pool if quotas.takes(row)]


def full(pool: Sequence[Row], budget: int) -> list[Row]:
    """Everything that the system does before it trains."""
    fit = list(_fit(TASK, pool))
    chosen = balanced(fit, budget)
    for _ in range(ROUNDS):
        bad = {chosen[place]["id"] for place in doubts.doubtful(chosen)}
        if not bad:
            break
        fit = [row for row in fit if row["id"] not in bad]
        chosen = balanced(fit, budget)
    return chosen


def _fit(task: Task, pool: Sequence[Row]) -> Iterator[Row]:
    """What the sampler lets through."""
    near = Neighbours(task.sampling.near_duplicate, len(pool))
    for row in pool:
        seen = sketch(row["question"], row["answer"])
        if not refusal(task.validators, row["question"], row["answer"]) and not any(near.near(seen)):
            near.add(row["id"], seen)
            yield row


CHOICES: Final = {"random": random_choice, "balanced": balanced, "full": full}


def errors(chosen: Sequence[Row], proof: Sequence[Address], *, weighted: bool, seed: int) -> dict[str, float]:
    """What a student errs on, percent, that learnt from those."""
    texts, answers = [row["prompt"] for row in chosen], [row["completion"] for row in chosen]
    weights = [row["weight"] if weighted else 1.0 for row in chosen]
    student = Tagger(seed).fit(texts, answers, weights)
    said = student.answer([one.text for one in proof])
    wrong = [not scoring.right("json", one.answer, answer) for one, answer in zip(proof, said, strict=True)]
    kinds = {one.kind for one in proof}
    each = [statistics.fmean(bad for bad, one in zip(wrong, proof, strict=True) if one.kind == kind) for kind in kinds]
    noise = statistics.fmean(row["wrong"] for row in chosen)
    return {"all": 100 * statistics.fmean(wrong), "kinds": 100 * statistics.fmean(each), "labels_wrong": 100 * noise}


def measure(count: int, budgets: Sequence[int], seeds: Sequence[int], cache_dir: Path) -> dict[str, Any]:
    """By choice and budget, the errors of each seed."""
    found: dict[str, Any] = {}
    for seed in seeds:
        given = world(count, seed, cache_dir)
        for budget in (size for size in budgets if size <= len(given.pool)):
            for name, choose in CHOICES.items():
                chosen = choose(given.pool, budget)
                for weighted in (False, True)[: 1 + (name != "random")]:
                    label = f"{name}, weighted" if weighted else name
                    run = errors(chosen, given.proof, weighted=weighted, seed=seed)
                    found.setdefault(label, {}).setdefault(budget, []).append(run)
                    print(f"seed {seed}, {budget} candidates, {label}: {run}", flush=True)
    return found


def told(found: Mapping[str, Mapping[int, Sequence[Mapping[str, float]]]]) -> dict[str, Any]:
    """Of all seeds: the mean, the least and the largest."""
    return {name: {budget: _over(runs) for budget, runs in by.items()} for name, by in found.items()}


def _over(runs: Sequence[Mapping[str, float]]) -> dict[str, list[float]]:
    columns = {key: [run[key] for run in runs] for key in runs[0]}
    return {key: [round(of(values), 2) for of in (statistics.fmean, min, max)] for key, values in columns.items()}


def doubted(count: int, seed: int, cache_dir: Path) -> dict[str, float]:
    """How well the doubts find what is wrong, among all answers that the validators let through."""
    fit = list(_fit(TASK, world(count, seed, cache_dir).pool))
    found = doubts.doubtful(fit)
    hit, wrong = sum(fit[place]["wrong"] for place in found), sum(row["wrong"] for row in fit)
    shares = {"precision": hit / max(1, len(found)), "recall": hit / max(1, wrong)}
    return {"answers": len(fit), "wrong": wrong, "doubted": len(found)} | {
        name: round(share, 3) for name, share in shares.items()
    }


def main() -> None:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=Help)
    parser.add_argument("--addresses", type=int, default=8_000, help="of which nine tenths can be chosen from")
    parser.add_argument("--budgets", type=int, nargs="+", default=list(BUDGETS), help="candidates to choose")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3], help="one turn each")
    parser.add_argument("--cache-dir", type=Path, default=Path.home() / ".cache" / "tutelage", help="for the archive")
    given = parser.parse_args()
    figures = told(measure(given.addresses, given.budgets, given.seeds, given.cache_dir))
    goals: dict[str, Goal] = {
        f"full no worse than random at {size}": at_most(runs["all"][0], figures["full"][size]["all"][0])
        for size, runs in figures["random"].items()
    }
    more = {"doubts": doubted(given.addresses, given.seeds[-1], given.cache_dir)}
    tell("selection", {"errors_percent_mean_min_max": figures, **more}, goals)


if __name__ == "__main__":
    main()
