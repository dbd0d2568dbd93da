"""The part of the service Control that makes API keys, takes them back, and tells and corrects what they spent."""

import asyncio
import secrets
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Final

import grpc

from protos import control_pb2 as control
from protos import events_pb2 as events
from services.controller import keys, spending
from services.controller.answering import answered
from services.controller.checks import MAX_REASON_CHARACTERS, Rejected, invalid, known_task, label, limited, required
from services.controller.deciders import decider
from services.controller.desk import Desk
from services.controller.errors import Refused
from services.controller.state import State
from services.tasks import Task
from services.topics import Record

MOST_USD: Final = Decimal(10**9)
MAX_KEYS: Final = 100_000
"""Every gateway has all in memory, a kilobyte each."""


class Keyring:
    """Every method: INVALID_ARGUMENT names the field, NOT_FOUND what is not there. Works with what Control holds."""

    _tasks: Mapping[str, Task]
    _state: State
    _desk: Desk
    _usage: Callable[[], Iterable[Record]]
    """All of topic `key-usage`."""

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
        key = self._good_key(request.id)
        return keys.shown(await self._desk.revoke_key(key, reason, decided_by))

    @answered
    async def CreditKey(self, request: control.CreditKeyRequest, context: Any) -> events.ApiKey:
        """Waits for Kafka alone."""
        reason = required("reason", request.reason, MAX_REASON_CHARACTERS)
        decided_by = decider(request.decided_by, context.auth_context())
        key = self._good_key(request.id)
        if not _is_usd(request.usd) or not Decimal(request.usd or 0):
            raise invalid("usd", f"{request.usd[:64]!r} is no number of dollars above 0, as 12.50")
        told = await asyncio.to_thread(self._usages)
        return keys.shown(await self._desk.credit_key(key.id, Decimal(request.usd), told, reason, decided_by))

    @answered
    async def SpendingOfKeys(
        self, request: control.SpendingOfKeysRequest, _context: Any
    ) -> control.SpendingOfKeysReply:
        wanted = [self._good_key(request.id)] if request.id else self._known_keys(revoked=False)
        found = spending.spending(wanted, await asyncio.to_thread(self._usages), self._desk.today())
        return control.SpendingOfKeysReply(spending=found)

    @answered
    async def Keys(self, request: control.KeysRequest, _context: Any) -> control.KeysReply:
        return control.KeysReply(keys=[keys.shown(key) for key in self._known_keys(revoked=request.revoked)])

    def _usages(self) -> list[events.KeyUsage]:
        """Reads the topic anew: at most a month of records, one a key, gateway process and day."""
        return spending.told(self._usage())

    def _known_keys(self, *, revoked: bool) -> list[events.ApiKey]:
        """By name; those that were taken back only if `revoked`."""
        known = sorted(self._state.keys(), key=lambda key: (key.name, key.created_at.ToNanoseconds(), key.id))
        return [key for key in known if revoked or not key.HasField("revoked_at")]

    def _good_key(self, key_id: str) -> events.ApiKey:
        key = self._state.key(required("id", key_id))
        if key is None:
            raise Rejected(grpc.StatusCode.NOT_FOUND, f"id: there is no key {key_id[:64]!r}")
        if key.HasField("revoked_at"):
            raise Refused(f"key {key.id} was taken back already, by {key.revoked_by}: {key.reason}")
        return key


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
