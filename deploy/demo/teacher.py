"""A stand-in for the teacher: OpenAI's HTTP API on loopback, known answers, a stated rate of mistakes, GPT-4's pace.

    python -m deploy.demo.teacher --port N --error-rate 0.11 --latency-s 1.0 --seed 7 --answers FILE.jsonl

It stands where a company's paid API would: what is measured against it shows that the loop works, not how good
GPT-4 is. Latency is log-normal around the median given; a call that waits costs a timer, so hundreds wait at once.
Tokens are counted by an approximation (`spoiling.tokens`). Tools, stop texts and response formats are accepted and
not acted upon.
"""

import asyncio
import hmac
import logging
import signal
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Final

import typer
from aiohttp import web
from aiohttp.typedefs import Handler
from pydantic import ValidationError

from deploy.demo.chat import END, Answer, ChatRequest, Head, chunk, completion, error, event
from deploy.demo.spoiling import Oracle, draw, read_answers, tokens

HOST: Final = "127.0.0.1"
LATENCY_SIGMA: Final = 0.35  # p99 is then 2.3 times the median, as callers of large models see it.
FIRST_TOKEN_SHARE: Final = 0.4  # of a streamed answer's time passes before its first token.
STREAM_STEPS: Final = 12  # A stream sleeps this often at most, so that hundreds of them stay cheap.
MAX_BODY_BYTES: Final = 1 << 20
TOKENS_PER_MESSAGE: Final = 4  # The role and the marks around a message, by OpenAI's own counting recipe.

log = logging.getLogger("tutelage.teacher")


@dataclass
class Teacher:
    """Answers chat completions from `oracle` after about `latency_s` seconds (the median)."""

    oracle: Oracle
    api_key: str
    model: str = "gpt-4"
    latency_s: float = 1.0
    unknown: int = field(default=0, init=False)  # Questions so far that no answer was known to.

    def app(self) -> web.Application:
        app = web.Application(client_max_size=MAX_BODY_BYTES, middlewares=[openai_errors, self._only_with_key])
        app.router.add_post("/v1/chat/completions", self._complete)
        app.router.add_get("/v1/models", self._models)
        return app

    def decide(self, request: ChatRequest) -> Answer:
        question = next((m.text for m in reversed(request.messages) if m.role == "user"), "")
        pieces = tokens(self._words_for(question))
        most = request.max_completion_tokens or request.max_tokens or len(pieces)
        return Answer(
            pieces=pieces[:most],
            finish="length" if most < len(pieces) else "stop",
            prompt_tokens=sum(len(tokens(m.text)) + TOKENS_PER_MESSAGE for m in request.messages),
            latency_s=self.latency_s * draw(self.oracle.seed, question, "latency").lognormvariate(0, LATENCY_SIGMA),
        )

    def _words_for(self, question: str) -> str:
        known = self.oracle.answer(question)
        if known is not None:
            return known
        self.unknown += 1
        if self.unknown & (self.unknown - 1) == 0:  # 1, 2, 4, 8 ...: a flood must not fill the log.
            log.warning("no answer is known to %d questions so far, the last one %r", self.unknown, question[:80])
        return self.oracle.guess(question)

    async def _complete(self, http: web.Request) -> web.StreamResponse:
        request = ChatRequest.model_validate_json(await http.read())
        answer = self.decide(request)
        head = {"id": f"chatcmpl-{uuid.uuid4().hex}", "created": int(time.time()), "model": request.model}
        if request.stream:
            usage = request.stream_options is not None and request.stream_options.include_usage
            return await _stream(http, head, answer, with_usage=usage)
        await asyncio.sleep(answer.latency_s)
        return web.json_response(completion(head, answer))

    async def _models(self, http: web.Request) -> web.Response:  # noqa: ARG002
        model = {"id": self.model, "object": "model", "created": 1_687_882_411, "owned_by": "tutelage-stand-in"}
        return web.json_response({"object": "list", "data": [model]})

    @web.middleware
    async def _only_with_key(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        given = request.headers.get("Authorization", "")
        if not hmac.compare_digest(given.encode(errors="surrogateescape"), f"Bearer {self.api_key}".encode()):
            return error(401, "Incorrect API key provided.", code="invalid_api_key")
        return await handler(request)


@web.middleware
async def openai_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every refusal in the shape of OpenAI's errors."""
    try:
        return await handler(request)
    except ValidationError as problem:
        first = problem.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        return error(400, f"{where or 'body'}: {first['msg']}", param=where or None)
    except web.HTTPException as problem:
        return error(problem.status, problem.text or problem.reason)


async def _stream(http: web.Request, head: Head, answer: Answer, *, with_usage: bool) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"})
    await response.prepare(http)
    await response.write(event(chunk(head, {"role": "assistant", "content": ""})))
    async for text in _paced(answer):
        await response.write(event(chunk(head, {"content": text})))
    await response.write(event(chunk(head, {}, answer.finish)))
    if with_usage:
        await response.write(event({**chunk(head, {}), "choices": [], "usage": answer.usage}))
    await response.write(END)
    return response


async def _paced(answer: Answer) -> AsyncIterator[str]:
    """The answer's text in STREAM_STEPS parts at most: a pause before the first, then at an even pace."""
    size = -(-len(answer.pieces) // STREAM_STEPS) or 1
    parts = ["".join(answer.pieces[i : i + size]) for i in range(0, len(answer.pieces), size)]
    first_s = answer.latency_s * FIRST_TOKEN_SHARE
    rest_s = (answer.latency_s - first_s) / max(1, len(parts) - 1)
    for i, part in enumerate(parts):
        await asyncio.sleep(rest_s if i else first_s)
        yield part


@asynccontextmanager
async def serving(teacher: Teacher, port: int) -> AsyncIterator[str]:
    """Serve on loopback while the context is open; yields the base URL. Port 0 takes a free one."""
    # Handlers are cancelled with their callers: nobody waits out the latency of a call that hung up.
    runner = web.AppRunner(teacher.app(), handler_cancellation=True, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, HOST, port, backlog=1024, reuse_address=True).start()
        yield f"http://{HOST}:{runner.addresses[0][1]}/v1"
    finally:
        await runner.cleanup()


async def _until_stopped(teacher: Teacher, port: int) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with serving(teacher, port) as url:
        log.info("stand-in teacher at %s: %d answers known", url, len(teacher.oracle.answers))
        await stop.wait()
    log.info("stopped; no answer was known to %d questions", teacher.unknown)


def main(  # noqa: PLR0913, PLR0917 - one per option
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one and logs it.")],
    answers: Annotated[Path, typer.Option(exists=True, dir_okay=False, help='JSON lines {"text", "answer"}.')],
    api_key: Annotated[str, typer.Option(envvar="TEACHER_API_KEY", help="The bearer key that callers must show.")],
    error_rate: Annotated[float, typer.Option(min=0, max=1)] = 0.11,
    latency_s: Annotated[float, typer.Option(min=0, help="The median.")] = 1.0,
    seed: Annotated[int, typer.Option()] = 7,
    model: Annotated[str, typer.Option()] = "gpt-4",
) -> None:
    """Serve the stand-in teacher on loopback until SIGINT or SIGTERM."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        with answers.open(encoding="utf-8") as lines:
            oracle = Oracle(read_answers(lines), error_rate, seed)
    except ValueError as problem:
        raise typer.BadParameter(f"{answers}: {problem}") from problem
    asyncio.run(_until_stopped(Teacher(oracle, api_key, model, latency_s), port))


if __name__ == "__main__":
    typer.run(main)
