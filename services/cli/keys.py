"""`key create`, `list`, `usage`, `credit`, `revoke`: who may call the gateway, for what, and how much."""

import getpass
from decimal import Decimal
from typing import Annotated, Final

import typer
from google.protobuf.timestamp_pb2 import Timestamp
from rich.table import Table

from protos import control_pb2 as pb
from protos import events_pb2 as events
from services.cli.controller import controller
from services.cli.settings import STATE, StateOption, settings
from services.screen import TIGHT, UNKNOWN, clear_errors, console, errors

app = typer.Typer(no_args_is_help=True, help="Who may call the gateway, for what, and how much.")
CONTROL_S: Final = 30.0
NO_LIMIT: Final = "no limit"


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Whose it is, for people.")],
    task: Annotated[
        list[str] | None, typer.Option(help="A task that it may ask for; may be repeated. All else.")
    ] = None,
    requests_per_minute: Annotated[int, typer.Option(min=0, help="0 for no limit.")] = 0,
    tokens_per_minute: Annotated[int, typer.Option(min=0, help="Read and written; 0 for no limit.")] = 0,
    usd_per_day: Annotated[str, typer.Option(help="Dollars of a day, UTC; 0 for no limit.")] = "",
    usd_per_month: Annotated[str, typer.Option(help="Dollars of a month, UTC; 0 for no limit.")] = "",
    may_audit: Annotated[
        bool, typer.Option("--may-audit", help="Its feedback may say that a call was drawn by lot (metric audit).")
    ] = False,
    reason: Annotated[str, typer.Option(help="Why, for people.")] = "",
    state: StateOption = STATE,
) -> None:
    """Make a key. It is shown this once, alone on standard output: only its digest is kept."""
    quota = events.Quota(
        requests_per_minute=requests_per_minute,
        tokens_per_minute=tokens_per_minute,
        usd_per_day=usd_per_day,
        usd_per_month=usd_per_month,
    )
    request = pb.CreateKeyRequest(
        name=name, tasks=task or [], quota=quota, decided_by=getpass.getuser(), reason=reason, may_audit=may_audit
    )
    with clear_errors(), controller(settings(state)) as stub:
        made = stub.CreateKey(request, timeout=CONTROL_S)
    told = f"key {made.key.id} of {made.key.name}: {limits_text(made.key)}. It is shown this once:"
    errors.print(told, highlight=False)
    typer.echo(made.secret)


@app.command("list")
def list_(
    revoked: Annotated[bool, typer.Option("--revoked", help="Those that were taken back, too.")] = False,
    state: StateOption = STATE,
) -> None:
    """Every key, without what callers send."""
    with clear_errors(), controller(settings(state)) as stub:
        found = stub.Keys(pb.KeysRequest(revoked=revoked), timeout=CONTROL_S).keys
    table = Table("id", "name", "may ask for", "may use", "since", **TIGHT)
    for key in found:
        since = _day(key.created_at) + (f" to {_day(key.revoked_at)}" if key.HasField("revoked_at") else "")
        table.add_row(key.id, key.name, may_text(key), quota_text(key.quota), since)
    console.print(table if found else "there are no keys", highlight=False)


@app.command()
def usage(
    id_: Annotated[str, typer.Argument(metavar="ID", help="As `key list` shows it; without one, all keys.")] = "",
    state: StateOption = STATE,
) -> None:
    """What keys have used of their quotas, UTC, as the gateways told it by now. A key without one is not counted."""
    with clear_errors(), controller(settings(state)) as stub:
        found = stub.SpendingOfKeys(pb.SpendingOfKeysRequest(id=id_), timeout=CONTROL_S).spending
    table = Table("id", "name", "requests", "tokens", "today", "month", "credited", **TIGHT)
    for one in found:
        table.add_row(one.key_id, one.name, *used(one))
    console.print(table if found else "there are no keys", highlight=False)


@app.command()
def credit(
    id_: Annotated[str, typer.Argument(metavar="ID", help="As `key list` shows it.")],
    usd: Annotated[str, typer.Option(help="Dollars, above 0.")],
    reason: Annotated[str, typer.Option(help="Why; kept.")],
    state: StateOption = STATE,
) -> None:
    """Take dollars off what a key has spent today, and so this month; gateways know it within seconds."""
    request = pb.CreditKeyRequest(id=id_, usd=usd, reason=reason, decided_by=getpass.getuser())
    with clear_errors(), controller(settings(state)) as stub:
        key = stub.CreditKey(request, timeout=CONTROL_S)
    told = f"key {key.id} of {key.name} is credited {usd_text(key.credit_usd)} of today (UTC)"
    console.print(told, highlight=False)


@app.command()
def revoke(
    id_: Annotated[str, typer.Argument(metavar="ID", help="As `key list` shows it.")],
    reason: Annotated[str, typer.Option(help="Why; kept.")],
    state: StateOption = STATE,
) -> None:
    """Take a key back: gateways refuse it within seconds. It cannot be undone; make another."""
    request = pb.RevokeKeyRequest(id=id_, reason=reason, decided_by=getpass.getuser())
    with clear_errors(), controller(settings(state)) as stub:
        key = stub.RevokeKey(request, timeout=CONTROL_S)
    console.print(f"key {key.id} of {key.name} is taken back", highlight=False)


def limits_text(key: events.ApiKey) -> str:
    """What it may ask for and use, in a line."""
    return f"{may_text(key)}, {quota_text(key.quota)}"


def may_text(key: events.ApiKey) -> str:
    """What it may ask for, and whether it may audit."""
    return f"{', '.join(key.tasks) or 'all tasks'}{'; may audit' if key.may_audit else ''}"


def quota_text(quota: events.Quota) -> str:
    """What a key may use, in a line."""
    parts = (
        f"{quota.requests_per_minute:,} requests/min" if quota.requests_per_minute else "",
        f"{quota.tokens_per_minute:,} tokens/min" if quota.tokens_per_minute else "",
        f"${quota.usd_per_day}/day" if quota.usd_per_day.strip("0.") else "",
        f"${quota.usd_per_month}/month" if quota.usd_per_month.strip("0.") else "",
    )
    return ", ".join(part for part in parts if part) or NO_LIMIT


def used(one: pb.KeySpending) -> tuple[str, ...]:
    """The row's figures; gateways count only what a limit is held against, so of other keys there are none."""
    if quota_text(one.quota) == NO_LIMIT:
        return ("not counted", UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN)
    return (f"{one.requests:,}", f"{one.tokens:,}", *_spent(one), usd_text(one.credited_usd_month))


def usd_text(usd: str) -> str:
    """Dollars as people read them: to the cent, and below that as far as they go."""
    amount = Decimal(usd or 0)
    whole = amount == amount.quantize(Decimal("0.01"))
    return f"${amount:,.2f}" if whole else f"${amount.normalize():,f}"


def _spent(one: pb.KeySpending) -> tuple[str, str]:
    """Of the day and of the month, with what it may spend."""
    day, month = one.quota.usd_per_day, one.quota.usd_per_month
    return _of(one.usd_day, day), _of(one.usd_month, month)


def _of(spent: str, most: str) -> str:
    return f"{usd_text(spent)} of {usd_text(most)}" if most.strip("0.") else usd_text(spent)


def _day(at: Timestamp) -> str:
    return f"{at.ToDatetime():%Y-%m-%d}"
