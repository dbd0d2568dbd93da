"""An erasure covers what was asked before it, of that customer alone, and never names the customer."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from services.erasures import DAY_US, Erased, Erasure, conditions, deletions, digest, exchange_ids, micros

AT_US = 1_800_000_000_000_000
ACME = Erasure("0190a0b0-0000-7000-8000-000000000001", digest("acme"), "", AT_US)
KEYS = st.text(max_size=20)
TIMES = st.integers(-(2**62), 2**62)


def covers(erased: Erased, task: str, group_key: str, asked_us: int, now_us: int = AT_US + 10) -> bool:
    return erased.covering(task, group_key, asked_us, now_us) is not None


def test_what_was_asked_before_goes_and_what_is_asked_afterwards_stays() -> None:
    erased = Erased([ACME])
    assert covers(erased, "labels", "acme", AT_US - 1)
    assert not covers(erased, "labels", "acme", AT_US)
    assert not covers(erased, "labels", "acme", AT_US + 5)


def test_a_time_that_cannot_be_believed_is_taken_for_an_old_one() -> None:
    assert covers(Erased([ACME]), "labels", "acme", AT_US + 2 * DAY_US)
    assert not covers(Erased([ACME]), "labels", "acme", AT_US + 2 * DAY_US, now_us=AT_US + 2 * DAY_US)


def test_an_erasure_from_one_task_leaves_the_others() -> None:
    erased = Erased([Erasure("e", digest("acme"), "labels", AT_US)])
    assert covers(erased, "labels", "acme", 0)
    assert not covers(erased, "other", "acme", 0)


def test_of_several_erasures_the_latest_that_covers_counts() -> None:
    later = Erasure("later", ACME.digest, "labels", AT_US + 100)
    assert covers(Erased([ACME, later]), "labels", "acme", AT_US + 50)
    assert not covers(Erased([ACME, later]), "other", "acme", AT_US + 50)


@given(key=KEYS, asked_us=TIMES)
def test_nobody_else_is_touched(key: str, asked_us: int) -> None:
    assert covers(Erased([ACME]), "labels", key, asked_us) <= (key == "acme")
    assert not covers(Erased(), "labels", key, asked_us)
    assert not covers(Erased([Erasure("e", digest(""), "", AT_US)]), "labels", "", asked_us)


def test_no_statement_carries_the_group_key() -> None:
    every = [*deletions(ACME).values(), *conditions(ACME, "").values(), exchange_ids(ACME)]
    assert not any("acme" in statement for statement in every)
    assert all(ACME.digest in statement for statement in deletions(ACME).values())


def test_a_time_without_a_zone_is_utc() -> None:
    assert micros(datetime(2026, 1, 1)) == micros(datetime(2026, 1, 1, tzinfo=UTC)) == 1_767_225_600_000_000
