"""A streamed answer on its way to its caller: nothing is lost or doubled, however slowly he takes it."""

import asyncio

import psutil
from hypothesis import given
from hypothesis import strategies as st

from protos import inference_pb2 as inference
from services.gateway.outlet import MOST_WAITING, Outlet

RESTART = None


async def taken(outlet: Outlet) -> list[inference.Chunk]:
    outlet.end()
    reply = asyncio.get_running_loop().create_task(asyncio.sleep(0, inference.Reply()))
    return [chunk async for chunk in outlet.until(reply)][:-1]


@given(said=st.lists(st.one_of(st.just(RESTART), st.text(min_size=1, max_size=3)), max_size=40))
async def test_a_caller_who_reads_late_hears_what_one_hears_who_reads_at_once(said: list[str | None]):
    outlet = Outlet()
    for piece in said:
        outlet.restart() if piece is RESTART else outlet.text(piece)
    heard, meant = [""], [""]
    for chunk in await taken(outlet):
        heard.append("") if chunk.restart else heard.append(heard.pop() + chunk.delta)
    for piece in said:
        meant.append("") if piece is RESTART else meant.append(meant.pop() + piece)
    assert heard == meant


async def test_what_waits_for_a_caller_takes_little_more_than_its_text():
    outlet, process = Outlet(), psutil.Process()
    before_bytes = process.memory_info().rss
    for _ in range(4_000):
        outlet.text("x" * 50)
    held_bytes = process.memory_info().rss - before_bytes
    chunks = await taken(outlet)
    assert (len(chunks), sum(len(chunk.delta) for chunk in chunks)) == (MOST_WAITING, 200_000)
    assert held_bytes < 50_000_000  # A message that grew would keep 400 MB.
