"""An erasure covers what was asked before it, of that customer alone, and never names the customer."""

import hashlib
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.erasures import DAY_US, Erased, Erasure, conditions, deletions, digest, exchange_ids, micros, secret_of
from services.errors import Overloaded

SECRET = "known to this installation alone"
AT_US = 1_800_000_000_000_000
ACME = Erasure("0190a0b0-0000-7000-8000-000000000001", digest("acme", SECRET), "", AT_US)
KEYS = st.text(max_size=20)
TIMES = st.integers(-(2**62), 2**62)


def covers(erased: Erased, task: str, group_key: str, asked_us: int, now_us: int = AT_US + 10) -> bool:
    return erased.covering(task, group_key, asked_us, now_us) is not None


def test_what_was_asked_before_goes_and_what_is_asked_afterwards_stays() -> None:
    erased = Erased([ACME], SECRET)
    assert covers(erased, "labels", "acme", AT_US - 1)
    assert not covers(erased, "labels", "acme", AT_US)
    assert not covers(erased, "labels", "acme", AT_US + 5)


def test_a_time_that_cannot_be_believed_is_taken_for_an_old_one() -> None:
    assert covers(Erased([ACME], SECRET), "labels", "acme", AT_US + 2 * DAY_US)
    assert not covers(Erased([ACME], SECRET), "labels", "acme", AT_US + 2 * DAY_US, now_us=AT_US + 2 * DAY_US)


def test_an_erasure_from_one_task_leaves_the_others() -> None:
    erased = Erased([Erasure("e", digest("acme", SECRET), "labels", AT_US)], SECRET)
    assert covers(erased, "labels", "acme", 0)
    assert not covers(erased, "other", "acme", 0)


def test_of_several_erasures_the_latest_that_covers_counts() -> None:
    later = Erasure("later", ACME.digest, "labels", AT_US + 100)
    assert covers(Erased([ACME, later], SECRET), "labels", "acme", AT_US + 50)
    assert not covers(Erased([ACME, later], SECRET), "other", "acme", AT_US + 50)


@given(key=KEYS, asked_us=TIMES)
def test_nobody_else_is_touched(key: str, asked_us: int) -> None:
    assert covers(Erased([ACME], SECRET), "labels", key, asked_us) <= (key == "acme")
    assert not covers(Erased(), "labels", key, asked_us)
    assert not covers(Erased([Erasure("e", digest("", SECRET), "", AT_US)], SECRET), "labels", "", asked_us)


def test_no_statement_carries_the_group_key() -> None:
    every = [*deletions(ACME).values(), *conditions(ACME, "").values(), exchange_ids(ACME)]
    assert not any("acme" in statement for statement in every)
    assert all(ACME.digest in statement for statement in deletions(ACME).values())


def test_a_digest_tells_nothing_without_the_secret() -> None:
    plain = hashlib.sha256(b"acme").hexdigest()
    assert len({plain, digest("acme", SECRET), digest("acme", "another installation's")}) == 3
    assert not covers(Erased([ACME], "another installation's"), "labels", "acme", 0)


def test_who_was_erased_before_there_was_a_secret_stays_erased() -> None:
    old = Erasure("old", hashlib.sha256(b"acme").hexdigest(), "", AT_US)
    assert covers(Erased([old], SECRET), "labels", "acme", AT_US - 1)
    assert not covers(Erased([old], SECRET), "labels", "others", AT_US - 1)


def test_the_secret_is_the_first_that_was_made_and_without_one_the_sink_is_waited_for() -> None:
    rows = [{"key": "late", "made_at": datetime(2026, 1, 2)}, {"key": "first", "made_at": datetime(2026, 1, 1)}]
    assert secret_of(rows) == "first"
    with pytest.raises(Overloaded, match="has not made the secret"):
        secret_of([])


def test_a_time_without_a_zone_is_utc() -> None:
    assert micros(datetime(2026, 1, 1)) == micros(datetime(2026, 1, 1, tzinfo=UTC)) == 1_767_225_600_000_000
