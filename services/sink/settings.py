"""The sink's settings, each from the environment variable of its name in upper case."""

from pydantic import Field

from services.settings import ServiceSettings


class SinkSettings(ServiceSettings):
    """How large a batch grows before it is written, whichever comes first."""

    sink_batch_rows: int = Field(50_000, ge=1)
    sink_batch_bytes: int = Field(32 * 1024**2, ge=1)
    """An insert costs ClickHouse 50 ms whatever its size. Two batches are held, each record twice: 200 MiB."""
    sink_batch_age_s: float = Field(0.5, gt=0)
    """How long a row waits for others. ClickHouse likes few large inserts: two a second and table are easy for it."""
    sink_group: str = "sink"
    """The consumer group. Sinks of one group share the partitions."""
