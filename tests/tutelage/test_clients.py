"""Both clients against a gateway on loopback."""

import asyncio
import inspect

import grpc
import pytest

from protos import inference_pb2 as inference
from services.gateway.backends import BackendFailed, FailureKind
from services.topics import decode
from tests.services.gateway.conftest import Gateway, gateway, settings  # noqa: F401 - fixtures
from tutelage import Answer, AsyncClient, Client, TutelageError

pytestmark = pytest.mark.contract


async def test_a_call_brings_the_answer_and_who_gave_it(gateway: Gateway) -> None:  # noqa: F811
    async with AsyncClient(f"127.0.0.1:{gateway.port}") as client:
        answer = await client.complete(gateway.task.name, "700 W. Madison", group_key="g")
    assert (answer.text, answer.reply.answered_by) == ("the teacher says so", inference.BACKEND_TEACHER)
    assert answer.id == gateway.exchange.id
    assert gateway.exchange.request.group_key == "g"


async def test_a_stream_grows_and_ends_with_the_whole_answer(gateway: Gateway) -> None:  # noqa: F811
    async with AsyncClient(f"127.0.0.1:{gateway.port}") as client:
        stream = client.stream(gateway.task.name, "700 W. Madison")
        pieces = [chunk.delta async for chunk in stream]
    assert stream.answer is not None
    assert "".join(pieces) == stream.text == stream.answer.text == "the teacher says so"


async def test_feedback_of_each_kind_is_recorded(gateway: Gateway) -> None:  # noqa: F811
    async with AsyncClient(f"127.0.0.1:{gateway.port}") as client:
        answer = await client.complete(gateway.task.name, "700 W. Madison", group_key="g")
        ids = {
            await client.correct(answer, "the right one"),
            await client.rate(answer, -1, comment="no"),
            await client.measure(answer, clicks=2.0),
        }
    said = [decode(record) for record in gateway.spool.records]
    assert {record.id for record in said} == ids
    assert [record.exchange_id for record in said] == [answer.id] * 3
    assert (said[0].correction, said[1].rating, dict(said[2].metrics)) == ("the right one", -1, {"clicks": 2.0})


async def test_feedback_on_what_is_no_answer_says_what_to_pass() -> None:
    with Client("127.0.0.1:1") as client:
        for say in (lambda: client.rate("nonsense", 1), lambda: client.correct(None, "x")):  # type: ignore[arg-type]
            with pytest.raises(TypeError, match=r"answer is a (str|NoneType): give the Answer that complete returned"):
                say()
    async with AsyncClient("127.0.0.1:1") as unblocked:
        with pytest.raises(TypeError, match="answer is a str: give the Answer"):
            await unblocked.measure("nonsense", clicks=1.0)  # type: ignore[arg-type]


async def test_an_error_has_grpcs_code_and_says_what_to_change(gateway: Gateway) -> None:  # noqa: F811
    async with AsyncClient(f"127.0.0.1:{gateway.port}") as client:
        with pytest.raises(TutelageError, match="NOT_FOUND: task: 'nothing' is not defined") as caught:
            await client.complete("nothing", "x")
    assert caught.value.code is grpc.StatusCode.NOT_FOUND


async def test_a_call_that_is_tried_again_is_still_one_exchange(gateway: Gateway) -> None:  # noqa: F811
    gateway.teacher.failure = BackendFailed(FailureKind.UNAVAILABLE, "away")
    async with AsyncClient(f"127.0.0.1:{gateway.port}") as client:
        with pytest.raises(TutelageError, match="UNAVAILABLE"):
            await client.complete(gateway.task.name, "x")
    assert len({exchange.id for exchange in gateway.spool.exchanges}) == 1


async def test_the_client_for_threads_does_the_same(gateway: Gateway) -> None:  # noqa: F811
    def use() -> tuple[Answer, str, str]:
        with Client(f"127.0.0.1:{gateway.port}") as client:
            answer = client.complete(gateway.task.name, "700 W. Madison")
            stream = client.stream(gateway.task.name, "700 W. Madison")
            text = "".join(chunk.delta for chunk in stream)
            with pytest.raises(TutelageError, match="NOT_FOUND"):
                client.complete("nothing", "x")
            return answer, text, client.correct(answer, "right")

    answer, text, said = await asyncio.to_thread(use)
    assert answer.text == text == "the teacher says so"
    assert decode(gateway.spool.records[0]).id == said


def test_both_clients_have_the_same_methods_with_the_same_parameters() -> None:
    for name in ("complete", "stream", "correct", "rate", "measure", "close", "__init__"):
        blocking, asynchronous = (inspect.signature(getattr(kind, name)) for kind in (Client, AsyncClient))
        assert list(blocking.parameters.values()) == list(asynchronous.parameters.values()), name
