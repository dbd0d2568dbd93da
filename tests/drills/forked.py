"""Services forked from one process that has imported them: five hundred starts without five hundred times the imports.

What runs is a process of its own, and is killed as any other; only the seconds that Python reads modules are left out.
"""

import importlib
import multiprocessing
import os
import sys
import time
from pathlib import Path
from typing import Final

from deploy.local.part import Part, Running, inherited
from deploy.local.processes import identity

SERVICES: Final = ("gateway", "sink", "intake", "controller", "sampler")
FORKSERVER: Final = multiprocessing.get_context("forkserver")
FORKSERVER.set_forkserver_preload(["__main__", __name__, *(f"services.{name}.__main__" for name in SERVICES)])


class Forked(Running):
    """A service's process. `part.argv` is `python -m MODULE`."""

    def __init__(self, part: Part, log: Path) -> None:
        self.part, self.log, self.started_s = part, log, time.monotonic()
        environment = {**inherited(), **part.environment}
        self._process = FORKSERVER.Process(target=_serve, args=(part.argv[2], environment, log), daemon=True)
        self._process.start()
        self.identity = identity(self._process.pid or 0)

    def exit_code(self) -> int | None:
        return self._process.exitcode

    def stop(self) -> None:
        self._process.terminate()
        self._process.join(self.part.grace_s)
        self.kill()

    def kill(self) -> None:
        self._process.kill()
        self._process.join()


def _serve(module: str, environment: dict[str, str], log: Path) -> None:
    with log.open("ab") as out:
        os.dup2(out.fileno(), sys.stdout.fileno())
        os.dup2(out.fileno(), sys.stderr.fileno())
    os.environ.clear()
    os.environ.update(environment)
    importlib.import_module(f"{module}.__main__").main()
