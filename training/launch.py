"""`python -m training.launch JOB.json`: does a job from its dataset to its report, once, however often it is started.

With `tune` and `worker` the only importer of ray. Ray Train runs the recipe in `workers` processes, on this machine or
on a cluster, which then must see the job's directories under the same paths. What follows the recipe runs in this
process, or on a cluster of other machines, in one that has what a worker has: who needs a GPU to learn needs one to be
judged, too.
"""

import argparse
import fcntl
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn, TypeVar

import ray
from ray.exceptions import RayTaskError
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer

from training import (
    checkpoint,
    contest,
    data,
    finish,
    judge,
    kinds,
    leaking,
    manifest,
    mending,
    preferring,
    progress,
    resources,
    second_teacher,
    tune,
    worker,
)
from training.config import Config, candidates, resolve
from training.contract import Job
from training.judge import Judge
from training.second_teacher import SecondTeacher

Answer = TypeVar("Answer")
WORKER_ENVIRONMENT = {
    # Freed memory is kept: fetching and clearing pages anew took a quarter of the time of a step.
    "MALLOC_TOP_PAD_": str(256 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(8 << 30),
    "MALLOC_MMAP_THRESHOLD_": str(8 << 30),
    # Threads that wait spin for microseconds, then sleep. Spinning on, they made a step seven times as long where other
    # processes want the cores; sleeping at once costs an idle machine a quarter of its speed.
    "GOMP_SPINCOUNT": "20000",
}


RAY_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_TRAIN_METRICS_ENABLED": "0",  # progress goes to train.jsonl; this is what costs Ray a process each
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
}


@dataclass(frozen=True)
class Asked:
    """The models of others that a run may ask: who compares texts, and who is asked about doubtful answers."""

    judge: Judge | None = None
    second_teacher: SecondTeacher | None = None


NOBODY = Asked()


def launch(job: Job, ray_address: str, asked: Asked = NOBODY, shared: Path | None = None) -> None:
    """Do the job, unless its report is there. Raises what went wrong.

    `shared`: the output of the contest whose candidate the job is.
    """
    job.output.mkdir(parents=True, exist_ok=True)
    with _locked(job.output / ".lock"):
        if not (job.output / "report.json").is_file():
            _check_same(job)
            manifest.check_unchanged(job.dataset)
            if several := candidates(job.config):
                contest.run(job, several, lambda one: launch(one, ray_address, asked, job.output))
            else:
                _run(job, resolve(job.config), ray_address, asked, shared or job.output)


def _run(job: Job, config: Config, ray_address: str, asked: Asked, shared: Path) -> None:
    seconds: dict[str, float] = {}
    golden = data.rows(job.dataset, "golden")
    leaking.apart(job.dataset, golden, job.answer_kind)  # raises before hours are spent on what can't be proven
    _check_able(job, config)
    if config.doubtful != "keep":
        with progress.stage(job.output, "settle", seconds):
            mending.decide(job, config, asked.second_teacher, shared)
    if config.search:
        with progress.stage(job.output, "search", seconds), _ray(ray_address, config):
            config = tune.search(config, config.search, job.dataset, job.output / "search")
        _check_able(job, config)
    with progress.stage(job.output, "train", seconds):
        _train(job, config, ray_address)
    if _elsewhere(ray_address):
        away = job.model_copy(update={"dataset": job.dataset.absolute(), "output": job.output.absolute()})
        _there(ray_address, config, finish.finish, away, config, asked.judge, seconds)
    else:
        finish.finish(job, config, asked.judge, seconds)
    progress.write(job.output, "done")


def _elsewhere(address: str) -> bool:
    """Whether the cluster has other machines than this one: a head on loopback has none."""
    return bool(address) and not address.startswith("127.")


def _check_able(job: Job, config: Config) -> None:
    """Raises ValueError with the reason if the config's kind of student can't do the task."""
    table = data.rows(job.dataset, "train", config.unread)
    if why := kinds.kind(config, table).objection(job.answer_kind, table):
        raise ValueError(f"a {config.kind} can't do this task: {why}")


def _train(job: Job, config: Config, ray_address: str) -> None:
    saved = checkpoint.load(job.output)
    if saved and saved[0].finished and (config.dpo is None or preferring.done(job.output)):
        return
    lone = config.workers == 1 and not config.gpus_per_worker and not config.worker_failures
    here = lone and not _elsewhere(ray_address)
    ray_or_none = nullcontext() if here else _ray(ray_address, config)
    with ray_or_none, tempfile.TemporaryDirectory(dir=job.output.absolute(), prefix="ray-") as storage:
        TorchTrainer(
            worker.work,
            train_loop_config={
                "config": config.model_dump_json(),
                "dataset": str(job.dataset.absolute()),
                "output": str(job.output.absolute()),
            },
            scaling_config=ScalingConfig(num_workers=0) if here else _scaling(config),
            run_config=RunConfig(
                name=job.task,
                storage_path=storage,  # beside the checkpoints, as all machines of a cluster see it
                failure_config=FailureConfig(max_failures=config.worker_failures),
            ),
            torch_config=worker.Alone()
            if config.workers == 1
            else TorchConfig("nccl" if config.gpus_per_worker else "gloo"),
        ).fit()


def _scaling(config: Config) -> ScalingConfig:
    return ScalingConfig(
        num_workers=config.workers, use_gpu=config.gpus_per_worker > 0, resources_per_worker=resources.each(config)
    )


def _there(address: str, config: Config, do: Callable[..., Answer], *given: Any) -> Answer:
    """What the function returns, or raises, on a cluster, in a process with the resources of one worker."""
    task = ray.remote(num_cpus=1, num_gpus=config.gpus_per_worker, max_retries=config.worker_failures)(do)
    with _ray(address, config):
        try:
            answer: Answer = ray.get(task.remote(*given))
        except RayTaskError as error:
            raise error.cause from error  # its own text is a whole trace
    return answer


@contextmanager
def _ray(address: str, config: Config) -> Iterator[None]:
    """A connection to a cluster, or a Ray of our own on this machine's loopback, gone afterwards.

    Raises ValueError if it has not what the workers need.
    """
    environment = {"env_vars": WORKER_ENVIRONMENT}
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp") as scratch:  # short, for sockets
        if address:
            ray.init(address=address, runtime_env=environment, log_to_driver=False)
        else:
            ray.init(
                log_to_driver=False,
                num_cpus=resources.local(config),
                include_dashboard=False,
                runtime_env=environment,
                _node_ip_address="127.0.0.1",
                _temp_dir=scratch,
            )
        signal.signal(signal.SIGTERM, _terminated)  # again, for Ray has put its own in place, which aborts
        try:
            if why := resources.lacking(config, ray.cluster_resources()):
                raise ValueError(why)
            yield
        finally:
            ray.shutdown()


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Waits until nobody else holds the lock; the kernel lets go of it if its holder dies."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _check_same(job: Job) -> None:
    """An output directory belongs to one job: a checkpoint of another would be continued silently."""
    written = job.output / "job.json"
    if not written.is_file():
        written.write_text(job.model_dump_json(by_alias=True, indent=2))
    elif Job.model_validate_json(written.read_text()) != job:
        raise ValueError(f"{job.output} holds a run of another job; give this one an output directory of its own")


def _terminated(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
    """Leave through every `finally`, so that Ray's processes go, too."""
    raise SystemExit(128 + number)


def _leave() -> NoReturn:
    """End at once: all is on disk, and threads of native libraries may crash a process that takes itself down."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def main() -> None:
    """The command line."""
    arguments = argparse.ArgumentParser(description="Fine-tune, export and measure a student.")
    arguments.add_argument("job", type=Path, help="a training.contract.Job as JSON")
    arguments.add_argument("--ray-address", default="", help="a Ray cluster's; empty: a Ray of its own")
    given = arguments.parse_args()
    signal.signal(signal.SIGTERM, _terminated)
    for name, value in RAY_ENVIRONMENT.items():
        os.environ.setdefault(name, value)  # whoever runs a cluster may want otherwise
    os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")  # else a Ray of our own listens beyond loopback
    try:
        asked = Asked(
            judge.configured(judge.JudgeSettings()), second_teacher.configured(second_teacher.SecondTeacherSettings())
        )
        launch(Job.model_validate_json(given.job.read_text()), given.ray_address, asked)
    except Exception as error:  # noqa: BLE001 - the last line of the output says what went wrong, whatever it was
        sys.exit(f"training failed: {type(error).__name__}: {' '.join(str(error).split())}")
    _leave()


if __name__ == "__main__":
    main()
