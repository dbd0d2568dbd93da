"""New connections to the teacher: names, addresses and who waits for them. On both loops."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Final

import pytest

from services.gateway.backends import FailureKind
from services.gateway.teacher_dialing import Dialing
from services.gateway.teacher_failures import UNREACHABLE, TeacherFailed
from tests.services.gateway.raw_api import Line, serving_raw

pytestmark = [
    pytest.mark.contract,
    pytest.mark.asyncio(loop_factories=["asyncio", "uvloop"]),
    pytest.mark.usefixtures("nobody_complains"),
]
NAME: Final = "teacher.test"
LOOPBACK, ANOTHER = "127.0.0.1", "127.0.0.2"


class Names:
    """In the place of the loop's resolver: every name has these hosts, once the answer may come."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *hosts: str) -> None:
        self.hosts = hosts
        self.asked = 0
        self.answers = asyncio.Event()
        self.answers.set()
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", self.look_up)

    async def look_up(self, name: str, port: int, **_: Any) -> list[Any]:
        if name != NAME:
            return _addresses(name, port=port)  # uvloop looks up addresses, too.
        self.asked += 1
        await self.answers.wait()
        if not self.hosts:
            raise socket.gaierror(socket.EAI_NONAME, "nobody has that name")
        return _addresses(*self.hosts, port=port)


def _addresses(*hosts: str, port: int) -> list[Any]:
    return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (host, port)) for host in hosts]


def port_of(url: str) -> int:
    return int(url.split(":")[2].split("/", maxsplit=1)[0])


async def connected(dialing: Dialing, timeout_s: float = 30.0) -> str:
    """The host that took the connection, which is closed."""
    protocol = await dialing.connected(Dialled, timeout_s)
    protocol.transport.close()
    await protocol.lost
    return str(protocol.transport.get_extra_info("peername")[0])


class Dialled(asyncio.Protocol):
    """A connection that was made."""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.lost = asyncio.get_running_loop().create_future()

    def connection_lost(self, error: Exception | None) -> None:
        self.lost.set_result(error)


@contextmanager
def taking_nobody(port: int) -> Iterator[None]:
    """At another address: it listens, and its queue is full."""
    with ExitStack() as stack:
        stack.enter_context(listening := socket.socket())
        listening.bind((ANOTHER, port))
        listening.listen(0)
        for _ in range(3):
            stack.enter_context(waiting := socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex((ANOTHER, port))
        yield


async def test_a_crowd_looks_a_name_up_once(monkeypatch: pytest.MonkeyPatch):
    names = Names(monkeypatch, LOOPBACK)
    async with serving_raw(Line.hung_up) as api:
        dialing = Dialing(NAME, port_of(api.url), None)
        assert await asyncio.gather(*(connected(dialing) for _ in range(50))) == [LOOPBACK] * 50
        assert names.asked == 1


async def test_what_a_name_means_is_asked_again_after_a_while(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("services.gateway.teacher_dialing.KNOWN_S", 0.0)
    names = Names(monkeypatch, LOOPBACK)
    async with serving_raw(Line.hung_up) as api:
        dialing = Dialing(NAME, port_of(api.url), None)
        for _ in range(2):
            await connected(dialing)
        assert names.asked == 2


async def test_who_gives_up_waiting_for_a_name_leaves_it_to_the_others(monkeypatch: pytest.MonkeyPatch):
    names = Names(monkeypatch, LOOPBACK)
    names.answers.clear()
    async with serving_raw(Line.hung_up) as api:
        dialing = Dialing(NAME, port_of(api.url), None)
        other = asyncio.create_task(connected(dialing))
        with pytest.raises(TeacherFailed) as failed:
            await connected(dialing, 0.01)
        names.answers.set()
        assert (failed.value.kind, await other, names.asked) == (FailureKind.TIMEOUT, LOOPBACK, 1)


async def test_a_name_that_is_found_to_be_nobodys_when_all_have_gone_complains_to_nobody(
    monkeypatch: pytest.MonkeyPatch,
):
    names = Names(monkeypatch)
    names.answers.clear()
    dialing = Dialing(NAME, 80, None)
    with pytest.raises(TeacherFailed):
        await connected(dialing, 0.01)
    names.answers.set()
    with pytest.raises(TeacherFailed, match=UNREACHABLE):
        await connected(dialing)


@pytest.mark.parametrize("is_silent", [True, False])
async def test_an_address_where_nobody_answers_is_not_waited_for(monkeypatch: pytest.MonkeyPatch, is_silent: bool):
    monkeypatch.setattr("services.gateway.teacher_dialing.BESIDE_S", 0.01)
    Names(monkeypatch, ANOTHER, LOOPBACK)
    async with serving_raw(Line.hung_up) as api:
        with ExitStack() as stack:
            if is_silent:
                stack.enter_context(taking_nobody(port_of(api.url)))
            assert await connected(Dialing(NAME, port_of(api.url), None)) == LOOPBACK
