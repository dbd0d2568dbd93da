"""What is written off: on the engine, and alike for the command, the controller's metric and the view."""

from datetime import UTC, datetime
from itertools import pairwise

import pytest
import uuid_utils
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from services.audit import asking, take
from services.audit.arithmetic import Account, Range, audit, settled
from services.audit.writing_off import COLUMNS, TABLE, WrittenOff, decisions, in_blocks, write_off
from services.clickhouse import ClickHouse
from services.controller.auditing import show
from services.errors import BadEvent
from tests.services.audit.test_view import LONG_AGO_S, put, tell

AT = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)


@given(st.integers(1, 5 * asking.BLOCK), st.integers(0, 3 * asking.BLOCK))
def test_a_range_is_cut_where_the_blocks_end(first: int, more: int) -> None:
    pieces = list(in_blocks((first, first + more)))
    assert (pieces[0][0], pieces[-1][1]) == (first, first + more)
    assert all(before[1] + 1 == after[0] for before, after in pairwise(pieces))
    assert all((one - 1) // asking.BLOCK == (last - 1) // asking.BLOCK for one, last in pieces)


def say_lost(ledger: ClickHouse, source: str, *ranges: Range, reason: str = "its disk burnt") -> None:
    write_off(ledger, WrittenOff(source, ranges, reason, "ann", AT))


def by_command(ledger: ClickHouse, source: str) -> Account:
    [account] = [one for one in take(ledger, {}, within_s=0).sources if one.source == source]
    return account


def agreed(ledger: ClickHouse) -> tuple[int, int]:
    """What is missing and written off in sum: so says the command, and so say the metric and the view."""
    looks = asking.look(ledger)
    show(found := audit(looks, settled(looks), {}), duplicates=0, vanished=0)
    figures = found.total.missing, found.total.written_off
    told = [REGISTRY.get_sample_value("tutelage_audit_exchanges", {"state": one}) for one in ("missing", "written_off")]
    assert figures == tuple(told)
    assert ledger.query("SELECT sum(missing) AS missing, sum(written_off) AS written_off FROM audit") == [
        {"missing": figures[0], "written_off": figures[1]}
    ]
    return figures


@pytest.mark.contract
def test_what_is_written_off_is_not_missing_any_more_and_the_next_loss_is(ledger: ClickHouse) -> None:
    put(ledger, "gone", 1, 2, 3, 8)
    tell(ledger, "gone", 10, 10, LONG_AGO_S)
    put(ledger, "open", 1, 2)
    tell(ledger, "open", 2, 2, LONG_AGO_S)
    assert agreed(ledger) == (6, 0)
    say_lost(ledger, "gone", *by_command(ledger, "gone").missing_at)
    assert agreed(ledger) == (0, 6)
    tell(ledger, "open", 5, 5, LONG_AGO_S)
    assert agreed(ledger) == (3, 6)
    assert by_command(ledger, "open").missing_at == [(3, 5)]
    assert decisions(ledger) == [WrittenOff("gone", [(4, 7), (9, 10)], "its disk burnt", "ann", AT)]


@pytest.mark.contract
def test_what_turns_up_is_stored_and_never_counted_twice(ledger: ClickHouse) -> None:
    put(ledger, "gone", 1, 2)
    tell(ledger, "gone", 6, 6, LONG_AGO_S)
    say_lost(ledger, "gone", (3, 6))
    [said] = decisions(ledger)
    for arrived, left in ((4, 3), (4, 3), (6, 2), (3, 1), (5, 0)):
        put(ledger, "gone", arrived)
        account = by_command(ledger, "gone")
        assert (account.written_off, account.missing) == (left, 0)
        assert account.answered == account.stored + account.written_off
        assert said.stored_since(account) == 4 - left
        assert agreed(ledger) == (0, left)


@pytest.mark.contract
def test_the_same_said_twice_and_over_one_another_counts_once(ledger: ClickHouse) -> None:
    tell(ledger, "gone", 10, 10, LONG_AGO_S)
    for ranges in ([(2, 5)], [(2, 5)], [(4, 7), (9, 9)]):
        say_lost(ledger, "gone", *ranges)
    assert agreed(ledger) == (3, 7)
    ledger.command("OPTIMIZE TABLE written_off FINAL")
    assert agreed(ledger) == (3, 7)


@pytest.mark.contract
def test_millions_over_the_ends_of_blocks_are_counted_too(ledger: ClickHouse) -> None:
    last = 3 * asking.BLOCK + 7
    put(ledger, "gone", 1, asking.BLOCK, asking.BLOCK + 1, last)
    tell(ledger, "gone", last + 5, last + 5, LONG_AGO_S)
    assert agreed(ledger) == (last + 1, 0)
    lost = [(2, asking.BLOCK - 1), (asking.BLOCK + 2, last + 5)]
    say_lost(ledger, "gone", *lost)
    assert agreed(ledger) == (0, last + 1)
    assert [(one.ranges, one.exchanges) for one in decisions(ledger)] == [(lost, last + 2)]
    assert by_command(ledger, "gone").written_off_at == [
        (2, asking.BLOCK - 1),
        (asking.BLOCK + 2, last - 1),
        (last + 1, last + 5),
    ]


@pytest.mark.contract
@pytest.mark.parametrize("wrong", [(0, 3), (5, 4), (asking.BLOCK, asking.BLOCK + 1)])
def test_a_row_that_the_view_could_not_count_is_refused(ledger: ClickHouse, wrong: Range) -> None:
    with pytest.raises(BadEvent, match="within_a_block"):
        ledger.insert(TABLE, COLUMNS, [("gone", *wrong, "why", "ann", AT)], str(uuid_utils.uuid7()))


@pytest.mark.contract
def test_what_is_written_off_of_a_source_that_nobody_knows_is_nothing(ledger: ClickHouse) -> None:
    put(ledger, "untold", 1, 3)
    say_lost(ledger, "untold", (2, 2), (4, 9))
    say_lost(ledger, "never heard of", (1, 3))
    assert agreed(ledger) == (0, 1)
