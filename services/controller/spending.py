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


def objection(key: events.ApiKey, usd: Decimal, usages: Iterable[events.KeyUsage], day: date) -> str:
    """Why so much may not be taken off what a key has spent in the UTC day; '' if it may.

    More would be a budget that nobody gave. Gateways tell a second or two late, so a credit waits for them.
    """
    if not is_counted(key.quota):
        return f"key {key.id} has no limit, so nobody counts what it spends: there is nothing to credit"
    today = [one for one in usages if one.key_id == key.id and one.day == day.isoformat()]
    if not today:
        return f"usd: it is not known yet what key {key.id} has spent today (UTC); gateways tell within two seconds"
    left = max(_spent_usd(key, today, day.isoformat()), Decimal(0))
    if usd <= left:
        return ""
    return (
        f"usd: {usd:f} is more than the {left.normalize():f} dollars that key {key.id} has spent today (UTC) and was "
        "not credited, as gateways told by now; the last two seconds may be missing"
    )


def is_counted(quota: events.Quota) -> bool:
    """Whether gateways count what a key with this quota uses: if it has any limit."""
    dollars = (Decimal(quota.usd_per_day or 0), Decimal(quota.usd_per_month or 0))
    return any((quota.requests_per_minute, quota.tokens_per_minute, *dollars))


def _spent_usd(key: events.ApiKey, usages: Iterable[events.KeyUsage], period: str) -> Decimal:
    """What its `usages` of a day or a month come to, less what was credited."""
    spent = sum((Decimal(one.cost_usd or 0) for one in usages if one.day.startswith(period)), Decimal(0))
    return spent - credited_usd(key, period)


def _of(key: events.ApiKey, usages: list[events.KeyUsage], today: str, month: str) -> control.KeySpending:
    days = [one for one in usages if one.day == today]
    return control.KeySpending(
        key_id=key.id,
        name=key.name,
        quota=key.quota,
        requests=sum(one.requests for one in days),
        tokens=sum(one.tokens for one in days),
        usd_day=f"{_spent_usd(key, usages, today):f}",
        usd_month=f"{_spent_usd(key, usages, month):f}",
        credited_usd_month=f"{credited_usd(key, month):f}",
    )
