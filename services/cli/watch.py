"""`status` and `tail`: what is going on now."""

import time
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Column, Table

from protos import control_pb2 as pb
from protos import events_pb2 as events
from protos import inference_pb2 as inference
from services import tasks, topics
from services.audit import take
from services.cli.controller import controller
from services.cli.runs import state_name
from services.cli.settings import STATE, StateOption, settings
from services.clickhouse import ClickHouse
from services.errors import BadEvent
from services.kafka import Follower
from services.screen import TIGHT, UNKNOWN, clear_errors, console, policy_text

app = typer.Typer()


@app.command()
def status(task: Annotated[str, typer.Argument(help="Only this task.")] = "", state: StateOption = STATE) -> None:
    """Every task: what serves it, what waits to be trained on, its latest run; and whether anything was lost."""
    found = settings(state)
    with clear_errors():
        with controller(found) as stub:
            reply = stub.Status(pb.StatusRequest(task=task), timeout=10)
        console.print(_table(reply))
        for one in reply.tasks:
            if one.promotion.reason:
                console.print(f"{one.task}: {one.promotion.reason}", highlight=False)
        clickhouse = ClickHouse(found)
        ledger = take(clickhouse, {}, within_s=3).total
        clickhouse.close()
    console.print(
        f"ledger: {ledger.stored} of {ledger.answered} exchanges stored, {ledger.in_flight} on their way, "
        f"{ledger.missing} missing{' or in the dead letters: see `tutelage audit`' if ledger.missing else ''}"
        f"{f', {ledger.written_off} written off' if ledger.written_off else ''}",
        highlight=False,
    )


@app.command()
def tail(
    task: Annotated[str, typer.Option(help="Only this task.")] = "",
    state: StateOption = STATE,
) -> None:
    """Show exchanges as they happen from now on, until Ctrl-C."""
    with clear_errors():
        follower = Follower(settings(state), topics.EXCHANGES.name, from_end=True)
        follower.start(timeout_s=10)
        try:
            while True:
                for record in follower.poll(100, timeout_s=0.5):
                    _show(record, task)
        except KeyboardInterrupt:
            follower.close()


def _show(record: topics.Record, task: str) -> None:
    try:
        exchange = topics.decode(record)
    except BadEvent as error:
        console.print(f"[yellow]not an exchange[/] {escape(error.reason)}", markup=True, highlight=False)
        return
    if task in ("", exchange.request.task):
        console.print(line(exchange), highlight=False)


def line(exchange: events.Exchange) -> str:
    """When, which task, who, how long, at what price, what was asked and what was answered."""
    at = time.strftime("%H:%M:%S", time.gmtime(exchange.started_at.seconds))
    if not exchange.HasField("reply"):
        ended = topics.name(events.Outcome, exchange.outcome).removeprefix("OUTCOME_").lower()
        return f"{at} {exchange.request.task} {ended}: {exchange.error}"
    reply = exchange.reply
    who = topics.name(inference.Backend, reply.answered_by).removeprefix("BACKEND_").lower()
    asked, answer = tasks.question(exchange.request)[:60], tasks.answer_text(reply.message)[:100]
    took_ms = f"{reply.timings.total_us / 1000:.0f}" if reply.timings.total_us else UNKNOWN
    took = f"{took_ms:>6} ms {f'${reply.cost_usd}' if reply.cost_usd else UNKNOWN}"
    return f"{at} {exchange.request.task} {who:<7} {took}  {asked!r} -> {answer}"


def _table(reply: pb.StatusReply) -> Table:
    heads = ("served by", "student", "train / eval", "golden", "latest run")
    table = Table(Column("task", no_wrap=True), *heads, **TIGHT)
    for one in reply.tasks:
        table.add_row(
            one.task,
            policy_text(one.promotion.policy),
            str(one.promotion.student_version or "-"),
            f"{one.train_candidates:,} / {one.eval_candidates:,}",
            f"{one.golden_examples:,}",
            state_name(one.runs[0]) if one.runs else "-",
        )
    return table
