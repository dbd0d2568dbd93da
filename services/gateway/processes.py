"""Several gateway processes on one host that share its ports: started, replaced where one dies, stopped together.

The kernel hands each new connection to one of them (SO_REUSEPORT). Each has a spool of its own, so each is a source of
its own in the ledger: the first has SPOOL_DIR itself, the others folders in it.
"""

import asyncio
import os
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Final

from services import telemetry
from services.gateway.settings import GatewaySettings

NUMBER: Final = "GATEWAY_PROCESS"
"""The variable by which a process knows that it is one of several, and which."""
START_AGAIN_S: Final = 1.0
HOPELESS_STARTS: Final = 3
SOUND_AFTER_S: Final = 5.0
"""A process that ends sooner, so many times in a row, will not do better the next time."""


def own(settings: GatewaySettings, number: int) -> dict[str, str]:
    """The variables in which process `number` differs from the first."""
    host, _, port = settings.metrics_listen.rpartition(":")
    metrics = f"{host}:{int(port) + number if int(port) else 0}" if settings.metrics_listen else ""
    return {
        NUMBER: str(number),
        "REUSE_PORT": "true",
        "METRICS_LISTEN": metrics,
        "SPOOL_DIR": str(spool_dir(settings.spool_dir, number)),
    }


def spool_dir(shared: Path, number: int) -> Path:
    """Where that process keeps its spool."""
    return shared / f"process-{number}" if number else shared


def forgotten(shared: Path, processes: int) -> list[Path]:
    """Spools that none of so many processes has, and that still hold records."""
    known = {spool_dir(shared, number) for number in range(processes)}
    return sorted(path for path in shared.glob("process-*") if path not in known and any(path.glob("*.seg")))


async def supervise(settings: GatewaySettings, stopped: asyncio.Event) -> int:
    """Keep the processes running until `stopped`, then end them in good order. Returns the exit code: 1 if hopeless."""
    for path in forgotten(settings.spool_dir, settings.gateway_processes):
        telemetry.log.error("a spool is sent by no process: set GATEWAY_PROCESSES as high as it was", spool=str(path))
    numbers = range(settings.gateway_processes)
    keeping = [asyncio.create_task(_keep(settings, number, stopped)) for number in numbers]
    await asyncio.wait(keeping, return_when=asyncio.FIRST_COMPLETED)  # One gave up, or all were stopped.
    stopped.set()
    return max(await asyncio.gather(*keeping))


async def _keep(settings: GatewaySettings, number: int, stopped: asyncio.Event) -> int:
    """One process, replaced where it dies. Returns 1 when that is hopeless."""
    loop, hopeless = asyncio.get_running_loop(), 0
    while not stopped.is_set() and hopeless < HOPELESS_STARTS:
        began_s = loop.time()
        code = await _run(own(settings, number), stopped)
        if stopped.is_set():
            return 0
        hopeless = hopeless + 1 if loop.time() - began_s < SOUND_AFTER_S else 0
        telemetry.log.error("a gateway process has died", process=number, exit_code=code, again=hopeless)
        await _either(asyncio.sleep(START_AGAIN_S), stopped)
    return int(hopeless >= HOPELESS_STARTS)


async def _run(variables: dict[str, str], stopped: asyncio.Event) -> int:
    """One process from start to end. Its standard input is a pipe that closes, and so ends it, if this one dies."""
    command = (sys.executable, "-m", "services.gateway")
    process = await asyncio.create_subprocess_exec(
        *command, env=os.environ | variables, stdin=asyncio.subprocess.PIPE, start_new_session=True
    )
    await _either(process.wait(), stopped)
    if process.returncode is None:
        process.terminate()
    return await process.wait()


async def _either(waited: Coroutine[Any, Any, object], stopped: asyncio.Event) -> None:
    """Return when one of both has come."""
    tasks = [asyncio.create_task(waited), asyncio.create_task(stopped.wait())]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
