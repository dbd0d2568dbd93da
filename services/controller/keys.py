"""API keys as values: made, taken back, shown. Pure, but for the randomness that is handed in.

A key is `tt_<id>_<43 characters>`: 256 random bits behind its id. Whoever has read its SHA-256 can't guess it back, so
the digest alone is kept, without a slow hash.
"""

from datetime import UTC, timedelta
from decimal import Decimal
from hashlib import sha256

from protos import control_pb2 as control
from protos import events_pb2 as events
from services.controller.promotions import Decision


def secret(key_id: str, random: str) -> str:
    """What the caller sends."""
    return f"tt_{key_id}_{random}"


def made(request: control.CreateKeyRequest, told: str, decision: Decision) -> events.ApiKey:
    """The key whose secret is `told`; the decision's id is the key's."""
    key = events.ApiKey(
        id=decision.id,
        name=request.name.strip(),
        digest=sha256(told.encode()).digest(),
        tasks=sorted(set(request.tasks)),
        quota=request.quota,
        may_audit=request.may_audit,
        created_by=decision.decided_by,
        reason=decision.reason,
    )
    key.created_at.FromDatetime(decision.at)
    key.updated_at.FromDatetime(decision.at)
    return key


def revoked(key: events.ApiKey, decision: Decision) -> events.ApiKey:
    """The same key, good no more. A clock that was set back must not make this older than what it replaces."""
    later = events.ApiKey()
    later.CopyFrom(key)
    later.ClearField("credit_usd")
    later.ClearField("credited_by")
    later.revoked_by, later.reason = decision.decided_by, decision.reason
    later.revoked_at.FromDatetime(decision.at)
    if decision.at > key.updated_at.ToDatetime(tzinfo=UTC):
        later.updated_at.FromDatetime(decision.at)
    return later


def credited(key: events.ApiKey, usd: Decimal, decision: Decision) -> events.ApiKey:
    """The same key, with so much taken off what it has spent today. Of earlier months' credits nobody asks any more."""
    later, day = events.ApiKey(), f"{decision.at:%Y-%m-%d}"
    later.CopyFrom(key)
    for old in [other for other in key.credits_usd if other[:7] < day[:7]]:
        del later.credits_usd[old]
    later.credits_usd[day] = f"{Decimal(key.credits_usd.get(day, '0')) + usd:f}"
    later.credit_usd, later.credited_by, later.reason = f"{usd:f}", decision.decided_by, decision.reason
    # Each is a row of its own, also where the clock was set back.
    later.updated_at.FromDatetime(max(decision.at, key.updated_at.ToDatetime(tzinfo=UTC) + timedelta(microseconds=1)))
    return later


def shown(key: events.ApiKey) -> events.ApiKey:
    """The key as people see it: without its digest."""
    told = events.ApiKey()
    told.CopyFrom(key)
    told.ClearField("digest")
    return told
