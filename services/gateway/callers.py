"""Who may call, for what, and how much: keys, quotas, and what is told of their use."""

import asyncio

from protos import events_pb2 as events
from services.gateway.keys import Keys
from services.gateway.quotas import Charge, Quotas
from services.gateway.usage import Usage
from services.settings import KafkaSettings
from services.tasks import Task


class Callers:
    """Lets callers in by their keys, and counts what they use."""

    def __init__(self, keys: Keys, quotas: Quotas, usage: Usage) -> None:
        self._keys = keys
        self._quotas = quotas
        self._usage = usage

    @classmethod
    def on(cls, settings: KafkaSettings, source: str) -> "Callers":
        """As the topics of a Kafka have them; `source` is this process, as in its exchanges."""
        quotas = Quotas(source)
        return cls(Keys(settings), quotas, Usage.on(settings, quotas))

    def admit(self, authorization: str, task: str) -> str:
        """The id of the caller's key, and one more request of it.

        Raises Unauthenticated, NotAllowed, OverQuota or KeysUnread.
        """
        holder = self._keys.holder(authorization)
        holder.check(task)
        self._quotas.admit(holder)
        return holder.id

    def know(self, authorization: str) -> None:
        """Check that there is a caller with this; nothing is counted. Raises Unauthenticated or KeysUnread."""
        self._keys.holder(authorization)

    def hear(self, authorization: str, record: events.FeedbackRecord) -> None:
        """Check that the caller may say this; it costs nothing, so nothing is counted and no quota is in its way.

        Raises Unauthenticated, NotAllowed or KeysUnread.
        """
        self._keys.holder(authorization).check_feedback(record)

    def may(self, authorization: str, task: str) -> bool:
        """Whether the caller may ask for the task; nothing is counted. Raises Unauthenticated or KeysUnread."""
        return self._keys.holder(authorization).may(task)

    def reserve(self, exchange: events.Exchange, task: Task) -> Charge:
        """Keep free what an exchange that begins may take; the charge counts what it took.

        Raises OverQuota or NotAllowed.
        """
        return self._quotas.reserve(exchange, task)

    async def start(self) -> None:
        """Read who there is and what they have used, for a few seconds at most, then go on in the background."""
        await asyncio.gather(self._keys.start(), self._usage.start())

    async def close(self) -> None:
        """Tell the last of what was used, and stop."""
        await asyncio.gather(self._keys.close(), self._usage.close())
