"""The memory's bounds."""

from hypothesis import given
from hypothesis import strategies as st

from services.sampler.memory import Kind, Memory, trim


def a_memory(count: int = 3, age_s: float = 10.0) -> Memory:
    return Memory({}, count, age_s)


def names(memory: Memory, *asked: str) -> list[str]:
    return [name for name in asked if memory.get(Kind.QUESTION, name) is not None]


def test_it_gives_back_what_was_put():
    memory = a_memory()
    memory.put(Kind.QUESTION, "a", b"e1", 0, 0.0)
    assert memory.get(Kind.QUESTION, "a") == b"e1"
    assert memory.get(Kind.EXCHANGE, "a") is None


def test_above_the_count_the_oldest_goes():
    memory = a_memory(count=2)
    for name in "abca":  # a is put again, so b is the oldest
        memory.put(Kind.QUESTION, name, b"", 0, 0.0)
    memory.forget_old(now_s=0.0)
    assert names(memory, *"abc") == ["a", "c"]


def test_what_is_too_old_goes():
    memory = a_memory()
    memory.put(Kind.QUESTION, "a", b"", 0, 0.0)
    memory.put(Kind.QUESTION, "b", b"", 0, 5.0)
    memory.forget_old(now_s=11.0)
    assert names(memory, "a", "b") == ["b"]


def test_what_is_erased_goes_and_is_remembered_no_more():
    memory = a_memory()
    for name in "ab":
        memory.put(Kind.QUESTION, name, b"", 0, 0.0)
    assert memory.erase(b"question:a")
    assert not memory.erase(b"question:a")
    memory.put(Kind.QUESTION, "a", b"", 0, 1.0)
    assert names(memory, "a", "b") == ["b"]
    assert list(memory.written) == [(0, b"question:a"), (0, b"question:b")]  # Written before it was erased.


def test_no_more_erased_keys_are_kept_than_entries():
    memory = a_memory(count=2)
    for name in "abc":
        memory.erase(b"question:" + name.encode())
    for name in "abc":
        memory.put(Kind.QUESTION, name, b"", 0, 0.0)
    assert names(memory, *"abc") == ["a"]


def test_the_changelog_gets_the_last_value_of_a_key_on_its_partition():
    memory = a_memory()
    memory.put(Kind.QUESTION, "a", b"1", 7, 0.0)
    memory.put(Kind.QUESTION, "a", b"2", 7, 0.0)
    assert [(place, value[8:]) for place, value in memory.written.items()] == [((7, b"question:a"), b"2")]


@given(st.lists(st.floats(0, 100)), st.integers(1, 20), st.floats(0, 100))
def test_what_is_left_is_within_both_bounds(times, count, oldest_s):
    data: dict[bytes, bytes] = {}
    memory = Memory(data, 1000, 1000.0)
    for number, at_s in enumerate(sorted(times)):
        memory.put(Kind.QUESTION, str(number), b"", 0, at_s)
    trim(data, count, oldest_s)
    young = [at_s for at_s in times if at_s >= oldest_s]
    assert len(data) == min(len(young), count)
