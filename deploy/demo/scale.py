"""How large the demo is."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final


@dataclass(frozen=True)
class Scale:
    """What the demo sends and how it trains."""

    requests: int
    """Addresses sent before the run; the task's split leaves about four fifths of them to train on."""
    by_kafka: int
    """How many of them come from a Kafka producer, the others by gRPC."""
    after: int
    """Addresses never seen before, sent once the run is over."""
    reviewed: float = 0.1
    """The share of answers that a user looks at, and confirms or corrects."""
    concurrency: int = 128
    """Calls open at once: the stand-in takes a second for each."""
    overrides: Mapping[str, str] = field(default_factory=dict)
    """Keys of the training config to change."""


FULL: Final = Scale(requests=5_000, by_kafka=200, after=200)
QUICK: Final = Scale(requests=1_750, by_kafka=50, after=40, overrides={"from": "auto-quick"})
SEED: Final = 7
STAND_IN_ERROR_RATE: Final = 0.11
STAND_IN_LATENCY_S: Final = 1.0
