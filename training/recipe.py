"""The recipe, from top to bottom: build the model, the data and the optimiser; loop; checkpoint.

Runs in every worker of a process group, or alone. All workers see the same plan of batches; each takes its part of
every batch, and the gradients that come together are those of the whole batch, however many workers there are.
What is learnt, and how a batch's loss is taken, is the kind's: see `kind`.
"""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from training import checkpoint, data, kinds, model, progress, schedule, weights
from training.checkpoint import State
from training.config import Config
from training.kind import Example

CURVE_POINTS = 60


@dataclass(frozen=True)
class Place:
    """Where this process stands: its part of every batch, its device, its number format."""

    rank: int
    size: int
    device: torch.device
    bf16: bool

    def part(self, examples: Sequence[Any], batch: Sequence[int]) -> list[Any]:
        """This worker's examples. One without any repeats the first at no weight, so that all stay in step."""
        mine = [examples[index] for index in batch[self.rank :: self.size]]
        return mine or [replace(examples[batch[0]], weight=0.0)]


def place(config: Config, device: torch.device) -> Place:
    """Reads the process group, if there is one, and the machine's abilities."""
    grouped = dist.is_initialized()
    bf16 = config.precision == "bf16" or (config.precision == "auto" and model.multiplies_bf16(device))
    return Place(dist.get_rank() if grouped else 0, dist.get_world_size() if grouped else 1, device, bf16)


class Run:
    """The state of one worker's run, and its steps."""

    def __init__(self, config: Config, dataset: Path, output: Path, here: Place) -> None:
        self.config, self.output, self.here = config, output, here
        torch.manual_seed(config.seed)
        table = data.rows(dataset, "train")
        self.kind = kinds.kind(config, table)
        made = self.kind.examples(table)
        self.examples = made.kept
        self.held_out = self.kind.examples(data.rows(dataset, "eval")).kept
        lengths = [len(example) for example in self.examples]
        self.batches = data.schedule(lengths, config.batch_size, config.epochs, config.seed, config.min_steps)
        self._build()
        self.state = self._resumed()
        self.state.left_out = dict(made.left_out)
        self.started = time.monotonic() - self.state.elapsed_s

    def _build(self) -> None:
        student = self.unwrapped = self.kind.learner(bf16=self.here.bf16).to(self.here.device)
        if self.config.compile:
            student.compile(dynamic=True)
        self.student = DistributedDataParallel(student) if self.here.size > 1 else student
        self.learnt = [weight for weight in student.parameters() if weight.requires_grad]
        self.optimiser = torch.optim.AdamW(
            self.learnt, lr=self.config.learning_rate, betas=(0.9, 0.99), weight_decay=self.config.weight_decay
        )

    def _resumed(self) -> State:
        saved = checkpoint.load(self.output)
        if saved is None:
            return State()
        state, tensors = saved
        weights.restore(self.unwrapped, tensors["weights"])
        if not state.finished:
            self.optimiser.load_state_dict(tensors["optimiser"])
        torch.set_rng_state(tensors["rng"])
        return state

    def save(self) -> None:
        """Write the checkpoint, if this is the worker that does."""
        if self.here.rank == 0:
            tensors = {
                "weights": weights.weights(self.unwrapped),
                "optimiser": {} if self.state.finished else self.optimiser.state_dict(),  # twice the weights' size
                "rng": torch.get_rng_state(),
            }
            checkpoint.save(self.output, self.state, tensors)

    def share_done(self) -> float:
        """How far the run is, the same for all workers: rank 0's clock is the one that counts."""
        self.state.elapsed_s = time.monotonic() - self.started
        steps, budget = len(self.batches), self.config.max_minutes
        share = torch.tensor(schedule.progress(self.state.step, steps, self.state.elapsed_s, budget))
        if self.here.size > 1:
            share = share.to(self.here.device)
            dist.broadcast(share, 0)
        return float(share)

    def step(self, share: float) -> float:
        """Learn from the next batch at the rate that `share` of the run means; the batch's mean loss in nats."""
        batch = self.batches[self.state.step]
        for group in self.optimiser.param_groups:
            group["lr"] = self.config.learning_rate * schedule.rate_factor(share, self.config.warmup)
        self.student.train()
        loss = self._mean_loss(self.examples, batch)
        (loss * self.here.size).backward()  # the group averages gradients, and the batch's loss is a sum of parts
        torch.nn.utils.clip_grad_norm_(self.learnt, self.config.clip_norm)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        self.state.step += 1
        self.state.examples = min(self.state.examples + len(batch), len(self.examples))
        self.state.tokens += sum(len(self.examples[index]) for index in batch)
        return self._summed(loss)

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def eval_loss(self) -> float:
        """The mean loss in nats per token over the first eval examples."""
        self.student.eval()
        some = sorted(self.held_out[: self.config.eval_examples], key=len)
        batches = data.plan([len(example) for example in some], self.config.batch_size, seed=0)
        sums = [(self._summed(self._mean_loss(some, batch)), _weight(some, batch)) for batch in batches]
        return sum(loss * weight for loss, weight in sums) / sum(weight for _, weight in sums)

    def _mean_loss(self, examples: Sequence[Example], batch: Sequence[int]) -> torch.Tensor:
        """This worker's part of the batch's weighted mean loss: the parts of all workers add up to it."""
        device = self.here.device
        part = self.kind.collate(self.here.part(examples, batch)).to(device)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=self.here.bf16):
            return torch.as_tensor(self.student(part)) / _weight(examples, batch)

    def _summed(self, loss: torch.Tensor) -> float:
        loss = loss.detach()
        if self.here.size > 1:
            dist.all_reduce(loss)
        return float(loss)


def train(config: Config, dataset: Path, output: Path, device: torch.device) -> None:
    """Fine-tune; leaves `checkpoints/last.pt` with what was learnt and the learning curve. Goes on where it was."""
    torch.set_num_threads(config.threads or max(1, len(os.sched_getaffinity(0)) // config.workers))
    output.mkdir(parents=True, exist_ok=True)
    run = Run(config, dataset, output, place(config, device))
    saved_s = run.state.elapsed_s
    while not run.state.finished:
        if (share := run.share_done()) >= 1:
            break
        run.state.recent.append(run.step(share))
        _record(run)
        if run.state.elapsed_s - saved_s >= config.checkpoint_every_s:
            saved_s = run.state.elapsed_s
            run.save()
    run.state.finished = True
    run.save()


def _record(run: Run) -> None:
    """Write the progress line and, where one is due, a point of the learning curve."""
    share, state, config = run.share_done(), run.state, run.config
    evaluate = bool(run.held_out) and int(share * config.evaluations) > state.evaluated
    if evaluate or share >= 1 or len(state.recent) >= max(1, len(run.batches) // CURVE_POINTS):
        eval_loss = run.eval_loss() if evaluate else None
        state.evaluated += evaluate
        state.curve.append((state.step, sum(state.recent) / len(state.recent), eval_loss, _speed(state)))
        state.recent = []
    if run.here.rank == 0:
        eta_s = state.elapsed_s * (1 - share) / share
        loss = state.curve[-1][1] if state.curve else state.recent[-1]
        figures = {"step": state.step, "steps": len(run.batches), "loss": loss, "tokens_per_s": _speed(state)}
        progress.write(run.output, "train", eta_s=eta_s, **figures)


def _speed(state: State) -> float:
    return state.tokens / max(state.elapsed_s, 1e-9)


def _weight(examples: Sequence[Example], batch: Sequence[int]) -> float:
    return sum(examples[index].weight * examples[index].learnt for index in batch)
