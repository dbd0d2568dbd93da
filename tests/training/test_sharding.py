"""The student on two workers, in copies and in parts, over gloo on this machine."""

import os
import socket
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as processes

from tests.training.tiny import train
from training import checkpoint, recipe, sharding
from training.config import Config
from training.lesson import imitation

pytestmark = pytest.mark.contract
CPU = torch.device("cpu")


def worker(rank: int, port: int, config: Config, dataset: Path, output: Path) -> None:
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), GLOO_SOCKET_IFNAME="lo")
    dist.init_process_group("gloo", rank=rank, world_size=2)
    train(config, dataset, output)
    dist.destroy_process_group()


def on_two(config: Config, dataset: Path, output: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes.spawn(worker, (port, config, dataset, output), nprocs=2)


def losses(output: Path) -> list[float]:
    saved = checkpoint.load(output)
    assert saved is not None
    assert saved[0].finished
    return [loss for _, loss, _, _ in saved[0].curve]


def test_a_lone_student_is_taken_to_its_device(config: Config) -> None:
    student = sharding.placed(torch.nn.Linear(2, 2), config, torch.device("meta"))
    assert {weight.device.type for weight in student.parameters()} == {"meta"}


def test_weights_in_parts_learn_what_whole_ones_learn(config: Config, dataset: Path, tmp_path: Path) -> None:
    config = config.model_copy(update={"tuning": "full", "patience": 5, "learning_rate": 3e-3, "batch_size": 16})
    train(config, dataset, tmp_path / "alone")
    on_two(config.model_copy(update={"workers": 2, "sharding": "fsdp"}), dataset, tmp_path / "parts")
    assert losses(tmp_path / "parts") == pytest.approx(losses(tmp_path / "alone"), rel=1e-3)
    alone, parts = (checkpoint.load(tmp_path / way) for way in ("alone", "parts"))
    assert alone is not None
    assert parts is not None
    for name, weight in alone[1]["weights"].items():
        torch.testing.assert_close(parts[1]["weights"][name], weight, rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("sharding", ["none", "fsdp"])
def test_a_run_goes_on_with_its_weights_in_copies_and_in_parts(
    config: Config, dataset: Path, tmp_path: Path, sharding: str
) -> None:
    """What one worker began and left half done, two finish."""
    config = config.model_copy(update={"patience": 5})
    train(config, dataset, tmp_path / "alone")
    run = recipe.Run(config, imitation(config, dataset), tmp_path / "parts", recipe.place(config, CPU))
    run.output.mkdir()
    for _ in range(4):
        run.state.recent.append(run.step(run.share_done()))
        recipe._record(run)
    run.save()
    on_two(config.model_copy(update={"workers": 2, "sharding": sharding}), dataset, tmp_path / "parts")
    assert losses(tmp_path / "parts") == pytest.approx(losses(tmp_path / "alone"), rel=1e-3)
