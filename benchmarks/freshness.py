"""How long until an answered exchange can be queried? `python -m benchmarks.freshness`.

From the moment at which the gateway answers its caller (the exchange is in the spool) to the first SELECT that finds
the row, at 16 million exchanges a day and at ten times that. The path is the real one: spool, Kafka (Tansu), the sink
with its default settings, the ClickHouse engine; all share the machine. The exchanges are put into the gateway's own
spool by this process, without gRPC before it, so that the load's generator does not take the sink's processor time.
The SELECT is repeated every 50 ms, which is part of what is measured.
"""

import argparse
import asyncio
import random
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import uvloop

from benchmarks import engines
from benchmarks.messages import exchange
from benchmarks.result import Help, at_most, percentile, tell
from services.clickhouse import ClickHouse
from services.gateway.spool import LINGER_MS, Fsync, Spool
from services.kafka import Producer
from services.settings import ClickHouseSettings, KafkaSettings
from services.sink import schema

RATES: Final = (185, 1_850)
FIRST_RATE: Final = 20
WARM_UP_S: Final = 5.0
TICK_S: Final = 0.01
LOOK_EVERY_S: Final = 0.05
LATEST_S: Final = 60.0  # By then every row is there, or the sink does not keep up.
P99_S: Final = 2.0

Times = dict[int, float]
"""When each sequence was answered, or first seen by a SELECT; seconds of the monotonic clock."""


async def answer(spool: Spool, rate: int, seconds: float) -> Times:
    """Write exchanges to the spool at this rate; when each was answered."""
    answered: Times = {}
    rng = random.Random(rate)

    async def one() -> None:
        made = exchange(0, "", rng)
        await spool.append_exchange(made)
        answered[made.sequence] = time.monotonic()

    began_s = time.monotonic()
    sent = 0
    async with asyncio.TaskGroup() as calls:
        while (elapsed_s := time.monotonic() - began_s) < seconds:
            due = int(elapsed_s * rate) - sent
            for _ in range(due):
                calls.create_task(one())
            sent += due
            await asyncio.sleep(TICK_S)
    return answered


def look(clickhouse: ClickHouseSettings, source: str, count: "asyncio.Future[int]") -> Times:
    """When a SELECT first found each sequence of the source, until it has found all or LATEST_S have passed."""
    connection = ClickHouse(clickhouse)
    seen: Times = {}
    whole, until_s = 0, float("inf")
    while not (count.done() and len(seen) >= count.result()) and time.monotonic() < until_s:
        sql = "SELECT sequence FROM exchanges WHERE source = {source:String} AND sequence > {whole:UInt64}"
        found = [row["sequence"] for row in connection.query(sql, {"source": source, "whole": whole})]
        now_s = time.monotonic()
        seen.update((sequence, now_s) for sequence in found if sequence not in seen)
        while whole + 1 in seen:
            whole += 1
        until_s = min(until_s, now_s + LATEST_S) if count.done() else until_s
        time.sleep(LOOK_EVERY_S)
    connection.close()
    return seen


async def at_rate(
    directory: Path, kafka: KafkaSettings, clickhouse: ClickHouseSettings, rate: int, seconds: float
) -> dict[str, Any]:
    """The waits at one rate, without those of the first WARM_UP_S."""
    spool = Spool.open(directory / f"spool-{rate}", Producer(kafka, LINGER_MS), 2**30, Fsync.INTERVAL)
    count: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    looking = asyncio.create_task(asyncio.to_thread(look, clickhouse, spool.source, count))
    answered = await answer(spool, rate, seconds + WARM_UP_S)
    count.set_result(len(answered))
    seen = await looking
    await spool.close()
    from_s = min(answered.values()) + WARM_UP_S
    waits_s = [seen[n] - at_s for n, at_s in answered.items() if n in seen and at_s >= from_s]
    return {
        "per_s": round(len(answered) / (seconds + WARM_UP_S)),
        "exchanges": len(waits_s),
        "never_seen": len(answered.keys() - seen.keys()),
        "p50_s": round(percentile(waits_s, 50), 3),
        "p99_s": round(percentile(waits_s, 99), 3),
        "longest_s": round(max(waits_s), 3),
    }


async def measure(seconds: float) -> Mapping[int, dict[str, Any]]:
    """One rate after the other."""
    found = {}
    with ExitStack() as stack:
        directory = stack.enter_context(engines.folder())
        kafka = stack.enter_context(engines.broker(directory))
        clickhouse = stack.enter_context(engines.clickhouse(directory))
        made = ClickHouse(clickhouse)
        schema.apply(made)  # So that the first SELECT finds a table.
        made.close()
        sink = stack.enter_context(engines.service("sink", directory, engines.settings_of(kafka, clickhouse)))
        await at_rate(directory, kafka, clickhouse, FIRST_RATE, 1.0)  # Returns when the sink reads.
        for rate in RATES:
            before_s = sink.cpu_s()
            found[rate] = await at_rate(directory, kafka, clickhouse, rate, seconds)
            found[rate]["sink_cpu_s"] = round(sink.cpu_s() - before_s, 1)
            print(f"{rate}/s: {found[rate]}", flush=True)
    return found


def main() -> None:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=Help)
    parser.add_argument("--seconds", type=float, default=30.0, help="how long each rate is kept up")
    given = parser.parse_args()
    found = uvloop.run(measure(given.seconds))
    goals = {f"p99 at {rate}/s, s": at_most(P99_S, waits["p99_s"]) for rate, waits in found.items()}
    goals["never seen"] = at_most(0, sum(waits["never_seen"] for waits in found.values()))
    tell("freshness", {f"at_{rate}_per_s": waits for rate, waits in found.items()}, goals)


if __name__ == "__main__":
    main()
