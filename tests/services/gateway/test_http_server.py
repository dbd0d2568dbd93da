"""The HTTP server around the calls: limits, health, stopping, and whose text a stream shows."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from protos import events_pb2 as events
from services.gateway import http_server
from services.gateway.door import REFUSED
from services.gateway.http_calls import Calls
from services.gateway.http_log import MALFORMED
from services.gateway.http_server import HttpServer
from services.gateway.keys import Unauthenticated
from tests.services.gateway.conftest import Gateway
from tests.services.gateway.examples import a_request, until

pytestmark = pytest.mark.contract
CHAT = "/v1/chat/completions"
QUESTION = {"model": "tutelage/say", "messages": [{"role": "user", "content": "what is it?"}]}


@pytest.fixture
async def http(gateway: Gateway) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=gateway.http_url.removesuffix("/v1"), timeout=30) as client:
        yield client


async def stream(http: httpx.AsyncClient, **headers: str) -> list[Any]:
    """The events of a streamed answer."""
    answer = await http.post(CHAT, json={**QUESTION, "stream": True}, headers=headers)
    assert answer.headers["content-type"] == "text/event-stream"
    lines = [line.removeprefix("data: ") for line in answer.text.split("\n\n") if line]
    return [line if line == "[DONE]" else json.loads(line) for line in lines]


def text_of(chunks: list[Any]) -> str:
    return "".join(choice["delta"].get("content") or "" for chunk in chunks[:-1] for choice in chunk.get("choices", ()))


@pytest.mark.parametrize(
    ("sent", "status", "code", "said"),
    [
        (("POST", CHAT, b"{"), 400, "invalid_value", "Invalid JSON"),
        (("POST", CHAT, b"[" * 100_000), 400, "invalid_value", "recursion limit"),
        (("POST", CHAT, b'"' + b"x" * 9_000_000 + b'"'), 413, "request_too_large", "MAX_REQUEST_BYTES"),
        (("POST", "/v1/embeddings", b"{}"), 404, "unknown_url", "POST /v1/chat/completions"),
        (("GET", CHAT, b""), 405, "unknown_url", "POST /v1/chat/completions"),
        (("POST", "/v1/feedback", b"{}"), 400, "invalid_value", "id: Field required"),
    ],
)
async def test_what_is_no_call_is_refused_in_openais_shape(
    http: httpx.AsyncClient, sent: tuple[str, str, bytes], status: int, code: str, said: str
) -> None:
    method, path, body = sent
    answer = await http.request(method, path, content=body, headers={"content-type": "application/json"})
    assert answer.status_code == status
    error = answer.json()["error"]
    assert (error["type"], error["code"]) == ("invalid_request_error", code)
    assert said in error["message"]


async def test_a_compressed_body_is_read(http: httpx.AsyncClient) -> None:
    headers = {"content-type": "application/json", "content-encoding": "gzip"}
    answer = await http.post(CHAT, content=gzip.compress(json.dumps(QUESTION).encode()), headers=headers)
    assert answer.status_code == 200


async def test_a_body_that_is_not_compressed_as_it_says_is_refused(http: httpx.AsyncClient) -> None:
    headers = {"content-type": "application/json", "content-encoding": "gzip"}
    answer = await http.post(CHAT, content=json.dumps(QUESTION), headers=headers)
    error = answer.json()["error"]
    assert (answer.status_code, error["type"]) == (400, "invalid_request_error")
    assert error["message"] == "content-encoding: the body is not gzip"


async def test_a_body_that_is_too_large_when_it_is_unpacked_is_refused(http: httpx.AsyncClient) -> None:
    bomb = gzip.compress(bytes(40_000_000))
    headers = {"content-type": "application/json", "content-encoding": "gzip"}
    answer = await http.post(CHAT, content=bomb, headers=headers)
    assert len(bomb) < 50_000
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "request_too_large")


@pytest.mark.parametrize("sent", [b"GET /healthz HTTP/1.0\r\n\r\n", b"nonsense\r\n\r\n"])
async def test_no_reply_says_what_software_it_comes_from(gateway: Gateway, sent: bytes) -> None:
    assert b"\r\nServer: tutelage\r\n" in await said_to(gateway, sent)


NO_HTTP = [
    (b"nonsense\r\n\r\n", "Invalid method encountered"),
    (b"GET / HTTP/9.9\r\nHost: x\r\n\r\n", "Bad status line"),
    (b"GET / HTTP/1.1\r\n\r\n", "Missing 'Host' header"),
    (b"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer SECRET\x01\r\n\r\n", "Invalid header value char"),
    (b"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: " + b"SECRET" * 2_000 + b"\r\n\r\n", "longer than 8190 bytes"),
    (b"GET /" + b"a" * 9_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", "longer than 8190 bytes"),
    (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 200 + b"\r\n", "Too many headers"),
    (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", "Invalid character in Content-Length"),
    (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "Pause on PRI/Upgrade"),
]


@pytest.mark.parametrize(("sent", "said"), NO_HTTP)
async def test_what_is_no_http_is_refused_in_openais_shape_and_without_what_was_sent(
    gateway: Gateway, sent: bytes, said: str
) -> None:
    head, _, body = (await said_to(gateway, sent)).partition(b"\r\n\r\n")
    error = json.loads(body)["error"]
    assert head.split()[1] == b"400"
    assert b"\r\nContent-Type: application/json" in head
    assert (error["type"], error["param"], error["code"]) == ("invalid_request_error", None, None)
    assert said in error["message"]
    assert b"SECRET" not in body


async def test_what_aiohttp_itself_refuses_is_told_in_openais_shape(http: httpx.AsyncClient) -> None:
    answer = await http.post(CHAT, json=QUESTION, headers={"expect": "tea"})
    assert (answer.status_code, answer.json()["error"]["message"]) == (417, "Unknown Expect: tea")


async def test_a_method_that_is_not_known_is_told_which_are(http: httpx.AsyncClient) -> None:
    answer = await http.delete(CHAT)
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


async def test_an_error_that_nobody_foresaw_is_told_in_openais_shape(
    gateway: Gateway, http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_authorization: str) -> None:
        raise ZeroDivisionError("a secret")

    monkeypatch.setattr(http_server, "_authorization", broken)
    answer = await http.get("/v1/models")
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "internal_error")
    assert "secret" not in answer.text


JSON_HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"


async def error_of(gateway: Gateway, *sent: bytes) -> tuple[int, dict[str, Any]]:
    """The status and the error that come back for a request that goes on."""
    port = int(gateway.http_url.removesuffix("/v1").rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for part in sent:
        writer.write(part)
        await asyncio.sleep(0.01)
    head = await reader.readuntil(b"\r\n\r\n")
    body = await reader.readuntil(b"}}")
    writer.transport.abort()
    return int(head.split()[1]), json.loads(body)["error"]


class NobodyKnown:
    """Callers of whom none has a key."""

    def know(self, _authorization: str) -> None:
        raise Unauthenticated("who are you?")

    def admit(self, authorization: str, _task: str) -> str:
        raise Unauthenticated(f"who are you, {authorization}?")


@pytest.mark.parametrize("path", [b"chat/completions", b"feedback"])
async def test_a_strangers_body_is_not_waited_for(gateway: Gateway, path: bytes) -> None:
    gateway.reception._callers = NobodyKnown()  # type: ignore[assignment]
    counted = REFUSED.labels(path.decode().replace("/", "."), "UNAUTHENTICATED")
    before = counted._value.get()
    head = JSON_HEAD.replace(b"chat/completions", path)
    status, error = await error_of(gateway, head + b"Content-Length: 100\r\n\r\n{")
    assert (status, error["code"], error["message"]) == (401, "invalid_api_key", "who are you?")
    assert counted._value.get() == before + 1
    assert gateway.door.held.bytes == 0


async def test_a_body_that_is_too_long_by_its_heads_word_is_not_waited_for(gateway: Gateway) -> None:
    status, error = await error_of(gateway, JSON_HEAD + b"Content-Length: 999999999\r\n\r\n{")
    assert (status, error["code"], "MAX_REQUEST_BYTES" in error["message"]) == (413, "request_too_large", True)


async def test_bodies_are_held_up_to_a_limit_together(gateway: Gateway) -> None:
    gateway.door.held.most_bytes = 10
    status, error = await error_of(gateway, JSON_HEAD + b"Content-Length: 100\r\n\r\n{", b'"messages": [')
    assert (status, error["code"]) == (429, "rate_limit_exceeded")
    assert error["message"] == (
        "the gateway holds 10 bytes of requests that have not come whole: send this one again in a moment"
    )
    assert gateway.door.held.bytes == 0


async def test_a_body_that_comes_in_parts_is_read(gateway: Gateway) -> None:
    body = json.dumps(QUESTION).encode()
    head = JSON_HEAD + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
    port = int(gateway.http_url.removesuffix("/v1").rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(head + body[:10])
    await until(lambda: gateway.door.held.bytes)
    writer.write(body[10:])
    assert b" 200 " in await reader.readline()
    writer.transport.abort()
    assert gateway.door.held.bytes == 0


@pytest.mark.asyncio(loop_factories=["asyncio", "uvloop"])
async def test_more_connections_than_there_may_be_hear_it_in_openais_shape(gateway: Gateway) -> None:
    gateway.door.held.connections_most = 0
    head, _, body = (await said_to(gateway, HEALTH)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503 ")
    assert json.loads(body)["error"]["message"] == (
        "0 connections are open, the limit of this gateway (MAX_CONNECTIONS): try again later"
    )
    await until(lambda: gateway.door.held.connections == 0)


HEALTH = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n"


def another_server(gateway: Gateway, **settings: object) -> HttpServer:
    calls = Calls(gateway.exchanges, gateway.reception, gateway.door, gateway.spool)  # type: ignore[arg-type]
    return HttpServer(gateway.settings.model_copy(update=settings), calls, gateway.door)


async def said_to(gateway: Gateway, sent: bytes, port: int | None = None) -> bytes:
    """All that comes back for bytes on a connection of their own."""
    host, _, own_port = gateway.http_url.removeprefix("http://").removesuffix("/v1").partition(":")
    reader, writer = await asyncio.open_connection(host, port or int(own_port))
    writer.write(sent)
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


@pytest.mark.parametrize(
    "sent",
    [
        HEAD + b"Authorization: Bearer tt_SECRET\x01\r\n\r\n",
        HEAD + b"Authorization Bearer tt_SECRET\r\n\r\n",
        HEAD + b"Authorization: Bearer " + b"tt_SECRET" * 1_000 + b"\r\n\r\n",
        HEAD + b'Content-Type: text/plain\r\nContent-Length: 0\r\n\r\n{"messages": "SECRET"}\r\n\r\n',
        b'{"messages": "SECRET"}\r\n\r\n',
        HEAD + b'Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n{"messages": "SECRET"}\r\n',
    ],
)
async def test_nothing_of_what_is_no_http_reaches_the_log(
    gateway: Gateway, sent: bytes, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    counted = REFUSED.labels("http", MALFORMED)._value.get()
    assert b" 400 " in await said_to(gateway, sent)
    logged = "".join(capfd.readouterr()) + caplog.text
    assert "SECRET" not in logged
    assert "Traceback" not in logged
    assert REFUSED.labels("http", MALFORMED)._value.get() == counted + 1


@pytest.mark.parametrize("sent", [b"", HEAD, HEALTH, HEALTH + HEAD])
async def test_a_connection_that_says_no_whole_request_is_closed(gateway: Gateway, sent: bytes) -> None:
    impatient = another_server(gateway, http_idle_s=0.05)
    port = await impatient.start()
    async with asyncio.timeout(10):
        await said_to(gateway, sent, port)
    await impatient.stop()


async def test_a_body_that_a_web_page_could_send_unasked_is_refused(gateway: Gateway, http: httpx.AsyncClient) -> None:
    answer = await http.post(CHAT, content=json.dumps(QUESTION), headers={"content-type": "text/plain"})
    assert answer.status_code == 415
    assert answer.json()["error"]["message"] == "content-type: 'text/plain' is not application/json"
    assert gateway.teacher.asks == []


async def test_fields_without_effect_are_named_in_a_header(http: httpx.AsyncClient) -> None:
    answer = await http.post(CHAT, json={**QUESTION, "store": True, "verbosity": "low"})
    assert answer.headers["x-tutelage-ignored"] == "store,verbosity"


async def test_an_idempotency_key_of_another_request_is_refused(http: httpx.AsyncClient) -> None:
    headers = {"idempotency-key": "order 7"}
    await http.post(CHAT, json=QUESTION, headers=headers)
    answer = await http.post(CHAT, json={**QUESTION, "seed": 2}, headers=headers)
    told = answer.json()["error"]["message"]
    assert (answer.status_code, "belongs to another request" in told) == (400, True)
    assert told.endswith("take a new one, by HTTP in the header idempotency-key")


async def test_a_student_that_fails_in_mid_stream_is_not_heard_by_who_can_not_take_text_back(
    gateway: Gateway, http: httpx.AsyncClient
) -> None:
    gateway.promote(events.POLICY_KIND_STUDENT_ONLY)
    gateway.student.breaks(after=2)
    chunks = await stream(http)
    assert text_of(chunks) == "the teacher says so"
    assert chunks[-2]["tutelage"]["answered_by"] == "teacher"
    assert chunks[-1] == "[DONE]"


async def test_who_asks_for_it_hears_the_student_at_once_and_when_to_forget_it(
    gateway: Gateway, http: httpx.AsyncClient
) -> None:
    gateway.promote(events.POLICY_KIND_STUDENT_ONLY)
    gateway.student.breaks(after=2)
    chunks = await stream(http, **{"x-tutelage-restart": "allow"})
    restart = next(place for place, chunk in enumerate(chunks) if chunk.get("tutelage") == {"restart": True})
    assert text_of(chunks[: restart + 1]) == "the student"
    assert text_of(chunks[restart:]) == "the teacher says so"


@pytest.mark.parametrize(
    ("stand_in", "heard", "end"),
    [
        ("the teacher was right", "the teacher was right", "[DONE]"),
        ("the student says so", "the teacher", "answer_replaced"),
    ],
)
async def test_who_stands_in_for_a_teacher_that_breaks_is_heard_only_if_it_goes_on_as_was_begun(
    gateway: Gateway, http: httpx.AsyncClient, stand_in: str, heard: str, end: str
) -> None:
    gateway.promote(events.POLICY_KIND_SHARE, share=1e-9)
    gateway.teacher.breaks(after=2)
    gateway.student.text = stand_in
    *chunks, last = await stream(http)
    assert text_of([*chunks, last]) == heard
    assert (last if last == "[DONE]" else last["error"]["code"]) == end


async def test_a_students_answer_that_is_kept_reaches_either(gateway: Gateway, http: httpx.AsyncClient) -> None:
    gateway.promote(events.POLICY_KIND_STUDENT_ONLY)
    assert text_of(await stream(http)) == "the student says so"
    assert text_of(await stream(http, **{"x-tutelage-restart": "allow"})) == "the student says so"


async def test_it_is_alive_and_ready_until_it_stops(gateway: Gateway, http: httpx.AsyncClient) -> None:
    assert [(await http.get(path)).status_code for path in ("/healthz", "/readyz")] == [200, 200]
    gateway.spool.full = "the disk is full"
    full = await http.get("/readyz")
    assert (full.status_code, full.json()["error"]["message"]) == (429, "the disk is full")
    gateway.spool.full = ""
    await gateway.door.close(0)
    assert [(await http.get(path)).status_code for path in ("/healthz", "/readyz")] == [200, 503]


async def test_a_stopping_gateway_finishes_what_is_open(gateway: Gateway, http: httpx.AsyncClient) -> None:
    gateway.teacher.delay_s = 0.2
    call = asyncio.create_task(http.post(CHAT, json=QUESTION))
    await until(lambda: gateway.teacher.asks)
    stopping = asyncio.create_task(gateway.http_server.stop())
    assert (await call).json()["choices"][0]["message"]["content"] == "the teacher says so"
    await stopping
    with pytest.raises(httpx.ConnectError):
        await http.post(CHAT, json=QUESTION)


@pytest.mark.parametrize("streams", [False, True])
async def test_what_is_still_open_when_the_grace_is_over_is_unavailable(
    gateway: Gateway, http: httpx.AsyncClient, streams: bool
) -> None:
    gateway.teacher.delay_s = 60
    call = asyncio.create_task(http.post(CHAT, json={**QUESTION, "stream": streams}))
    await until(lambda: gateway.teacher.asks)
    await gateway.http_server.stop()
    answer = await call
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "unavailable")
    assert (gateway.exchange.outcome, gateway.exchange.error) == (events.OUTCOME_FAILED, "the gateway was stopped")


async def test_who_repeats_a_call_waits_for_it_no_longer_than_his_own_deadline(
    gateway: Gateway, http: httpx.AsyncClient
) -> None:
    gateway.teacher.delay_s = 60
    same = {"idempotency-key": "a key"}
    first = asyncio.create_task(http.post(CHAT, json=QUESTION, headers=same))
    await until(lambda: gateway.teacher.asks)
    again = await http.post(CHAT, json=QUESTION, headers=same | {"x-tutelage-timeout-ms": "100"})
    assert (again.status_code, again.json()["error"]["message"]) == (
        504,
        "no answer within the deadline of 0.10 s: the call that came first with this request_id has none",
    )
    assert len(gateway.teacher.asks) == 1
    first.cancel()


async def test_open_calls_are_counted_together_with_those_of_grpc(gateway: Gateway, http: httpx.AsyncClient) -> None:
    gateway.teacher.delay_s = 60
    held = [gateway.inference.Complete(a_request()) for _ in range(4)]
    await until(lambda: len(gateway.teacher.asks) == 4)
    answer = await http.post(CHAT, json=QUESTION)
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
    for call in held:
        call.cancel()


async def test_a_fault_of_the_gateways_own_tells_nothing_of_itself(
    gateway: Gateway, http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(_exchange: events.Exchange) -> None:
        raise RuntimeError("a secret")

    monkeypatch.setattr(gateway.spool, "append_exchange", broken)
    answer = await http.post(CHAT, json=QUESTION)
    assert answer.status_code == 500
    assert answer.json()["error"]["message"] == "the gateway is at fault; its log says why"


async def test_a_port_that_is_taken_is_an_error_that_names_it(gateway: Gateway) -> None:
    address = gateway.http_url.removeprefix("http://").removesuffix("/v1")
    second = another_server(gateway, http_listen=address)
    with pytest.raises(OSError, match=f"HTTP_LISTEN={address} can't be bound"):
        await second.start()
    await second.stop()


async def test_it_listens_on_ipv6_too(gateway: Gateway) -> None:
    server = another_server(gateway, http_listen="[::1]:0")
    async with httpx.AsyncClient(base_url=f"http://[::1]:{await server.start()}") as http:
        assert (await http.get("/healthz")).status_code == 200
    await server.stop()
