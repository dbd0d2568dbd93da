"""The recipe, from top to bottom: build the model, the data and the optimiser; loop; checkpoint.

Runs in every worker of a process group, or alone. All workers see the same plan of batches; each takes its part of
every batch, and the gradients that come together are those of the whole batch, however many workers there are.
What is learnt, and how a batch's loss is taken, is the lesson's.
"""

import math
import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from training import checkpoint, data, model, progress, schedule, sharding
from training.checkpoint import State
from training.config import Config
from training.contract import DataPoint
from training.lesson import Lesson

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

    def __init__(self, config: Config, lesson: Lesson, output: Path, here: Place) -> None:
        self.config, self.lesson, self.output, self.here = config, lesson, output, here
        torch.manual_seed(config.seed)
        self.examples, self.held_out = lesson.examples, lesson.held_out
        # Rows that examples share need no similar lengths, and so can be drawn at random.
        lengths = [1 if config.pack_tokens else len(example) for example in self.examples]
        self.batches = data.schedule(lengths, config.batch_size, config.epochs, config.seed, config.min_steps)
        self._build()
        self.state = self._resumed()
        self.state.left_out, self.state.steps = dict(lesson.left_out), len(self.batches)
        self.started = time.monotonic() - self.state.elapsed_s

    def _build(self) -> None:
        student = self.lesson.module(self.here.bf16)
        if self.config.compile:
            student.compile(dynamic=True)
        self.student = sharding.placed(student, self.config, self.here.device)
        self.learnt = [weight for weight in self.student.parameters() if weight.requires_grad]
        self.best: dict[str, torch.Tensor] = {}
        self.optimiser = torch.optim.AdamW(
            self.learnt,
            lr=self.config.learning_rate,
            betas=(0.9, 0.99),
            weight_decay=self.config.weight_decay,
            fused=True,
        )

    def _resumed(self) -> State:
        saved = checkpoint.load(self.output)
        if saved is None:
            return State()
        state, tensors = saved
        sharding.restore(self.student, tensors["weights"])
        if not state.finished:
            sharding.restore_optimiser(self.student, self.optimiser, tensors["optimiser"])
            self.best = tensors["best"]
        return state

    def save(self) -> None:
        """Write the checkpoint; all workers bring their parts together, and the first writes."""
        tensors: dict[str, Any] = {"weights": sharding.weights(self.student)}
        if not self.state.finished:  # three times the weights' size, and of no more use
            tensors["best"] = self.best
            tensors["optimiser"] = sharding.optimiser(self.student, self.optimiser)
        if self.here.rank == 0:
            checkpoint.save(self.output, self.state, tensors)

    def finish(self) -> None:
        """Go back to the weights of the lowest held-out loss, where they were asked for, and save."""
        self.state.finished = True
        if self.state.patience.best_loss is not None:
            sharding.restore(self.student, self.best)
        self.save()

    def share_done(self) -> float:
        """How far the run is, the same for all workers: rank 0's clock is the one that counts."""
        elapsed_s = torch.tensor(time.monotonic() - self.started, dtype=torch.float64, device=self.here.device)
        if self.here.size > 1:
            dist.broadcast(elapsed_s, 0)
        self.state.elapsed_s = float(elapsed_s)
        return schedule.progress(self.state.step, len(self.batches), self.state.elapsed_s, self.config.max_minutes)

    def step(self, share: float) -> float:
        """Learn from the next batch at the rate that `share` of the run means; the batch's mean loss in nats."""
        batch = self.batches[self.state.step]
        for group in self.optimiser.param_groups:
            factor = schedule.rate_factor(share, 1 / len(self.batches), self.config.warmup, self.config.schedule)
            group["lr"] = self.config.learning_rate * factor
        self._seed()
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

    def _mean_loss(self, examples: Sequence[Any], batch: Sequence[int]) -> torch.Tensor:
        """This worker's part of the batch's weighted mean loss: the parts of all workers add up to it."""
        device = self.here.device
        part = self.lesson.collate(self.here.part(examples, batch)).to(device)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=self.here.bf16):
            return torch.as_tensor(self.student(part)) / _weight(examples, batch)

    def _seed(self) -> None:
        """What is drawn in a step follows from the step, so that a run that goes on draws what it would have drawn."""
        torch.manual_seed((self.config.seed << 32) + self.state.step * self.here.size + self.here.rank)

    def _summed(self, loss: torch.Tensor) -> float:
        loss = loss.detach()
        if self.here.size > 1:
            dist.all_reduce(loss)
        return float(loss)


def train(
    config: Config, lesson: Lesson, output: Path, device: torch.device, tell: Callable[[Run], None] | None = None
) -> Run:
    """Fine-tune; leaves `checkpoints/last.pt` with what was learnt and the learning curve. Goes on where it was.

    `tell` is called after every step.
    """
    torch.set_num_threads(config.threads or max(1, len(os.sched_getaffinity(0)) // config.workers))
    output.mkdir(parents=True, exist_ok=True)
    run = Run(config, lesson, output, place(config, device))
    saved_s = run.state.elapsed_s
    if run.state.finished:
        return run
    while not run.state.patience.spent(config.patience) and (share := run.share_done()) < 1:
        run.state.recent.append(run.step(share))
        _record(run)
        if tell:
            tell(run)
        if run.state.elapsed_s - saved_s >= config.checkpoint_every_s:
            saved_s = run.state.elapsed_s
            run.save()
    run.finish()
    return run


@torch.no_grad()  # type: ignore[untyped-decorator]
def judge(run: Run) -> None:
    """Write `held_out.json`: the mean loss per token over the eval examples, each of the same weight."""
    run.student.eval()
    losses = []
    for example in run.held_out[: run.config.eval_examples]:
        batch = run.lesson.collate([replace(example, weight=1.0)]).to(run.here.device)
        with torch.autocast(run.here.device.type, dtype=torch.bfloat16, enabled=run.here.bf16):
            losses.append(float(run.student(batch)) / example.learnt)
    if run.here.rank == 0 and len(losses) > 1:
        mean, spread = statistics.fmean(losses), statistics.stdev(losses) / math.sqrt(len(losses))
        point = DataPoint(examples=len(run.examples), eval_loss=mean, standard_error=spread)
        (run.output / "held_out.json").write_text(point.model_dump_json())


def _record(run: Run) -> None:
    """Write the progress line and, where one is due, a point of the learning curve."""
    share, state, config = run.share_done(), run.state, run.config
    evaluate = bool(run.held_out) and int(share * config.evaluations) > state.evaluated
    if evaluate or share >= 1 or len(state.recent) >= max(1, len(run.batches) // CURVE_POINTS):
        eval_loss = run.eval_loss() if evaluate else None
        state.evaluated += evaluate
        if eval_loss is not None and config.patience and state.patience.look(eval_loss, state.step):
            run.best = sharding.weights(run.student)
        state.curve.append((state.step, sum(state.recent) / len(state.recent), eval_loss, _speed(state)))
        state.recent = []
    if run.here.rank == 0:
        eta_s = state.elapsed_s * (1 - share) / share
        loss = state.curve[-1][1] if state.curve else state.recent[-1]
        figures = {"step": state.step, "steps": len(run.batches), "loss": loss, "tokens_per_s": _speed(state)}
        progress.write(run.output, "train", eta_s=eta_s, **figures)


def _speed(state: State) -> float:
    return state.tokens / max(state.elapsed_s, 1e-9)


def _weight(examples: Sequence[Any], batch: Sequence[int]) -> float:
    return math.fsum(examples[index].weight * examples[index].learnt for index in batch)
