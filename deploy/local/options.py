"""What may be chosen about a stack, and what it tells while it starts and stops."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from deploy.local.part import Part


@dataclass(frozen=True)
class StackOptions:
    """A stack's choices; all of them have defaults."""

    state_dir: Path = Path(".tutelage")
    tasks_dir: Path = Path("deploy/tasks")
    ports: Mapping[str, int] = field(default_factory=dict)
    """By the field names of `Addresses`; the others are chosen among the free ones."""
    environment: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """More environment variables, by part; they win over the stack's own."""
    teacher_base_url: str = ""
    """Any OpenAI-compatible API; empty leaves it to the environment or the gateway's default."""
    teacher_api_key: str = ""
    leave_out: frozenset[str] = frozenset()
    """Parts that are not started."""
    extra_parts: tuple[Part, ...] = ()
    """Started after the engines and before the services: a stand-in for the teacher, for instance."""
    topic_partitions: int = 4
    cpus: int = field(default_factory=lambda: os.cpu_count() or 1)
    """CPUs that Ray may give to training."""


class State(StrEnum):
    """What became of a part."""

    STARTING = "starting"
    READY = "ready"
    STOPPED = "stopped"
    CRASHED = "crashed"


@dataclass(frozen=True)
class Event:
    """News of a part; `seconds` it took to become ready or to stop, or it had run before it crashed."""

    part: str
    state: State
    seconds: float = 0.0
