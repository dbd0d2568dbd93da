"""The commands on snapshots, against the controller's own service over gRPC."""

import asyncio
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import grpc.aio
import pytest
from click.testing import Result
from typer.testing import CliRunner

from deploy.local.addresses import HOST, free_ports
from protos import control_pb2_grpc
from services.cli import app
from services.controller import snapshot
from tests.services.controller.world import NOON, World, a_candidate, a_task

pytestmark = pytest.mark.contract


def serve(world: World, port: int, ready: threading.Event, stopped: threading.Event) -> None:
    async def until_stopped() -> None:
        server = grpc.aio.server()
        control_pb2_grpc.add_ControlServicer_to_server(world.restarted().control, server)
        server.add_insecure_port(f"{HOST}:{port}")
        await server.start()
        ready.set()
        await asyncio.to_thread(stopped.wait)
        await server.stop(None)

    asyncio.run(until_stopped())


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    made, ready, stopped = World(tmp_path).filled(), threading.Event(), threading.Event()
    [port] = free_ports(1)
    monkeypatch.setenv("CONTROL_ADDRESS", f"{HOST}:{port}")
    monkeypatch.setenv("COLUMNS", "200")
    thread = threading.Thread(target=serve, args=(made, port, ready, stopped))
    thread.start()
    assert ready.wait(30)
    yield made
    stopped.set()
    thread.join()


def taken(world: World, number: int) -> None:
    directory = world.directory / "snapshots" / "labels" / str(number)
    snapshot.take(world.store, snapshot.Order(a_task(), number, directory, NOON, page_rows=3))


def run(*arguments: str, state: Path) -> Result:
    return CliRunner().invoke(app, ["snapshot", *arguments, "--state", str(state)])


def printed(*arguments: str, state: Path) -> str:
    result = run(*arguments, state=state)
    assert result.exit_code == 0, result.output
    return result.output


def test_snapshots_are_listed_shown_and_compared(world: World, tmp_path: Path) -> None:
    taken(world, 1)
    world.store.rows["train"].append(a_candidate(7, answer="no"))
    taken(world, 2)
    listed = printed("list", "labels", state=tmp_path).splitlines()
    assert [line.split()[0] for line in listed if "labels/" in line] == ["labels/2", "labels/1"]
    assert json.loads(printed("show", "labels/2", state=tmp_path))["counts"]["train"]["rows"] == 6
    told = printed("diff", "labels/1", "2", state=tmp_path)
    assert ["train", "5", "6", "1", "0", "0"] in [line.split() for line in told.splitlines()]
    assert 'train strata: {"yes": 5} -> {"yes": 5, "no": 1}' in told


@pytest.mark.parametrize("shape", ["openai", "sharegpt", "alpaca"])
def test_what_is_exported_is_imported_again(world: World, tmp_path: Path, shape: str) -> None:
    for number in range(100, 160):
        world.store.rows["train"].append(a_candidate(number))
    taken(world, 1)
    file = tmp_path / "rows.jsonl"
    assert "65 examples of labels/1 train" in printed(
        "export", "labels/1", str(file), "--format", shape, "--ids", "--instructions", state=tmp_path
    )
    told = printed("import", "labels", str(file), state=tmp_path)
    assert "snapshot labels/2: train" in told
    manifest = json.loads(printed("show", "labels/2", state=tmp_path))
    assert manifest["source"]["file"] == "rows.jsonl"
    ours = {row["id"] for row in map(json.loads, file.read_text().splitlines())}
    assert len(ours) == 65
    sides = manifest["counts"]["train"]["rows"] + manifest["counts"]["eval"]["rows"]
    assert 40 < sides < 65


def test_bad_lines_are_left_out_and_named(world: World, tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    lines = [json.dumps({"instruction": f"number {n}?", "output": "yes"}) for n in range(60)]
    file.write_text("\n".join([*lines, "{", json.dumps({"instruction": "x"})]))
    told = printed("import", "labels", str(file), "--by-people", state=tmp_path)
    assert "rows.jsonl:61" in told
    assert "2 bad lines left out" in told


def test_what_cannot_be_done_is_one_line(world: World, tmp_path: Path) -> None:
    assert "must be TASK/NUMBER" in run("show", "labels", state=tmp_path).output
    assert "there is no snapshot labels/9" in run("show", "labels/9", state=tmp_path).output
    taken(world, 1)
    refused = run("export", "labels/1", str(tmp_path / "out"), "--split", "test", state=tmp_path)
    assert (refused.exit_code, "is none of train, eval, golden" in refused.output) == (1, True)
