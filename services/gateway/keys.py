"""Whose call it is: API keys, as topic `keys` has them, so that one that was taken back is refused within a second.

A key is `tt_<id>_<43 characters>`, of which the last part is 256 random bits. So its SHA-256 can't be guessed back, and
no slow hash is needed: those are for what people choose. Only the digest is kept. A caller's key is looked up by its
digest, and how long that takes tells nothing that could be tried out letter by letter.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from hashlib import sha256
from typing import Final

from prometheus_client import Counter

from protos import events_pb2 as events
from services import telemetry
from services.errors import BadEvent
from services.gateway.following import Following
from services.kafka import Follower
from services.settings import KafkaSettings
from services.topics import KEYS, Record, decode

AUDIT: Final = "audit"
"""The metric by which feedback says that its call was drawn by lot; see the view `shadow_pairs`."""
BEARER: Final = "bearer "
DIGEST_BYTES: Final = 32
STRANGERS: Final = Counter("tutelage_unauthenticated_calls_total", "Calls without a good key.", ("why",))


class Unauthenticated(Exception):  # noqa: N818 - as gRPC calls it
    """The call comes without a key, or with one that is not good. The text says what to send; never what was sent."""


class NotAllowed(Exception):  # noqa: N818
    """The key is good, but not for this."""


class KeysUnread(Exception):  # noqa: N818
    """Nobody can be let in as yet: who may come has not been read from Kafka."""

    retry_after_s = 1.0


@dataclass(frozen=True, slots=True)
class Holder:
    """A key that is known: what it may ask for (nothing named: all), if it is good, what it may use (0: no limit)."""

    id: str
    tasks: frozenset[str] = frozenset()
    revoked: bool = False
    requests_per_minute: int = 0
    tokens_per_minute: int = 0
    usd_per_day: Decimal = Decimal(0)
    usd_per_month: Decimal = Decimal(0)
    may_audit: bool = False
    credits_usd: Mapping[str, Decimal] = field(default_factory=dict)
    """By UTC day, what a person took off what it had spent."""

    @classmethod
    def of(cls, key: events.ApiKey) -> "Holder":
        """As the topic has it. Raises BadEvent where a quota can't be read."""
        quota = key.quota
        try:
            usd_per_day, usd_per_month = Decimal(quota.usd_per_day or 0), Decimal(quota.usd_per_month or 0)
            credits_usd = {day: Decimal(usd) for day, usd in key.credits_usd.items()}
        except InvalidOperation as error:
            raise BadEvent(f"quota or credits of key {key.id[:64]!r}: its dollars are no number") from error
        minute = (quota.requests_per_minute, quota.tokens_per_minute)
        tasks, revoked = frozenset(key.tasks), key.HasField("revoked_at")
        return cls(key.id, tasks, revoked, *minute, usd_per_day, usd_per_month, key.may_audit, credits_usd)

    @property
    def limited(self) -> bool:
        """Whether there is anything that it may not use without end."""
        return bool(self.requests_per_minute or self.tokens_per_minute or self.usd_per_day or self.usd_per_month)

    def credited_usd(self, period: str) -> Decimal:
        """What a person took off what it had spent in a day or a month."""
        if not self.credits_usd:
            return Decimal(0)
        return sum((usd for day, usd in self.credits_usd.items() if day.startswith(period)), Decimal(0))

    def may(self, task: str) -> bool:
        """Whether the key is for `task`."""
        return not self.tasks or task in self.tasks

    def check(self, task: str) -> None:
        """Raise NotAllowed where it is not."""
        if not self.may(task):
            raise NotAllowed(f"task: key {self.id} is not for {task[:64]!r}; it is for {', '.join(sorted(self.tasks))}")

    def check_feedback(self, record: events.FeedbackRecord) -> None:
        """Raise NotAllowed where it may not say this: what an auditor says decides what a student is given."""
        self.check(record.task)
        if AUDIT in record.metrics and not self.may_audit:
            what = (
                f"metrics: {AUDIT!r} is for those who judge calls drawn by lot, and key {self.id} is not one of theirs"
            )
            raise NotAllowed(f"{what}: leave it out, or use a key made with `tutelage key create --may-audit`")


class Keys:
    """Every key, by its digest. `holder` is for any thread."""

    def __init__(self, settings: KafkaSettings, follower: Follower | None = None) -> None:
        self._by_digest: dict[bytes, Holder] = {}
        self._latest: dict[str, events.ApiKey] = {}
        self._following = Following(follower or Follower(settings, KEYS.name), KEYS.name, self._read)

    def holder(self, authorization: str) -> Holder:
        """Whose call it is, by its header `authorization`. Raises Unauthenticated or KeysUnread."""
        if authorization[: len(BEARER)].lower() != BEARER:
            raise _stranger("absent", "authorization: there is no key; send `authorization: Bearer <your API key>`")
        if not self._following.caught_up:  # What is known of a key may be from before it was taken back.
            raise KeysUnread("the keys are not read from Kafka yet, so nobody can be let in: try again in a moment")
        holder = self._by_digest.get(sha256(authorization[len(BEARER) :].strip().encode()).digest())
        if holder is None:
            raise _stranger("unknown", "authorization: there is no such API key; `tutelage key create` makes one")
        if holder.revoked:
            raise _stranger("revoked", f"authorization: API key {holder.id} was taken back; ask for a new one")
        return holder

    async def start(self, wait_s: float = 5.0) -> None:
        """Read what is there, for `wait_s` at most, then go on in the background. Kafka may be away."""
        if not await self._following.start(wait_s):
            telemetry.log.warning("keys are not read yet: calls are refused until they are")

    async def close(self) -> None:
        """Stop following."""
        await self._following.close()

    def _read(self, record: Record) -> None:
        key: events.ApiKey = decode(record)
        if not key.id or len(key.digest) != DIGEST_BYTES:
            raise BadEvent(f"id {key.id[:64]!r} with a digest of {len(key.digest)} bytes is no key")
        known = self._latest.get(key.id)
        if known is not None and _updated_ns(key) < _updated_ns(known):
            return
        holder = Holder.of(key)
        self._latest[key.id] = key
        if known is not None and known.digest != key.digest:
            self._by_digest.pop(known.digest, None)
        self._by_digest[key.digest] = holder
        if self._following.caught_up:
            telemetry.log.info("a key changed", key=key.id, name=key.name, revoked=holder.revoked, reason=key.reason)


def _stranger(why: str, text: str) -> Unauthenticated:
    STRANGERS.labels(why).inc()
    return Unauthenticated(text)


def _updated_ns(key: events.ApiKey) -> int:
    return int(key.updated_at.ToNanoseconds())
