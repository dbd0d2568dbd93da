"""Loading against the real Triton, with a student small enough to make in a test."""

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from protos import events_pb2 as events
from services.controller.errors import Refused
from services.controller.repository import Repository
from services.controller.triton import Triton
from services.errors import Overloaded
from tests.fixtures.engines import TritonServer
from tests.services.controller.world import TEMPLATE, World, a_task

pytestmark = pytest.mark.contract

TASK = "controllers-own"


@pytest.fixture
def server(triton: TritonServer) -> Iterator[Triton]:
    """Triton as the controller sees it; what was loaded is let go at the end."""
    client = Triton(triton.grpc_address, load_timeout_s=60)
    yield client
    client.unload(TASK)
    shutil.rmtree(triton.repository / TASK, ignore_errors=True)


def test_versions_are_served_side_by_side_and_answer(triton: TritonServer, server: Triton, tiny_student: Path) -> None:
    repository = Repository(triton.repository, TEMPLATE)
    for version in (1, 2):
        repository.install(TASK, version, tiny_student)
        repository.serve(TASK, {version - 1, version})
        server.load(TASK)
    assert server.serves(TASK, 1)
    assert server.serves(TASK, 2)
    assert server.answer(TASK, 2, "the street of the city\n")
    assert not server.serves(TASK, 3)


def test_a_version_that_does_not_load_is_refused_with_tritons_words_and_the_other_goes_on(
    triton: TritonServer, server: Triton, tiny_student: Path
) -> None:
    repository = Repository(triton.repository, TEMPLATE)
    repository.install(TASK, 1, tiny_student)
    repository.serve(TASK, {1})
    server.load(TASK)
    repository.install(TASK, 2, triton.repository / TASK / "1")
    (triton.repository / TASK / "2" / "student.json").unlink()
    repository.serve(TASK, {1, 2})
    with pytest.raises(Refused, match=r"student\.json"):
        server.load(TASK)
    assert server.serves(TASK, 1)
    assert server.answer(TASK, 1, "the house\n")


def test_the_live_version_answers_while_the_next_one_is_loaded(
    triton: TritonServer, server: Triton, tiny_student: Path
) -> None:
    repository = Repository(triton.repository, TEMPLATE)
    repository.install(TASK, 1, tiny_student)
    repository.serve(TASK, {1})
    server.load(TASK)
    repository.install(TASK, 2, tiny_student)
    repository.serve(TASK, {1, 2})
    answers = []
    with ThreadPoolExecutor() as pool:
        loading = pool.submit(server.load, TASK)
        while not loading.done():
            answers.append(server.answer(TASK, 1, "the house\n"))
    assert loading.exception() is None
    assert len(answers) > 1
    assert all(answers)


async def test_a_run_ends_with_its_student_answering_in_triton(
    triton: TritonServer, server: Triton, tiny_student: Path, tmp_path: Path
) -> None:
    world = World(tmp_path, a_task(name=TASK)).filled()
    world.repository, world.serving = Repository(triton.repository, TEMPLATE), server
    world.restarted()
    world.launcher.student = tiny_student
    first, second = await world.a_run(TASK), await world.a_run(TASK)
    assert [run.reason[:13] for run in (first, second) if run.promoted] == ["cascade error"] * 2
    assert server.serves(TASK, 1)
    assert server.serves(TASK, 2)


async def test_a_second_student_that_does_not_load_leaves_the_first_as_it_was(
    triton: TritonServer, server: Triton, tiny_student: Path, tmp_path: Path
) -> None:
    world = World(tmp_path, a_task(name=TASK)).filled()
    world.repository, world.serving = Repository(triton.repository, TEMPLATE), server
    world.restarted()
    world.launcher.student = tiny_student
    await world.a_run(TASK)
    world.launcher.student = None
    run = await world.a_run(TASK)
    assert run.state == events.RUN_STATE_FAILED
    assert "Triton" in run.reason
    assert server.answer(TASK, 1, "the house\n")
    assert world.actions.versions(TASK) == [1]


def test_a_triton_that_is_away_is_waited_for() -> None:
    with pytest.raises(Overloaded, match="Triton at 127"):
        Triton("127.0.0.1:9", load_timeout_s=1).serves(TASK, 1)


def test_of_several_tritons_each_must_load_and_serve_a_version(
    triton: TritonServer, server: Triton, tiny_student: Path
) -> None:
    repository = Repository(triton.repository, TEMPLATE)
    repository.install(TASK, 1, tiny_student)
    repository.serve(TASK, {1})
    twice = Triton(f"{triton.grpc_address},{triton.grpc_address}", load_timeout_s=60)
    twice.load(TASK)
    assert twice.serves(TASK, 1)
    assert twice.answer(TASK, 1, "the house\n")
    one_is_away = Triton(f"{triton.grpc_address},127.0.0.1:9", load_timeout_s=1)
    for ask in (lambda: one_is_away.serves(TASK, 1), lambda: one_is_away.load(TASK)):
        with pytest.raises(Overloaded, match=r"Triton at 127\.0\.0\.1:9"):
            ask()
