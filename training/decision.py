"""What was decided of a job's doubtful answers, as a file in its output: what is learnt of them, what is reported."""

from pathlib import Path
from typing import Final

from training.config import Config
from training.contract import Doubted, Frozen
from training.settling import Settled

FILE: Final = "doubts-{}.json"


class Decision(Frozen):
    """What is to be learnt of the doubtful rows, and what the report says of it."""

    settled: list[Settled]
    told: Doubted


def path(output: Path, config: Config) -> Path:
    """The file's; another one for each thing that may be wanted, as the candidates of a contest may differ in it."""
    return output / FILE.format(config.doubtful)


def settled(output: Path, config: Config) -> dict[int, Settled]:
    """What is to be learnt of doubtful rows, by their places in the training split."""
    decision = _read(output, config)
    return {one.place: one for one in decision.settled} if decision else {}


def told(output: Path, config: Config) -> Doubted | None:
    """What the report says of doubtful answers; None where all were kept as they are."""
    decision = _read(output, config)
    return decision.told if decision else None


def _read(output: Path, config: Config) -> Decision | None:
    return None if config.doubtful == "keep" else Decision.model_validate_json(path(output, config).read_bytes())
