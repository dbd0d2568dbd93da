"""The sampler's settings, from the environment."""

from pathlib import Path

from pydantic import Field

from services.settings import KafkaSettings, ServiceSettings


class SamplerSettings(KafkaSettings, ServiceSettings):
    """What the sampler needs to know; every worker of one group takes the same."""

    sampler_group: str = Field("sampler", pattern=r"^[a-zA-Z0-9._-]+$")
    """The consumer group, and the first part of the changelog topic's name."""
    sampler_data_dir: Path = Path("data/sampler")
    """Where Faust keeps its own small files. The memory itself lives in the changelog topic."""
    sampler_partitions: int = Field(0, ge=0)
    """Partitions of `exchanges` and `feedback`, which must have the same number; 0 asks the broker."""
    sampler_replication: int = Field(1, ge=1)
    """Copies of the changelog topic where the sampler creates it."""
    sampler_batch: int = Field(500, ge=1, le=10_000)
    """Events decided together and acknowledged together, at most."""
    sampler_batch_within_s: float = Field(0.2, gt=0)
    """How long an incomplete batch may grow."""
    sampler_remember_count: int = Field(300_000, ge=1)
    """Entries kept in memory: an exchange, its question, its rating and its correction are one each."""
    sampler_remember_s: float = Field(3 * 86_400, gt=0)
    """How late feedback may come and still find its exchange; also the changelog's retention."""
    sampler_remember_sketches: int = Field(50_000, ge=1)
    """Chosen questions of each task among which near-duplicates are looked for; about 1 KB each."""
