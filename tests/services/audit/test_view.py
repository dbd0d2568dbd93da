"""The view `audit` in ClickHouse says what `tutelage audit` says, for whoever has only SQL."""

from datetime import UTC, datetime, timedelta

import pytest
import uuid_utils

from services.audit import asking
from services.audit.arithmetic import Account, audit, settled
from services.clickhouse import ClickHouse

pytestmark = pytest.mark.contract
STATE = ("source", "last_sequence", "acknowledged", "ended", "at", "inserted_at")
LONG_AGO_S = 300
AGREE_IN = "source, state, answered, on_kafka, stored, missing, written_off"


def put(ledger: ClickHouse, source: str, *sequences: int) -> None:
    rows = [(source, sequence, str(uuid_utils.uuid7())) for sequence in sequences]
    ledger.insert("ledger", ("source", "sequence", "id"), rows, str(uuid_utils.uuid7()))


def tell(ledger: ClickHouse, source: str, last: int, acknowledged: int, ago_s: int = 0, *, ended: bool = False) -> None:
    at = datetime.now(UTC) - timedelta(seconds=ago_s)
    ledger.insert("sources", STATE, [(source, last, acknowledged, ended, at, at)], str(uuid_utils.uuid7()))


def seen(ledger: ClickHouse) -> list[dict[str, object]]:
    return ledger.query(f"SELECT {AGREE_IN} FROM audit ORDER BY source")


def said(account: Account) -> dict[str, object]:
    figures = account.answered, account.acknowledged, account.stored, account.missing, account.written_off
    names = ("answered", "on_kafka", "stored", "missing", "written_off")
    return {"source": account.source, "state": str(account.course), **dict(zip(names, figures, strict=True))}


def test_nothing_is_missing_of_nothing(ledger: ClickHouse) -> None:
    assert ledger.query("SELECT sum(missing) AS missing, count() AS sources FROM audit") == [
        {"missing": 0, "sources": 0}
    ]


def test_it_agrees_with_the_command_on_what_had_its_time(ledger: ClickHouse) -> None:
    beyond = 2 * asking.BLOCK
    put(ledger, "open", 1, 2, 4, 7)
    put(ledger, "whole", 1, 2, 3, 2)
    put(ledger, "killed", 1, 3, beyond + 5)
    put(ledger, "block", *range(1, 11), asking.BLOCK, asking.BLOCK + 1)
    put(ledger, "untold", 2, 5)
    for ago_s in (LONG_AGO_S, 0):
        tell(ledger, "open", 9, 8, ago_s)
        tell(ledger, "block", asking.BLOCK + 3, asking.BLOCK + 2, ago_s)
    tell(ledger, "whole", 3, 3, LONG_AGO_S, ended=True)
    tell(ledger, "ended", 2, 2, LONG_AGO_S, ended=True)
    tell(ledger, "killed", beyond + 9, 3, LONG_AGO_S)
    looks = asking.look(ledger)
    told = audit(looks, settled(looks), {}).sources
    assert seen(ledger) == sorted((said(one) for one in told), key=lambda one: str(one["source"]))
    assert {str(one.course) for one in told} == {"open", "ended", "silent", "untold"}
    assert all((one.missing > 0) == (one.source != "whole") for one in told)


def test_what_kafka_has_had_for_less_than_a_minute_is_not_missing_yet(ledger: ClickHouse) -> None:
    put(ledger, "open", 1, 2)
    tell(ledger, "open", 3, 3, LONG_AGO_S)
    tell(ledger, "open", 6, 6)
    tell(ledger, "ended", 4, 4, ended=True)
    [ended, going_on] = seen(ledger)
    assert (ended["on_kafka"], ended["stored"], ended["missing"]) == (4, 0, 0)
    assert (going_on["on_kafka"], going_on["stored"], going_on["missing"]) == (6, 2, 1)
