"""The part of the service Control that makes API keys and takes them back."""

import secrets
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Final

import grpc

from protos import control_pb2 as control
from protos import events_pb2 as events
from services.controller import keys
from services.controller.answering import answered
from services.controller.checks import MAX_REASON_CHARACTERS, Rejected, invalid, known_task, label, limited, required
from services.controller.deciders import decider
from services.controller.desk import Desk
from services.controller.errors import Refused
from services.controller.state import State
from services.tasks import Task

MOST_USD: Final = Decimal(10**9)
MAX_KEYS: Final = 100_000
"""Every gateway has all in memory, a kilobyte each."""


class Keyring:
    """Every method: INVALID_ARGUMENT names the field, NOT_FOUND what is not there. Works with what Control holds."""

    _tasks: Mapping[str, Task]
    _state: State
    _desk: Desk

    @answered
    async def CreateKey(self, request: control.CreateKeyRequest, context: Any) -> control.NewKey:
        label("name", request.name)
        decided_by = decider(request.decided_by, context.auth_context())
        limited("reason", request.reason, MAX_REASON_CHARACTERS)
        for task in request.tasks:
            known_task(self._tasks, task)
        check_quota(request.quota)
        if len(self._state.keys()) >= MAX_KEYS:
            raise Rejected(grpc.StatusCode.RESOURCE_EXHAUSTED, f"there are {MAX_KEYS:,} keys, the most that can be")
        told = keys.secret(key_id := secrets.token_hex(6), secrets.token_urlsafe(32))
        key = await self._desk.create_key(key_id, request, told, decided_by)
        return control.NewKey(key=keys.shown(key), secret=told)

    @answered
    async def RevokeKey(self, request: control.RevokeKeyRequest, context: Any) -> events.ApiKey:
        """Waits for Kafka alone."""
        reason = required("reason", request.reason, MAX_REASON_CHARACTERS)
        decided_by = decider(request.decided_by, context.auth_context())
        key = self._state.key(required("id", request.id))
        if key is None:
            raise Rejected(grpc.StatusCode.NOT_FOUND, f"id: there is no key {request.id[:64]!r}")
        if key.HasField("revoked_at"):
            raise Refused(f"key {key.id} was taken back already, by {key.revoked_by}: {key.reason}")
        return keys.shown(await self._desk.revoke_key(key, reason, decided_by))

    @answered
    async def Keys(self, request: control.KeysRequest, _context: Any) -> control.KeysReply:
        known = sorted(self._state.keys(), key=lambda key: (key.name, key.created_at.ToNanoseconds(), key.id))
        wanted = (key for key in known if request.revoked or not key.HasField("revoked_at"))
        return control.KeysReply(keys=[keys.shown(key) for key in wanted])


def check_quota(quota: events.Quota) -> None:
    """Raise Rejected for dollars that are no number of 0 to a thousand million; '' means no limit."""
    for field in ("usd_per_day", "usd_per_month"):
        if not _is_usd(text := getattr(quota, field)):
            raise invalid(f"quota.{field}", f"{text[:64]!r} is no number of dollars, as 12.50; 0 means no limit")


def _is_usd(text: str) -> bool:
    try:
        return len(text) <= 32 and (not text or 0 <= Decimal(text) < MOST_USD)
    except InvalidOperation:
        return False
