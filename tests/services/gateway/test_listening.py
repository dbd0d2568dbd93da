"""How long things take, for people."""

import pytest

from services.gateway.listening import in_words


@pytest.mark.parametrize(
    ("seconds", "words"), [(2.5, "2.50 s"), (0.1, "0.10 s"), (0.05, "50 ms"), (0.00042, "0.42 ms"), (-1.0, "0 ms")]
)
def test_a_time_is_told_so_that_it_tells_something(seconds: float, words: str) -> None:
    assert in_words(seconds) == words
