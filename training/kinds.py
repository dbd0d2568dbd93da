"""The kinds of student by name."""

from collections.abc import Sequence

from training.causal import Causal
from training.config import Config
from training.data import Row
from training.encoding import Encoding
from training.heads import Classes, Tags
from training.kind import Kind


def kind(config: Config, table: Sequence[Row]) -> Kind:
    """The kind that the config names; `table` is the training split, from which encoders have their labels."""
    match config.kind:
        case "causal":
            return Causal(config)
        case "tagger":
            return Encoding(config, Tags(config, table))
        case "classifier":
            return Encoding(config, Classes(config, table))
