"""The gateway's gRPC server: as real clients find grpc.aio's, and firm with those who mean harm."""

import asyncio
import gc
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from random import random, shuffle
from typing import Any

import grpc
import h2.events
import pytest
from google.protobuf.wrappers_pb2 import BytesValue
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from services.gateway import grpc_call, grpc_outgoing, grpc_server
from services.gateway.frames import DATA, END_HEADERS, HEADERS
from services.gateway.grpc_call import UNSENT_MOST, Aborted, Call
from services.gateway.grpc_head import block
from services.gateway.grpc_outgoing import WAITING_CALL_BYTES
from services.gateway.held import Held
from tests.services.gateway.grpc_caller import GREETING, grpc_bytes, raw
from tests.services.gateway.grpc_echo import (
    MESSAGE_MOST,
    SERVICE,
    RawCaller,
    Serving,
    serving_ours,
    serving_theirs,
    value,
)

pytestmark = pytest.mark.contract


@pytest.fixture(params=[serving_ours, serving_theirs], ids=["ours", "grpc.aio's"])
async def either(request: pytest.FixtureRequest) -> AsyncIterator[Serving]:
    async with request.param() as serving:
        yield serving


@pytest.fixture
async def ours() -> AsyncIterator[Serving]:
    async with serving_ours(streams_most=5) as serving:
        yield serving


def unary(channel: Any, method: str) -> Any:
    return channel.unary_unary(f"/{SERVICE}/{method}", BytesValue.SerializeToString, BytesValue.FromString)


def stream(channel: Any, method: str) -> Any:
    return channel.unary_stream(f"/{SERVICE}/{method}", BytesValue.SerializeToString, BytesValue.FromString)


def chat(channel: Any, method: str) -> Any:
    return channel.stream_stream(f"/{SERVICE}/{method}", BytesValue.SerializeToString, BytesValue.FromString)


async def failure(call: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await call
    return error.value


async def eventually(is_so: Callable[[], bool]) -> None:
    """Waits until it is so, which pytest's timeout ends."""
    while not is_so():  # noqa: ASYNC110 - what it is about knows of no events
        await asyncio.sleep(0.001)


# As grpc.aio's server does


async def test_a_call_is_answered(either: Serving) -> None:
    async with either.channel() as channel:
        assert await unary(channel, "Say")(BytesValue(value=b"hello")) == BytesValue(value=b"hello")
        assert await unary(channel, "Say")(BytesValue()) == BytesValue()


@pytest.mark.parametrize(
    "compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip, grpc.Compression.Deflate]
)
@pytest.mark.parametrize("size", [3 * 1024**2, 8 * 1024**2])
async def test_large_messages_go_both_ways(either: Serving, size: int, compression: grpc.Compression) -> None:
    request = BytesValue(value=b"0123456789abcdef" * (size // 16))
    async with either.channel(max_receive_message_length=MESSAGE_MOST) as channel:
        assert await unary(channel, "Say")(request, compression=compression) == request


async def test_a_request_that_is_too_large_is_refused(either: Serving) -> None:
    async with either.channel() as channel:
        for compression in (grpc.Compression.NoCompression, grpc.Compression.Gzip):
            call = unary(channel, "Say")(BytesValue(value=bytes(MESSAGE_MOST)), compression=compression)
            assert (await failure(call)).code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_a_thousand_calls_at_once_are_answered_on_one_connection(either: Serving) -> None:
    async with either.channel() as channel:
        say = unary(channel, "Say")
        asked = [BytesValue(value=str(number).encode()) for number in range(1000)]
        assert await asyncio.gather(*(say(request) for request in asked)) == asked


async def test_metadata_go_both_ways(either: Serving) -> None:
    said = (("x-who", "me"), ("x-who", "and me"), ("x-raw-bin", bytes(range(256))), ("x-none-bin", b""))
    either.echo.trailing = (("x-why", "no reason"), ("x-details-bin", b"\0\1" * 100))
    async with either.channel() as channel:
        await unary(channel, "Say")(BytesValue(), metadata=said)
        error = await failure(unary(channel, "Refuse")(BytesValue()))
    assert set(said) <= set(either.echo.heard)
    assert {name for name, _ in either.echo.heard} - {name for name, _ in said} <= {"user-agent"}
    assert tuple(error.trailing_metadata() or ()) == either.echo.trailing


async def test_trailing_metadata_may_be_longer_than_a_frame(either: Serving) -> None:
    either.echo.trailing = (("x-long", "v" * 20_000), ("x-long-bin", bytes(range(256)) * 100))
    async with either.channel(max_metadata_size=100_000, absolute_max_metadata_size=100_000) as channel:
        error = await failure(unary(channel, "Refuse")(BytesValue()))
    assert (error.code(), tuple(error.trailing_metadata() or ())) == (grpc.StatusCode.NOT_FOUND, either.echo.trailing)


@pytest.mark.parametrize("text", ["", "no such thing", "100 % \n no\r\tway", "Grüße, 世界 🙂" * 30, "x" * 2000])
async def test_a_calls_status_is_told_with_its_text(either: Serving, text: str) -> None:
    either.echo.details = text
    async with either.channel() as channel:
        error = await failure(unary(channel, "Refuse")(BytesValue()))
    assert (error.code(), error.details()) == (grpc.StatusCode.NOT_FOUND, text)


async def test_a_call_that_fails_of_a_fault_is_unknown_to_its_caller(either: Serving) -> None:
    async with either.channel() as channel:
        assert (await failure(unary(channel, "Fail")(BytesValue()))).code() is grpc.StatusCode.UNKNOWN


async def test_a_method_that_nobody_has_is_unimplemented(either: Serving) -> None:
    async with either.channel() as channel:
        assert (await failure(unary(channel, "Sing")(BytesValue()))).code() is grpc.StatusCode.UNIMPLEMENTED


async def test_a_deadline_is_known_to_the_call_and_ends_it(either: Serving) -> None:
    async with either.channel() as channel:
        await unary(channel, "Say")(BytesValue(), timeout=1000)
        assert 0 < (either.echo.remaining_s or 0) < 1100  # clients round it up
        await unary(channel, "Say")(BytesValue())
        assert either.echo.remaining_s is None
        error = await failure(unary(channel, "Wait")(BytesValue(), timeout=0.05))
        assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        await either.echo.cancelled.acquire()


async def test_a_call_that_its_caller_cancels_is_cancelled(either: Serving) -> None:
    async with either.channel() as channel:
        call = unary(channel, "Wait")(BytesValue())
        await either.echo.begun.acquire()
        call.cancel()
        await either.echo.cancelled.acquire()
        call = stream(channel, "Repeat")(BytesValue(value=b"\0" + bytes(1000)))
        await call.read()
        call.cancel()
        await either.echo.cancelled.acquire()
        assert await unary(channel, "Say")(BytesValue(value=b"still there?"))


async def test_a_caller_who_leaves_takes_his_calls_with_him(either: Serving) -> None:
    async with either.channel() as channel:
        call = unary(channel, "Wait")(BytesValue())
        await either.echo.begun.acquire()
    await either.echo.cancelled.acquire()
    assert call.done()


async def test_a_stream_comes_whole_and_its_writer_waits_for_who_reads_slowly(either: Serving) -> None:
    async with either.channel(**{"http2.bdp_probe": 0, "http2.lookahead_bytes": 65_536}) as channel:
        call = stream(channel, "Repeat")(BytesValue(value=bytes([200]) + bytes(50_000)))
        await call.read()
        await unary(channel, "Say")(BytesValue())
        assert either.echo.pieces < 100
        assert [len((await call.read()).value) for _ in range(199)] == [50_000] * 199
        assert await call.read() is grpc.aio.EOF


async def test_a_call_may_ask_and_be_answered_many_times(either: Serving) -> None:
    async with either.channel() as channel:
        call = chat(channel, "Chat")()
        for number in range(100):
            await call.write(BytesValue(value=bytes([number]) * 10_000))
            assert (await call.read()).value == bytes([number]) * 10_000
        await call.done_writing()
        assert await call.read() is grpc.aio.EOF
        assert await call.code() is grpc.StatusCode.OK


@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
async def test_a_call_may_ask_many_times_and_be_answered_once(either: Serving, compression: grpc.Compression) -> None:
    pieces = [BytesValue(value=bytes(1024**2)) for _ in range(7)]
    async with either.channel(max_receive_message_length=MESSAGE_MOST) as channel:
        gather = channel.stream_unary(f"/{SERVICE}/Gather", BytesValue.SerializeToString, BytesValue.FromString)
        assert await gather(iter(pieces), compression=compression) == BytesValue(value=bytes(7 * 1024**2))


async def test_health_is_told_and_watched(either: Serving) -> None:
    serving, not_serving = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
    await either.health.set(SERVICE, serving)
    async with either.channel() as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        asked = health_pb2.HealthCheckRequest(service=SERVICE)
        assert (await stub.Check(asked)).status == serving
        watching = stub.Watch(asked)
        assert (await watching.read()).status == serving
        await either.health.set(SERVICE, not_serving)
        assert (await watching.read()).status == not_serving
        watching.cancel()
        error = await failure(stub.Check(health_pb2.HealthCheckRequest(service="nobody")))
        assert error.code() is grpc.StatusCode.NOT_FOUND


async def test_services_can_be_asked_for(either: Serving) -> None:
    async with either.channel() as channel:
        call = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo()
        for _ in range(2):
            await call.write(reflection_pb2.ServerReflectionRequest(list_services=""))
            reply = await call.read()
            assert SERVICE in [service.name for service in reply.list_services_response.service]
        await call.done_writing()
        assert await call.code() is grpc.StatusCode.OK


async def test_who_pings_to_keep_his_connection_keeps_it(ours: Serving) -> None:
    async with RawCaller(ours.port) as caller:
        for number in range(20):
            caller.h2.ping(number.to_bytes(8, "big"))
            caller.send()
        acked = h2.events.PingAckReceived
        await caller.until(lambda: sum(isinstance(event, acked) for event in caller.events) == 20)
        assert (await caller.end(caller.ask("Say", value(b"hello"))))["grpc-status"] == "0"


async def test_a_stop_lets_the_open_calls_end_and_takes_no_others(either: Serving) -> None:
    async with either.channel() as channel, either.channel() as another:
        call = unary(channel, "Wait")(BytesValue(value=b"hello"))
        await either.echo.begun.acquire()
        stopping = asyncio.ensure_future(either.stop(60))
        await asyncio.sleep(0)
        assert (await failure(unary(another, "Say")(BytesValue()))).code() is grpc.StatusCode.UNAVAILABLE
        assert not stopping.done()
        either.echo.may_end.set()
        assert (await call).value == b"hello"
        await stopping


async def test_a_stop_cuts_short_what_does_not_end(either: Serving) -> None:
    async with either.channel() as channel:
        call = unary(channel, "Wait")(BytesValue(value=b"hello"))
        await either.echo.begun.acquire()
        await either.stop(0.01)
        await either.echo.cancelled.acquire()
        assert (await failure(call)).code() in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}


# Where ours says more


@pytest.mark.parametrize(
    ("headers", "http_status"),
    [({"content-type": "application/json"}, "415"), ({"_method": "GET"}, "405"), ({"_method": "PUT"}, "405")],
)
async def test_what_is_no_call_of_grpc_is_told_in_http(
    ours: Serving, headers: dict[str, str], http_status: str
) -> None:
    async with RawCaller(ours.port) as caller:
        assert await caller.end(caller.ask("Say", value(b"?"), headers=headers)) == {":status": http_status}


@pytest.mark.parametrize(
    ("headers", "messages", "status", "text"),
    [
        pytest.param({"grpc-timeout": "soon"}, [value(b"?")], 13, "grpc-timeout: 'soon'", id="no timeout"),
        pytest.param({"x-bin": "%"}, [value(b"?")], 13, "headers that gRPC does not allow", id="no base64"),
        pytest.param({}, [value(b"1"), value(b"2")], 12, "takes one message, and more came", id="two messages"),
        pytest.param({}, [value(b"1") * 5], 12, "takes one message, and more came", id="five messages in one frame"),
        pytest.param({}, [], 12, "takes one message, and none came", id="no message"),
        pytest.param({}, [grpc_bytes(b"\xff")], 13, "is no message of this call", id="no protobuf"),
        pytest.param({"grpc-encoding": "br"}, [grpc_bytes(b"?", flag=1)], 12, "'br'", id="an unknown encoding"),
        pytest.param({}, [grpc_bytes(b"?", flag=1)], 13, "does not say how", id="no encoding"),
        pytest.param({}, [b"\0\xff\xff\xff\xff"], 8, "MAX_REQUEST_BYTES", id="a long message"),
    ],
)
async def test_a_call_that_is_none_is_told_why(
    ours: Serving, headers: dict[str, str], messages: list[bytes], status: int, text: str
) -> None:
    async with RawCaller(ours.port) as caller:
        for ends in (True, *[False] * bool(messages and status != 13)):
            end = await caller.end(caller.ask("Say", *messages, ends=ends, headers=headers))
            assert (end["grpc-status"], text in end["grpc-message"].replace("%20", " ")) == (str(status), True), end
        assert (await caller.end(caller.ask("Say", value(b"hello"))))["grpc-status"] == "0"


async def test_a_call_ends_by_its_deadline_whether_its_request_came_or_not(ours: Serving) -> None:
    async with RawCaller(ours.port) as caller:
        for messages in ([], [value(b"?")]):
            number = caller.ask("Wait", *messages, ends=bool(messages), headers={"grpc-timeout": "10m"})
            assert (await caller.end(number))["grpc-status"] == "4"
        await ours.echo.cancelled.acquire()


NOBODY = Aborted(grpc.StatusCode.UNAUTHENTICATED, "who are you?", (("retry-after", "1"),))


@asynccontextmanager
async def judging() -> AsyncIterator[tuple[Serving, list[Any]]]:
    """A server that lets no strangers in, and whom it was asked about."""
    judged: list[Any] = []

    def judge(path: str, metadata: Any) -> None:
        judged.append((path, metadata))
        if not metadata:
            raise NOBODY

    async with serving_ours(streams_most=5, judge=judge, public=PUBLIC) as serving:
        yield serving, judged


@pytest.mark.parametrize("method", ["Say", "Wait", "Chat", "Gather"])
async def test_a_strangers_request_is_not_waited_for(method: str) -> None:
    async with judging() as (serving, judged), RawCaller(serving.port) as caller:
        end = await caller.end(caller.ask(method, value(bytes(100_000)), ends=False))
        assert (end["grpc-status"], end["grpc-message"], end["retry-after"]) == ("16", "who are you?", "1")
        assert judged == [(f"/{SERVICE}/{method}", ())]
        await eventually(lambda: _open(serving) == [])


async def test_who_is_known_may_take_time_over_his_request() -> None:
    async with judging() as (serving, _), RawCaller(serving.port) as caller:
        number = caller.ask("Say", ends=False, headers={"x-who": "me"})
        await eventually(lambda: bool(_open(serving)))
        caller.h2.send_data(number, value(b"hello"), end_stream=True)
        caller.send()
        assert (await caller.end(number))["grpc-status"] == "0"


async def test_a_call_that_comes_whole_is_left_to_its_servicer_to_judge() -> None:
    async with judging() as (serving, judged), RawCaller(serving.port) as caller:
        assert (await caller.end(caller.ask("Say", value(b"hello"))))["grpc-status"] == "0"
        assert judged == []


@pytest.mark.parametrize(("method", "headers"), [("Say", {}), ("Wait", {"grpc-timeout": "1H"})])
async def test_a_request_that_does_not_come_whole_in_time_is_given_up(
    ours: Serving, method: str, headers: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grpc_call, "REQUEST_WITHIN_S", 0.01)
    async with RawCaller(ours.port) as caller:
        end = await caller.end(caller.ask(method, value(b"hello")[:5], ends=False, headers=headers))
        assert (end["grpc-status"], end["grpc-message"]) == ("4", "the request did not arrive within 0.01 s")
        await eventually(lambda: _open(ours) == [])


async def test_a_request_that_came_whole_late_has_its_own_deadline(
    ours: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grpc_call, "REQUEST_WITHIN_S", 1.0)
    async with RawCaller(ours.port) as caller:
        numbers = [caller.ask("Wait", ends=False, headers={"grpc-timeout": span}) for span in ("1500m", "1H")]
        await eventually(lambda: len(_open(ours)) == 2)
        for number in numbers:
            caller.h2.send_data(number, value(b"hello"), end_stream=True)
        caller.send()
        assert (await caller.end(numbers[0]))["grpc-status"] == "4"
        ours.echo.may_end.set()
        assert (await caller.end(numbers[1]))["grpc-status"] == "0"


HEALTH_CHECK, HEALTH_WATCH = (f"/grpc.health.v1.Health/{name}" for name in ("Check", "Watch"))
REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
PUBLIC = ("grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection")


@pytest.mark.parametrize("path", [HEALTH_CHECK, HEALTH_WATCH, REFLECTION])
async def test_what_anybody_may_ask_is_short(path: str) -> None:
    async with judging() as (serving, judged), RawCaller(serving.port) as caller:
        end = await caller.end(caller.ask("", grpc_bytes(bytes(4097)), ends=False, headers={"_path": path}))
        assert (end["grpc-status"], "at most 4096 are taken" in end["grpc-message"]) == ("8", True)
        assert judged == []
        assert (await caller.end(caller.ask("Say", value(bytes(5_000)))))["grpc-status"] == "0"


@pytest.mark.parametrize(("path", "ends"), [(HEALTH_CHECK, False), (HEALTH_WATCH, True), (REFLECTION, False)])
async def test_calls_that_anybody_may_make_are_few_at_a_time(
    path: str, ends: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grpc_server, "PUBLIC_OPEN_MOST", 2)
    asked = [grpc_bytes(b"")] if ends else []
    async with judging() as (serving, _), RawCaller(serving.port) as caller, RawCaller(serving.port) as another:
        for _ in range(2):
            first, _ = (caller.ask("", *asked, ends=ends, headers={"_path": path}) for _ in range(2))
            await eventually(lambda: len(_open(serving)) == 2)
            end = await another.end(another.ask("", *asked, ends=ends, headers={"_path": path}))
            assert (end["grpc-status"], " are open" in end["grpc-message"]) == ("8", True)
            check = {"_path": HEALTH_CHECK}
            assert (await another.end(another.ask("", grpc_bytes(b""), headers=check)))["grpc-status"] == "0"
            for number in (first, first + 2):
                caller.h2.reset_stream(number)
            caller.send()
            await eventually(lambda: _open(serving) == [])


async def test_who_asks_on_where_anybody_may_before_he_is_answered_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grpc_server, "PUBLIC_UNTAKEN_MOST", 10_000)
    asked = reflection_pb2.ServerReflectionRequest(file_containing_symbol="?" * 2_000).SerializeToString()
    async with judging() as (serving, _), RawCaller(serving.port) as caller:
        end = await caller.end(caller.ask("", *[grpc_bytes(asked)] * 6, ends=False, headers={"_path": REFLECTION}))
        assert (end["grpc-status"], "wait for an answer" in end["grpc-message"]) == ("8", True)
        await eventually(lambda: _open(serving) == [])


async def test_who_speaks_http_1_is_told_that_this_port_does_not(ours: Serving) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", ours.port)
    writer.write(b"GET / HTTP/1.1\r\n\r\n")
    assert b"this port speaks gRPC" in await reader.read()
    writer.close()


async def test_who_never_greets_is_cut_off(ours: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grpc_server, "GREETING_WITHIN_S", 0.01)
    reader, writer = await asyncio.open_connection("127.0.0.1", ours.port)
    assert await reader.read()  # Its settings and the end, which is all that this waits for.
    writer.close()


async def test_who_breaks_the_protocol_loses_his_calls_and_nobody_else_does(ours: Serving) -> None:
    async with RawCaller(ours.port) as caller, ours.channel() as channel:
        other = unary(channel, "Wait")(BytesValue(value=b"hello"))
        caller.ask("Wait", value(b"?"))
        for _ in range(2):
            await ours.echo.begun.acquire()
        caller.send(raw(DATA, b"?", 0, 99))
        with pytest.raises(EOFError):
            await caller.until(lambda: False)
        (told,) = [event for event in caller.events if isinstance(event, h2.events.ConnectionTerminated)]
        assert told.additional_data == b"DATA on stream 99, which has not begun"
        await ours.echo.cancelled.acquire()
        ours.echo.may_end.set()
        assert (await other).value == b"hello"


async def test_calls_that_are_taken_back_at_once_leave_their_places(ours: Serving) -> None:
    async with RawCaller(ours.port) as caller:
        for _ in range(20):
            for method, messages in [("Say", [value(b"?")]), ("Wait", [value(b"?")]), ("Chat", []), ("Wait", [])]:
                number = caller.h2.get_next_available_stream_id()
                caller.ask(method, *messages, ends=bool(messages))
                caller.h2.reset_stream(number)
            caller.send()
            await eventually(lambda: _open(ours) == [])
        assert (await caller.end(caller.ask("Say", value(b"hello"))))["grpc-status"] == "0"


async def test_callers_who_change_their_minds_at_any_time_leave_nothing_behind(ours: Serving) -> None:
    async with ours.channel() as channel:
        calls = [unary(channel, "Wait")(BytesValue()) for _ in range(30)]
        calls += [stream(channel, "Repeat")(BytesValue(value=b"\0" + bytes(10_000))) for _ in range(30)]
        calls += [unary(channel, "Say")(BytesValue(value=bytes(100_000))) for _ in range(30)]
        shuffle(calls)
        for call in calls:
            await asyncio.sleep(0.001 * random())
            call.cancel()
        await eventually(lambda: _open(ours) == [])
        assert await unary(channel, "Say")(BytesValue(value=b"hello")) == BytesValue(value=b"hello")


async def test_more_calls_at_once_than_are_taken_are_refused_and_may_come_again(ours: Serving) -> None:
    async with RawCaller(ours.port) as caller:
        numbers = [caller.ask("Wait", value(b"?")) for _ in range(5)]
        caller.h2.remote_settings.update({3: 100})
        caller.h2.remote_settings.acknowledge()
        refused = caller.ask("Wait", value(b"?"))
        of = h2.events.StreamReset
        await caller.until(lambda: any(isinstance(event, of) for event in caller.events))
        (reset,) = [event for event in caller.events if isinstance(event, of)]
        assert (reset.stream_id, reset.error_code) == (refused, 7)
        ours.echo.may_end.set()
        assert [(await caller.end(number))["grpc-status"] for number in numbers] == ["0"] * 5
        assert (await caller.end(caller.ask("Wait", value(b"?"))))["grpc-status"] == "0"


def _open(serving: Serving) -> list[Any]:
    assert serving.ours
    return [stream for peer in serving.ours.connections for stream in peer.connection.streams]


async def test_a_call_taken_back_whose_answer_waits_for_its_window_leaves_its_place(ours: Serving) -> None:
    async with RawCaller(ours.port, initial_window_size=10) as caller:
        numbers = [caller.ask("Say", value(b"a long answer")) for _ in range(5)]
        await caller.until(lambda: [len(caller.data(number)) for number in numbers] == [10] * 5)
        for number in numbers:
            caller.h2.reset_stream(number)
        caller.send()
        await eventually(lambda: _open(ours) == [])


@pytest.mark.usefixtures("only_ours_is_collected")
async def test_nothing_is_left_of_calls_that_are_over(ours: Serving) -> None:
    async with RawCaller(ours.port) as caller:
        for method, messages in [("Say", [value(b"?")]), ("Chat", []), ("Wait", [])]:
            number = caller.ask(method, *messages, ends=False, headers={"grpc-timeout": "99999999H"})
            caller.h2.reset_stream(number)
            caller.send()
        await caller.end(caller.ask("Say", value(b"?"), headers={"grpc-timeout": "99999999H"}))
        await eventually(lambda: _open(ours) == [])
        gc.collect()
        assert [found for found in gc.get_objects() if type(found) is Call] == []


@pytest.mark.parametrize(
    ("wrong", "status"), [(b"\0\xff\xff\xff\xff", "8"), (grpc_bytes(b"?", flag=1), "13"), (grpc_bytes(b"\xff"), "13")]
)
async def test_a_wrong_message_among_many_ends_its_call_and_the_work_on_it(
    ours: Serving, wrong: bytes, status: str
) -> None:
    async with RawCaller(ours.port) as caller:
        number = caller.ask("Chat", value(b"hello"), ends=False)
        await caller.until(lambda: caller.data(number) == value(b"hello"))
        caller.h2.send_data(number, wrong)
        caller.send()
        assert (await caller.end(number))["grpc-status"] == status
        await ours.echo.cancelled.acquire()
        assert len(asyncio.all_tasks()) == 1


async def test_what_waits_for_a_caller_who_never_reads_is_bounded_and_comes_when_he_does(ours: Serving) -> None:
    async with RawCaller(ours.port, initial_window_size=2**31 - 1) as caller:
        caller.h2.increment_flow_control_window(2**31 - 1 - 65_535)
        number = caller.ask("Repeat", value(bytes([200]) + bytes(50_000)))
        assert ours.ours
        (peer,) = ours.ours.connections
        await eventually(lambda: any(len(stream.unsent or b"") > UNSENT_MOST for stream in peer.connection.streams))
        (waiting,) = peer.connection.streams
        assert len(waiting.unsent or b"") <= UNSENT_MOST + 60_000
        assert peer.transport.get_write_buffer_size() <= UNSENT_MOST + 60_000
        assert (await caller.end(number))["grpc-status"] == "0"
        assert caller.data(number) == value(bytes(50_000)) * 200


async def test_who_asks_on_and_never_reads_is_cut_off(ours: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grpc_server, "UNREAD_MOST", 10_000)
    sings = block((":method", "POST"), (":path", "/tests.Echo/" + "Sing" * 100), ("content-type", "application/grpc"))
    asked = b"".join(raw(HEADERS, sings, END_HEADERS, number) for number in range(1, 4001, 2))
    with socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        deaf.setblocking(False)
        loop, server = asyncio.get_running_loop(), ours.ours
        assert server
        await loop.sock_connect(deaf, ("127.0.0.1", ours.port))
        await eventually(lambda: bool(server.connections))
        (peer,) = server.connections
        peer.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2048)
        with suppress(ConnectionError):
            await loop.sock_sendall(deaf, GREETING + asked)
        await peer.lost
        assert not server.connections


async def test_a_stop_waits_for_answers_that_are_on_their_way(ours: Serving) -> None:
    async with ours.channel() as channel:
        await unary(channel, "Say")(BytesValue())
        assert ours.ours
        (peer,) = ours.ours.connections
        peer.pause_writing()
        call = unary(channel, "Say")(BytesValue(value=b"hello"))
        await eventually(lambda: any(stream.finished for stream in _open(ours)))
        stopping = asyncio.ensure_future(ours.stop(60))
        for _ in range(10):
            await asyncio.sleep(0)
        peer.resume_writing()
        assert (await call).value == b"hello"
        await stopping
        assert not ours.ours.connections


async def test_a_stop_waits_no_longer_than_it_may_for_who_does_not_read(ours: Serving) -> None:
    async with RawCaller(ours.port, initial_window_size=10) as caller:
        number = caller.ask("Say", value(b"a long answer"))
        await caller.until(lambda: len(caller.data(number)) == 10)
        await ours.stop(0.01)
        assert ours.ours
        assert not ours.ours.connections


async def test_who_asks_on_and_never_opens_a_window_is_cut_off(ours: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grpc_outgoing, "WAITING_MOST", 100_000)
    async with RawCaller(ours.port, initial_window_size=0) as caller:
        for _ in range(3):
            caller.ask("Say", value(bytes(40_000)))
        with pytest.raises((EOFError, ConnectionError)):
            await caller.until(lambda: False)
    await eventually(lambda: _open(ours) == [])


async def test_of_all_who_leave_too_much_unread_together_the_worst_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grpc_server, "LOOK_EVERY_S", 0.001)
    async with serving_ours() as ours, RawCaller(ours.port, initial_window_size=0) as modest:
        modest.ask("Say", value(bytes(40_000)))
        await eventually(lambda: bool(_open(ours)))
        async with RawCaller(ours.port, initial_window_size=0) as greedy:
            for _ in range(3):
                greedy.ask("Say", value(bytes(40_000)))
            await eventually(lambda: len(_open(ours)) == 4)
            monkeypatch.setattr(grpc_server, "UNREAD_BY_ALL_MOST", 100_000)
            with pytest.raises((EOFError, ConnectionError)):
                await greedy.until(lambda: False)
        modest.h2.ping(b"are you?")
        modest.send()
        pong = h2.events.PingAckReceived
        await modest.until(lambda: any(isinstance(event, pong) for event in modest.events))
        assert len(_open(ours)) == 1


async def test_answers_that_wait_count_with_what_their_calls_take(ours: Serving) -> None:
    async with RawCaller(ours.port, initial_window_size=0) as caller:
        numbers = [caller.ask("Say", value(b"?")) for _ in range(3)]
        assert ours.ours
        (peer,) = ours.ours.connections
        await eventually(lambda: peer.unread_bytes == 3 * (len(value(b"?")) + WAITING_CALL_BYTES))
        caller.h2.reset_stream(numbers[0])
        caller.send()
        await eventually(lambda: peer.unread_bytes == 2 * (len(value(b"?")) + WAITING_CALL_BYTES))
        caller.h2.update_settings({4: 1_000})
        caller.send()
        for number in numbers[1:]:
            assert (await caller.end(number))["grpc-status"] == "0"
        assert peer.unread_bytes == 0


async def test_more_connections_than_there_may_be_are_told_so_and_closed() -> None:
    held = Held(connections_most=1)
    async with serving_ours(held=held) as serving:
        async with RawCaller(serving.port) as first:
            reader, writer = await asyncio.open_connection("127.0.0.1", serving.port)
            assert b"1 connections are open, the limit of this gateway (MAX_CONNECTIONS)" in await reader.read()
            writer.close()
            assert (await first.end(first.ask("Say", value(b"hello"))))["grpc-status"] == "0"
        await eventually(lambda: held.connections == 0)
        async with RawCaller(serving.port) as another:
            assert (await another.end(another.ask("Say", value(b"hello"))))["grpc-status"] == "0"
