"""What every backend promises: one suite for the fake, the teacher over HTTP and the student in Triton."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import tritonclient.grpc.aio as triton_grpc
from pydantic import SecretStr

from protos import inference_pb2 as inference
from services.gateway.backends import Ask, Backend, BackendFailed, FailureKind
from services.gateway.student import TritonStudent
from services.gateway.teacher import OpenAITeacher
from tests.fakes.backends import FakeBackend
from tests.fixtures.engines import TritonServer
from tests.fixtures.students import install
from tests.services.gateway.examples import a_task, an_ask
from tests.services.gateway.openai_like import KEY, serving

pytestmark = pytest.mark.contract
VERSION = 1
MAX_CALLS = 64
AWAY = "127.0.0.1:9"  # The discard port: nobody listens.


@dataclass
class Rig:
    """A backend that works, and the same kind of backend with nobody behind it."""

    backend: Backend
    name: inference.Backend
    away: Backend
    slow_down: Callable[[], None] = lambda: None


@pytest.fixture
async def fake() -> Rig:
    backend, away = FakeBackend(inference.BACKEND_STUDENT), FakeBackend(inference.BACKEND_STUDENT)
    away.breaks()
    return Rig(backend, inference.BACKEND_STUDENT, away, lambda: setattr(backend, "delay_s", 60))


@pytest.fixture
async def teacher() -> AsyncIterator[Rig]:
    async with serving() as server:
        server.text = "one two three four five"
        backend = OpenAITeacher(server.url, SecretStr(KEY), max_retries=0)
        away = OpenAITeacher(f"http://{AWAY}/v1", SecretStr(KEY), max_retries=0)
        yield Rig(backend, inference.BACKEND_TEACHER, away, lambda: setattr(server, "delay_s", 60))
        await backend.close()
        await away.close()


@pytest.fixture
async def student(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    server, made = request.getfixturevalue("triton"), request.getfixturevalue("tiny_student")
    if not (server.repository / "say").exists():
        install(made, server.repository, "say", VERSION)
    async with triton_grpc.InferenceServerClient(server.grpc_address) as client:
        await client.load_model("say")
    backend, away = TritonStudent([server.grpc_address], MAX_CALLS), TritonStudent([AWAY], MAX_CALLS)
    yield Rig(backend, inference.BACKEND_STUDENT, away)
    await backend.close()
    await away.close()


@pytest.fixture(params=["fake", "teacher", "student"])
def rig(request: pytest.FixtureRequest) -> Rig:
    found: Rig = request.getfixturevalue(request.param)
    return found


def asked(max_tokens: int = 16) -> Ask:
    return an_ask(version=VERSION, sampling=inference.Sampling(max_tokens=max_tokens))


async def test_a_whole_answer_says_all_that_only_the_backend_knows(rig: Rig):
    attempt = await rig.backend.answer(asked(), None)
    assert attempt.backend == rig.name
    assert attempt.student_version == (VERSION if rig.name == inference.BACKEND_STUDENT else 0)
    assert attempt.message.role == inference.ROLE_ASSISTANT
    assert attempt.message.content
    assert attempt.model
    assert attempt.finish in {inference.FINISH_STOP, inference.FINISH_LENGTH}
    assert attempt.usage.prompt_tokens > 0
    assert 0 < attempt.usage.completion_tokens <= 16


async def test_the_pieces_of_a_stream_are_the_same_answer(rig: Rig):
    pieces: list[str] = []
    streamed = await rig.backend.answer(asked(), pieces.append)
    whole = await rig.backend.answer(asked(), None)
    assert "".join(pieces) == streamed.message.content == whole.message.content
    assert len(pieces) > 1
    assert (streamed.finish, streamed.usage) == (whole.finish, whole.usage)


async def test_an_answer_is_cut_at_the_callers_limit(rig: Rig):
    attempt = await rig.backend.answer(asked(max_tokens=2), None)
    assert attempt.finish == inference.FINISH_LENGTH
    assert attempt.usage.completion_tokens == 2


async def test_a_backend_that_is_away_is_unavailable(rig: Rig):
    for on_text in (None, [].append):
        with pytest.raises(BackendFailed) as failed:
            await rig.away.answer(asked(), on_text)
        assert failed.value.kind is FailureKind.UNAVAILABLE
        assert KEY not in str(failed.value)


async def test_a_cancelled_ask_ends_at_once_and_the_backend_answers_others(rig: Rig):
    rig.slow_down()
    asking = asyncio.create_task(rig.backend.answer(asked(), None))
    await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking


async def test_asks_at_the_same_time_do_not_mix(rig: Rig):
    answers = await asyncio.gather(*(rig.backend.answer(asked(n), None) for n in (1, 2, 3, 4)))
    assert [answer.usage.completion_tokens for answer in answers] == [1, 2, 3, 4]


async def test_a_student_that_is_cancelled_in_the_middle_answers_others(student: Rig):
    task = a_task(student={**a_task().student.model_dump(), "max_tokens": 250})
    begun = asyncio.Event()
    asking = asyncio.create_task(student.backend.answer(an_ask(task, VERSION), lambda _text: begun.set()))
    await begun.wait()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert (await student.backend.answer(asked(), None)).message.content


async def test_many_asks_share_one_stream_and_those_that_are_cancelled_take_no_other_along(student: Rig):
    task = a_task(student={**a_task().student.model_dump(), "max_tokens": 60})
    asks = [an_ask(task, VERSION, text=f"house {number}") for number in range(24)]
    alone = [(await student.backend.answer(ask, None)).message.content for ask in asks]
    begun = asyncio.Barrier(len(asks) // 3 + 1)
    left = [asyncio.create_task(_until_it_begins(student.backend, ask, begun)) for ask in asks[::3]]
    stay = [asyncio.create_task(student.backend.answer(ask, None)) for ask in asks]
    await begun.wait()
    for asking in left:
        asking.cancel()
    assert [(await asking).message.content for asking in stay] == alone
    ends = await asyncio.gather(*left, return_exceptions=True)
    assert all(isinstance(end, asyncio.CancelledError) for end in ends)


async def _until_it_begins(backend: Backend, ask: Ask, begun: asyncio.Barrier) -> None:
    """Asks until the first piece, and never returns."""
    first = asyncio.Event()
    asking = asyncio.create_task(backend.answer(ask, lambda _text: first.set()))
    try:
        await first.wait()
        await begun.wait()
        await asyncio.Event().wait()
    finally:
        asking.cancel()


async def test_a_student_goes_on_from_the_beginning_of_an_answer(student: Rig):
    told: list[str] = []
    ask = an_ask(version=VERSION, text="12 Oak")._replace(partial="the house\n")
    resumed = await student.backend.answer(ask, told.append)
    whole = await student.backend.answer(an_ask(version=VERSION, text="12 Oak\nthe house"), None)
    assert resumed.message.content == ask.partial + "".join(told)
    assert whole.message.content.startswith("".join(told).rstrip("\N{REPLACEMENT CHARACTER}"))
    assert 0 < resumed.usage.completion_tokens < whole.usage.completion_tokens
    assert resumed.usage.prompt_tokens == whole.usage.prompt_tokens
    assert student.backend.resumes


async def test_an_unknown_version_of_the_student_is_unavailable(student: Rig):
    with pytest.raises(BackendFailed) as failed:
        await student.backend.answer(an_ask(version=77), None)
    assert failed.value.kind is FailureKind.UNAVAILABLE
    assert "77" in str(failed.value)


async def test_a_prompt_that_the_student_cannot_take_is_the_requests_fault(student: Rig):
    words = inference.Message(role=inference.ROLE_USER, content="long " * 4_000)
    with pytest.raises(BackendFailed) as failed:
        await student.backend.answer(an_ask(version=VERSION, messages=[words]), None)
    assert failed.value.kind is FailureKind.REFUSED


async def test_a_prompt_of_another_make_than_it_learned_is_the_requests_fault(
    student: Rig, tiny_student: Path, triton: TritonServer
):
    version = triton.repository / "say-pruned" / str(VERSION)
    install(tiny_student, triton.repository, version.parent.name, VERSION)
    described = json.loads((version / "student.json").read_text())
    (version / "student.json").write_text(json.dumps({**described, "pruning": {"head": "Take it apart: "}}))
    async with triton_grpc.InferenceServerClient(triton.grpc_address) as client:
        await client.load_model(version.parent.name)
    task = a_task(name=version.parent.name)
    asked = [inference.Message(role=inference.ROLE_USER, content=text) for text in ("Take it apart: 12 Oak", "12 Oak")]
    taken, refused = (an_ask(task, VERSION, messages=[message]) for message in asked)
    assert (await student.backend.answer(taken, None)).usage.prompt_tokens == len("12 Oak\n")
    with pytest.raises(BackendFailed, match="lacks what all prompts had in common") as failed:
        await student.backend.answer(refused, None)
    assert failed.value.kind is FailureKind.REFUSED


async def test_the_students_confidence_is_a_log_probability(student: Rig):
    attempt = await student.backend.answer(asked(), None)
    assert attempt.HasField("confidence")
    assert attempt.confidence <= 0


async def test_a_seed_makes_the_students_draw_repeatable(student: Rig):
    drawn = inference.Sampling(temperature=1.5, top_p=0.9, seed=2**63 + 1, max_tokens=12)
    answers = [await student.backend.answer(an_ask(version=VERSION, sampling=drawn), None) for _ in range(2)]
    assert answers[0] == answers[1]


async def test_a_stop_text_ends_the_students_answer(student: Rig):
    whole = (await student.backend.answer(asked(), None)).message.content
    stop = whole[len(whole) // 2]
    sampling = inference.Sampling(max_tokens=16, stop=[stop])
    attempt = await student.backend.answer(an_ask(version=VERSION, sampling=sampling), None)
    assert attempt.message.content == whole[: whole.index(stop)]
    assert attempt.finish == inference.FINISH_STOP
