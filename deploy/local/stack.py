"""The stack on one machine: its parts started in order, watched, and stopped in reverse order."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Final, Self

from deploy.local import ray_head
from deploy.local.addresses import Addresses
from deploy.local.home import Home, Record
from deploy.local.options import Event, StackOptions, State
from deploy.local.part import Part, Running, tail
from deploy.local.parts import all_parts
from deploy.local.processes import Identity, identity, wait_until

__all__ = ["Addresses", "Crashed", "Event", "Stack", "StackOptions", "State"]

_LOOK_EVERY_S: Final = 0.2


class Crashed(Exception):  # noqa: N818 - what happened, said plainly
    """A part ended by itself, or did not become ready. `part` is its name, `tail` its log's last 20 lines."""

    def __init__(self, part: str, what: str, last_lines: str) -> None:
        super().__init__(f"{part} {what}; the end of its log:\n{last_lines}")
        self.part = part
        self.tail = last_lines


class Stack:
    """A running stack. Made by `start`, ended by `stop`; used by one thread, but for `stop`."""

    def __init__(self, home: Home, at: Addresses, parts: list[Part], on_event: Callable[[Event], None]) -> None:
        self.addresses = at
        self._home = home
        self._parts = {part.name: part for part in parts}
        self._on_event = on_event
        self._running: dict[str, Running] = {}
        self._stopped = threading.Event()
        self._watchdog = subprocess.Popen(
            [sys.executable, "-m", "deploy.local.watchdog", str(home.directory)],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )

    @classmethod
    def start(cls, options: StackOptions, on_event: Callable[[Event], None] = lambda _: None) -> Self:
        """Starts every part and waits until each is ready.

        AlreadyUp if the state folder has a running stack; Crashed if a part does not come up, and then none is left.
        ValueError, and nothing is touched, where ports or settings are such that it can't.
        """
        at = Addresses.choose(options.ports)
        parts = all_parts(options, at, options.state_dir.resolve())
        home = Home.claim(options.state_dir)
        home.put_logs_aside()
        stack = cls(home, at, parts, on_event)
        try:
            for name in stack._parts:
                stack.restart(name)
        except BaseException:
            stack.stop()
            raise
        return stack

    @property
    def environment(self) -> dict[str, str]:
        """The settings of a client of this stack."""
        return self.addresses.environment() | ray_head.environment(self._home.directory)

    def log(self, part: str) -> Path:
        """The file that holds a part's output."""
        return self._home.log(part)

    def identity(self, part: str) -> Identity:
        """The process that leads a running part."""
        return self._running[part].identity

    def wait(self) -> None:
        """Watches until `stop`. Raises Crashed as soon as a part has ended by itself."""
        while not self._stopped.wait(_LOOK_EVERY_S):
            self.check()

    def check(self) -> None:
        """Raises Crashed if a part has ended by itself."""
        for name, running in list(self._running.items()):
            code = running.exit_code()
            if code is not None and not self._stopped.is_set():
                self._tell(name, State.CRASHED, running.started_s)
                raise Crashed(name, f"ended with code {code}", tail(running.log))

    def kill(self, part: str) -> None:
        """Kills a part with all its processes, as by `kill -9`; that is no crash. Others go on."""
        running = self._running.pop(part)
        running.kill()
        self._write_record()
        self._tell(part, State.STOPPED, running.started_s)

    def restart(self, part: str) -> None:
        """Starts a part, having stopped it if it runs, and waits until it is ready. Crashed if it does not come up."""
        if part in self._running:
            self._stop(part)
        began_s = time.monotonic()
        self._tell(part, State.STARTING, began_s)
        self._launch(self._parts[part])
        self._tell(part, State.READY, began_s)

    def stop(self) -> None:
        """Stops all parts, last started first, and gives the state folder free. Again, it does nothing."""
        if self._stopped.is_set():
            return
        self._stopped.set()
        for name in reversed(list(self._running)):
            self._stop(name)
        self._home.forget()
        self._home.release()
        self._watchdog.communicate()

    def _launch(self, part: Part) -> None:
        if part.prepare:
            part.prepare()
        running = self._running[part.name] = Running(part, self._home.log(part.name))
        self._write_record()
        wait_until(lambda: running.exit_code() is not None or part.ready(), part.ready_within_s, every_s=0.1)
        if (code := running.exit_code()) is not None or not part.ready():
            what = f"was not ready within {part.ready_within_s:g} s" if code is None else f"ended with code {code}"
            self._tell(part.name, State.CRASHED, running.started_s)
            raise Crashed(part.name, what, tail(running.log))
        if part.once_ready:
            part.once_ready()

    def _stop(self, name: str) -> None:
        began_s = time.monotonic()
        running = self._running.pop(name)
        crashed = running.exit_code() is not None
        if running.part.before_stop and not crashed:
            running.part.before_stop()
        running.stop()
        if not crashed:
            self._tell(name, State.STOPPED, began_s)

    def _tell(self, part: str, state: State, since_s: float) -> None:
        self._on_event(Event(part, state, time.monotonic() - since_s))

    def _write_record(self) -> None:
        parts = {name: running.identity for name, running in self._running.items()}
        self._home.write(
            Record(stack=identity(os.getpid()), parts=parts, addresses=asdict(self.addresses), env=self.environment)
        )
