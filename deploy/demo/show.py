"""`tutelage demo`: prepares the data, starts the stack on this machine, tells the story, stops the stack."""

import os
import secrets
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Final

from deploy.demo.addresses import Address, addresses, write_answers
from deploy.demo.scale import SEED, STAND_IN_ERROR_RATE, STAND_IN_LATENCY_S, Scale
from deploy.demo.story import Story
from deploy.demo.traffic import TASK
from deploy.local import cli, ready
from deploy.local.addresses import HOST, free_ports
from deploy.local.home import read_record
from deploy.local.part import Part
from deploy.local.stack import Stack, StackOptions
from services import tasks
from services.clickhouse import ClickHouse
from services.screen import console
from services.settings import ClickHouseSettings, KafkaSettings

CACHE: Final = Path.home() / ".cache" / "tutelage"
TEACHER_TOKENS: Final = (805, 26)  # Read and written per address, for the warning of what a real teacher costs.
MILLION: Final = Decimal(1_000_000)
STAND_IN: Final = (
    "[bold yellow]The teacher is a stand-in.[/] It speaks the OpenAI API and answers with the sources' own fields, "
    f"spoilt at a seeded rate of {STAND_IN_ERROR_RATE:.0%} in the ways a model errs, after about "
    f"{STAND_IN_LATENCY_S:.0f} s, at GPT-4's published price. What the student reaches is real; how often its "
    f"teacher errs is assumed. Set TEACHER_BASE_URL and TEACHER_API_KEY for a real one."
)


def demo(scale: Scale, state: Path, tasks_dir: Path, pay: Callable[[str], None], *, keep: bool) -> None:
    """The whole loop. Prints the path of demo.json last. Raises DemoFailed, DataUnavailableError, Crashed.

    `pay` is told what a real teacher will cost before it is asked anything, and raises if that is not wanted.
    """
    began = time.monotonic()
    task = tasks.by_name(tasks.load(tasks_dir, "--tasks"), TASK)
    if base_url := os.environ.get("TEACHER_BASE_URL", ""):
        pay(_price(base_url, task, scale))
    empty(state)
    records = addresses(scale.requests + scale.after, SEED, CACHE)
    prepared = time.monotonic()
    stack = Stack.start(_options(state, tasks_dir, records), cli.show)
    try:
        kafka = KafkaSettings(kafka_bootstrap_servers=stack.addresses.kafka)
        clickhouse = ClickHouse(ClickHouseSettings(clickhouse_url=stack.addresses.clickhouse_url))
        story = Story(scale, stack.addresses, task, kafka, clickhouse, state.resolve() / "runs", stack.check)
        story.seconds |= {"data": round(prepared - began, 1), "stack": round(time.monotonic() - prepared, 1)}
        path = story.tell(records, began)
        if keep:
            console.print(f"the stack is still up: `tutelage status --state {state}`; Ctrl-C stops it", highlight=False)
            console.print(str(path), highlight=False)
            stack.wait()
    finally:
        stack.stop()
    console.print(str(path), highlight=False)


def empty(state: Path) -> None:
    """Remove what an earlier demo left. ValueError if a stack runs there, or if the folder was never a stack's."""
    record = read_record(state)
    if record and record.stack.process():
        raise ValueError(f"a stack is running in {state}: stop it with `tutelage down --state {state}`")
    if state.exists() and any(state.iterdir()) and not (state / "stack.lock").exists():
        raise ValueError(f"{state} holds files that are no stack's: choose another folder with --state")
    shutil.rmtree(state, ignore_errors=True)
    state.mkdir(mode=0o700, parents=True)


def _options(state: Path, tasks_dir: Path, records: Sequence[Address]) -> StackOptions:
    if os.environ.get("TEACHER_BASE_URL"):
        return StackOptions(state, tasks_dir)
    console.print(STAND_IN, markup=True, highlight=False)
    answers = state.resolve() / "answers.jsonl"
    write_answers(records, answers)
    [port], key = free_ports(1), f"stand-in-{secrets.token_hex(8)}"
    return StackOptions(
        state,
        tasks_dir,
        teacher_base_url=f"http://{HOST}:{port}/v1",
        teacher_api_key=key,
        extra_parts=(_stand_in(port, key, answers),),
    )


def _stand_in(port: int, key: str, answers: Path) -> Part:
    options = {"port": port, "answers": answers, "error-rate": STAND_IN_ERROR_RATE, "latency-s": STAND_IN_LATENCY_S}
    argv = [f"--{name}={value}" for name, value in options.items()]
    up = partial(ready.accepts, f"{HOST}:{port}")
    module = (sys.executable, "-m", "deploy.demo.teacher")
    return Part("teacher", (*module, *argv, f"--seed={SEED}"), up, {"TEACHER_API_KEY": key})


def _price(base_url: str, task: tasks.Task, scale: Scale) -> str:
    if not os.environ.get("TEACHER_API_KEY"):
        raise ValueError("TEACHER_BASE_URL is set, TEACHER_API_KEY is not: set both, or neither for the stand-in")
    prices, (read, written) = task.teacher.prices, TEACHER_TOKENS
    each = (prices.input_usd_per_million * read + prices.output_usd_per_million * written) / MILLION
    return f"{scale.requests} requests and more will go to {base_url}, for about ${each * scale.requests:.0f}"
