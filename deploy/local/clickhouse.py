"""ClickHouse for one machine: `python -m deploy.local.clickhouse --path DIR --port N`.

The ClickHouse engine behind ClickHouse's HTTP interface, on loopback alone, for clickhouse-connect, curl and Grafana.
Unlike a server it checks no password, keeps no session and answers in one piece.
"""

import argparse
import asyncio
import json
import os
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from aiohttp import web

from deploy.local import clickhouse_go
from deploy.local import clickhouse_sql as sql
from deploy.local.clickhouse_engine import Answer, Engine, EngineError, Request

MAX_REQUEST_BYTES: Final = 256 * 2**20
_ENGINE: Final = web.AppKey("engine", Engine)
_THREADS: Final = web.AppKey("threads", ThreadPoolExecutor)


def application(engine: Engine, max_request_bytes: int = MAX_REQUEST_BYTES, threads: int = 8) -> web.Application:
    """The HTTP interface of an engine; statements run in `threads` threads, so that the loop stays live."""
    app = web.Application(client_max_size=max_request_bytes)
    app[_ENGINE] = engine
    app[_THREADS] = ThreadPoolExecutor(threads, thread_name_prefix="clickhouse")
    app.router.add_get("/ping", _ping)
    app.router.add_get("/replicas_status", _ping)
    app.router.add_route("*", "/", _statement)
    app.on_cleanup.append(_close)
    return app


async def _close(app: web.Application) -> None:
    """Waits for what runs, then closes the engine, so that its directory is whole."""
    await asyncio.to_thread(app[_THREADS].shutdown)
    app[_ENGINE].close()


async def _ping(_: web.Request) -> web.Response:
    return web.Response(text="Ok.\n")


async def _statement(http: web.Request) -> web.Response:
    fields = dict(http.query)
    query_id = fields.get("query_id") or str(uuid.uuid4())
    try:
        request = _request(http.method, fields | await _form(http), await _body(http))
        if not request.text.strip():
            return web.Response(text="Ok.\n")
        if clickhouse_go.is_hello(request.text, fields.get("client_protocol_version", "")):
            engine = http.app[_ENGINE]
            return web.Response(body=clickhouse_go.hello(engine.version, engine.timezone))
        answer = await asyncio.get_running_loop().run_in_executor(http.app[_THREADS], http.app[_ENGINE].run, request)
    except EngineError as error:
        return _refusal(error.code, str(error), query_id)
    return _response(answer, query_id, http.app[_ENGINE].timezone)


async def _body(http: web.Request) -> bytes:
    if http.content_type.startswith("multipart/"):
        return b""
    try:
        return await http.read()
    except web.HTTPRequestEntityTooLarge as error:
        limit = http.client_max_size
        raise web.HTTPRequestEntityTooLarge(
            limit,
            limit + 1,
            text=f"A request may have {limit} bytes at most: insert in smaller parts.\n",
        ) from error
    except web.RequestPayloadError as error:
        raise web.HTTPUnsupportedMediaType(text=f"{error}. Send the body plain, or by gzip or deflate.\n") from error


async def _form(http: web.Request) -> dict[str, str]:
    """clickhouse-connect sends long parameters as a form; any other POST body is the statement or its data."""
    if not http.content_type.startswith("multipart/"):
        return {}
    form = await http.post()
    if any(isinstance(value, web.FileField) for value in form.values()):
        raise EngineError("Code: 48. DB::Exception: The local engine takes no external tables. (NOT_IMPLEMENTED)")
    return {name: str(value) for name, value in form.items()}


def _request(method: str, fields: dict[str, str], body: bytes) -> Request:
    if "1" in {fields.get("compress"), fields.get("decompress")}:
        raise EngineError(
            "Code: 48. DB::Exception: The local engine speaks plain or by gzip, not LZ4. (NOT_IMPLEMENTED)"
        )
    named = {name: value for name, value in fields.items() if name.startswith("param_")}
    settings = {name: value for name, value in fields.items() if name not in sql.NOT_SETTINGS and name not in named}
    if method in {"GET", "HEAD"}:
        settings.setdefault("readonly", "2")  # As ClickHouse: following a link changes nothing.
    return Request(
        text=sql.full_text(fields.get("query", ""), body),
        database=fields.get("database", "default"),
        default_format=fields.get("default_format", "TabSeparated"),
        settings=settings,
        parameters={name.removeprefix("param_"): value for name, value in named.items()},
    )


def _response(answer: Answer, query_id: str, timezone: str) -> web.Response:
    headers = {
        "X-ClickHouse-Query-Id": query_id,
        "X-ClickHouse-Timezone": timezone,
        "X-ClickHouse-Summary": json.dumps(answer.summary),
        "Content-Type": "text/plain; charset=UTF-8",
    }
    if answer.format:
        headers["X-ClickHouse-Format"] = answer.format
    return web.Response(body=answer.data, headers=headers)


def _refusal(code: int, message: str, query_id: str) -> web.Response:
    headers = {"X-ClickHouse-Exception-Code": str(code), "X-ClickHouse-Query-Id": query_id}
    return web.Response(status=sql.http_status(code), text=message + "\n", headers=headers)


def main() -> None:
    """Serves until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="deploy.local.clickhouse", description="The ClickHouse engine over HTTP.")
    parser.add_argument("--path", type=Path, required=True, help="the directory that keeps the data")
    parser.add_argument("--port", type=int, required=True, help="the port on 127.0.0.1")
    parser.add_argument("--max-request-bytes", type=int, default=MAX_REQUEST_BYTES, help="larger ones get 413")
    options = parser.parse_args()
    path = options.path.resolve()
    path.mkdir(parents=True, exist_ok=True)
    os.chdir(path)  # The engine keeps the schemas that statements bring along in the directory that it works in.
    app = application(Engine(path), options.max_request_bytes)
    web.run_app(app, host="127.0.0.1", port=options.port, access_log=None, print=None, handle_signals=True)


if __name__ == "__main__":
    main()
