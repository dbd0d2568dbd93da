"""A Faust table of bytes that stays within its bounds, also while it is rebuilt from a long changelog."""

import time
from collections.abc import Callable, Iterable
from typing import Any

import faust
from faust.stores.memory import Store

from services.sampler.memory import trim


class BoundedStore(Store):  # type: ignore[misc]
    """Faust's store in memory, which forgets the oldest while it reads the changelog."""

    max_count: int
    max_age_s: float

    def apply_changelog_batch(
        self, batch: Iterable[Any], to_key: Callable[[Any], Any], to_value: Callable[[Any], Any]
    ) -> None:
        super().apply_changelog_batch(batch, to_key, to_value)
        for key in trim(self.data, self.max_count, time.time() - self.max_age_s):
            self._key_partition.pop(key, None)


class BoundedTable(faust.Table):  # type: ignore[misc]
    """The sampler's memory; its changelog topic is compacted, and forgets by age as the memory does."""

    @classmethod
    def of(cls, app: faust.App, max_count: int, max_age_s: float, partitions: int) -> "BoundedTable":
        """The one table of the sampler, known to the app."""
        table = cls(
            app,
            name="memory",
            key_type=bytes,
            value_type=bytes,
            partitions=partitions,
            extra_topic_configs={"cleanup.policy": "compact,delete", "retention.ms": int(max_age_s * 1000)},
        )
        table.data.max_count, table.data.max_age_s = max_count, max_age_s
        return app.tables.add(table)  # type: ignore[no-any-return]

    def _new_store(self) -> BoundedStore:
        return BoundedStore(
            "memory://",
            self.app,
            self,
            table_name=self.name,
            key_type=self.key_type,
            key_serializer=self.key_serializer,
            value_serializer=self.value_serializer,
            value_type=self.value_type,
            options=self.options,
        )
