"""Who has how many turns under which load, and how long they are."""

from benchmarks.gateway import loads, paced, turns
from benchmarks.gateway_load import Load


class Asked:
    """Notes under which loads it was put."""

    def __init__(self) -> None:
        self.loads: list[Load] = []

    def run(self, load: Load) -> dict[str, float]:
        self.loads.append(load)
        return {"calls_per_s": 1.0, "failed": 0.0}


def seconds(asked: list[Load], name: str = "grpc") -> list[float]:
    contestant = Asked()
    turns({name: contestant}, asked, 3)
    return [load.seconds for load in contestant.loads]


def test_everyone_has_as_many_turns_as_there_are_rounds() -> None:
    assert seconds(loads([64, 512], 2.0)) == [2.0] * 4 * 3
    assert seconds(paced(2.0)) == [2.0] * 2 * 3


def test_a_crowd_of_streams_has_one_turn_in_which_they_come_to_their_end() -> None:
    assert seconds([Load(4_096, stream=True, seconds=2.0)]) == [16.0]
    assert seconds([Load(4_096, stream=False, seconds=2.0)]) == [2.0] * 3


def test_a_slow_contestant_has_one_longer_turn() -> None:
    assert seconds([Load(64, stream=False, seconds=2.0)], "litellm") == [6.0]
    assert seconds([Load(4_096, stream=True, seconds=2.0)], "litellm") == [16.0]
