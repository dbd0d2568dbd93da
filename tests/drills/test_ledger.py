"""The judge of the drills is itself judged: each kind of loss and of doubling is named."""

from dataclasses import replace

import pytest

from protos import events_pb2 as events
from tests.drills.ledger import Audited, Equality, InClickHouse, OnKafka, in_clickhouse
from tests.drills.table import row, table
from tests.fixtures import tools

SOUND = Equality(
    drill="a drill",
    begun=frozenset({"a", "b", "c"}),
    by_kafka=frozenset({"k"}),
    ended={"a": "OK", "b": "OK", "c": "UNAVAILABLE"},
    kafka=OnKafka(ids=frozenset("abck"), answered=frozenset("abck"), records=5, sources=1, sequences=4, missing=0),
    clickhouse=InClickHouse(ids=frozenset("abck"), rows=5, duplicates=0, missing=0, sequences=4),
    audited=Audited(answered=4, acknowledged=4, stored=4, in_flight=0, missing=0, duplicates=0),
    dead_letters=0,
)


def test_it_holds_where_all_agree_and_a_failed_caller_is_unheard() -> None:
    assert SOUND.problems() == []
    assert SOUND.unheard == {"c", "k"}
    assert "it holds" in SOUND.line()


@pytest.mark.parametrize(
    ("found", "problem"),
    [
        (replace(SOUND, ended={"a": "OK", "b": "OK"}), "1 calls have not ended"),
        (replace(SOUND, kafka=replace(SOUND.kafka, answered=frozenset("bck"))), "1 answers are not on Kafka"),
        (replace(SOUND, kafka=replace(SOUND.kafka, answered=frozenset("abc"))), "1 requests on Kafka are not answered"),
        (replace(SOUND, begun=frozenset("ab")), "1 exchanges on Kafka were never asked for"),
        (
            replace(SOUND, clickhouse=replace(SOUND.clickhouse, ids=frozenset("abc"))),
            "1 exchanges on Kafka are not in ClickHouse",
        ),
        (
            replace(SOUND, clickhouse=replace(SOUND.clickhouse, ids=frozenset("abckz"))),
            "1 exchanges in ClickHouse are not on Kafka",
        ),
        (replace(SOUND, kafka=replace(SOUND.kafka, missing=2)), "2 sequences are missing on Kafka"),
        (replace(SOUND, clickhouse=replace(SOUND.clickhouse, missing=3)), "3 sequences are missing in ClickHouse"),
        (replace(SOUND, clickhouse=replace(SOUND.clickhouse, duplicates=4)), "4 duplicates are left after FINAL"),
        (replace(SOUND, dead_letters=5), "5 dead letters"),
        (replace(SOUND, audited=replace(SOUND.audited, missing=6)), "6 are missing, says the audit"),
        (replace(SOUND, audited=replace(SOUND.audited, in_flight=7)), "7 are in flight, says the audit"),
        (replace(SOUND, audited=replace(SOUND.audited, duplicates=8)), "8 are stored twice, says the audit"),
        # The audit itself is wrong.
        (
            replace(SOUND, audited=replace(SOUND.audited, answered=3)),
            "1 sequences on Kafka are more or less than the audit's answered",
        ),
        (
            replace(SOUND, audited=replace(SOUND.audited, acknowledged=6)),
            "2 sequences on Kafka are more or less than the audit's acknowledged",
        ),
        (
            replace(SOUND, audited=replace(SOUND.audited, stored=1)),
            "3 sequences in ClickHouse are more or less than the audit's stored",
        ),
    ],
)
def test_what_does_not_agree_is_named(found: Equality, problem: str) -> None:
    assert problem in found.problems()
    assert problem in found.line()


def test_sequences_are_counted_by_source() -> None:
    made = [
        events.Exchange(id=f"{source}{n}", source=source, sequence=n) for source, n in (("x", 1), ("x", 3), ("y", 1))
    ]
    assert OnKafka.of([*made, made[0]]) == OnKafka(
        frozenset({"x1", "x3", "y1"}), frozenset(), 4, 2, sequences=3, missing=1
    )


def test_an_id_that_final_leaves_twice_is_a_duplicate() -> None:
    assert in_clickhouse([{"id": "a", "n": 2}, {"id": "b", "n": 1}], rows=3, missing=0, sequences=3).duplicates == 1


def test_without_its_programs_a_drill_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no-such-program on PATH"):
        tools.need("no-such-program")


def test_where_ci_says_so_that_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="no-such-program on PATH"):
        tools.need("no-such-program")


def test_the_table_has_a_line_for_each_drill_and_says_what_does_not_hold() -> None:
    lost = replace(SOUND, drill="a bad one", audited=replace(SOUND.audited, missing=6, stored=3))
    head, sound, bad = table([row(SOUND), row(lost)])
    assert head.split()[:2] == ["drill", "calls"]
    assert " ".join(sound.split()) == "a drill 3: OK 2, UNAVAILABLE 1 2 + 2 = 4 4 = 4 4 = 4 0 0 it holds"
    assert bad.startswith("a bad one")
    assert "4 = 3" in bad
    assert "6 are missing, says the audit; 1 sequences in ClickHouse" in bad
