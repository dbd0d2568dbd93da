"""What keys have spent, as the gateways tell it on topic `key-usage`; pure."""

from collections import defaultdict
from collections.abc import Iterable
from datetime import date
from decimal import Decimal, InvalidOperation

from protos import control_pb2 as control
from protos import events_pb2 as events
from services.errors import BadEvent
from services.topics import Record, decode


def told(records: Iterable[Record]) -> list[events.KeyUsage]:
    """What each gateway process said last of each key and day. What can't be read is left out, as gateways do."""
    latest: dict[tuple[str, str, str], events.KeyUsage] = {}
    for record in records:
        try:
            usage: events.KeyUsage = decode(record)
            Decimal(usage.cost_usd or 0)
        except (BadEvent, InvalidOperation):
            continue
        latest[usage.key_id, usage.source, usage.day] = usage
    return list(latest.values())


def spending(keys: Iterable[events.ApiKey], usages: Iterable[events.KeyUsage], day: date) -> list[control.KeySpending]:
    """Of each key, of the UTC day and its month, less what was credited."""
    today, month = day.isoformat(), day.isoformat()[:7]
    by_key: defaultdict[str, list[events.KeyUsage]] = defaultdict(list)
    for usage in usages:
        by_key[usage.key_id].append(usage)
    return [_of(key, by_key[key.id], today, month) for key in keys]


def credited_usd(key: events.ApiKey, period: str) -> Decimal:
    """What was taken off what the key has spent in a day or a month."""
    return sum((Decimal(usd) for day, usd in key.credits_usd.items() if day.startswith(period)), Decimal(0))


def _of(key: events.ApiKey, usages: list[events.KeyUsage], today: str, month: str) -> control.KeySpending:
    def usd(period: str) -> str:
        spent = sum((Decimal(one.cost_usd or 0) for one in usages if one.day.startswith(period)), Decimal(0))
        return f"{spent - credited_usd(key, period):f}"

    days = [one for one in usages if one.day == today]
    return control.KeySpending(
        key_id=key.id,
        name=key.name,
        quota=key.quota,
        requests=sum(one.requests for one in days),
        tokens=sum(one.tokens for one in days),
        usd_day=usd(today),
        usd_month=usd(month),
        credited_usd_month=f"{credited_usd(key, month):f}",
    )
