"""What Kafka still holds is stated, with the time at which it goes."""

from datetime import UTC, datetime, timedelta

import pytest

from protos import control_pb2 as control
from services.controller import receipts
from services.kafka import Keeping

AT = datetime(2026, 1, 1, tzinfo=UTC)
DAY_MS = 86_400_000


def test_a_record_is_gone_when_its_segment_is_closed_and_its_retention_over() -> None:
    told = receipts.held(Keeping("exchanges", False, True, 7 * DAY_MS, DAY_MS), AT)
    assert told.gone_by.ToDatetime(tzinfo=UTC) == AT + timedelta(days=8)
    assert str(7 * DAY_MS) in told.rule


@pytest.mark.parametrize(
    ("keeping", "rule"),
    [
        (Keeping("runs", True, False, 7 * DAY_MS, DAY_MS), "compacted"),
        (Keeping("exchanges", False, True, -1, DAY_MS), "never"),
        (Keeping("exchanges", False, True, 2**63 - 1, DAY_MS), "never"),
        (Keeping("exchanges", False, False, None, None), "does not tell"),
    ],
)
def test_what_has_no_end_or_none_that_is_known_has_no_time(keeping: Keeping, rule: str) -> None:
    told = receipts.held(keeping, AT)
    assert not told.HasField("gone_by")
    assert rule in told.rule


def test_a_segment_that_may_grow_for_ever_is_no_error() -> None:
    told = receipts.held(Keeping("exchanges", False, True, 7 * DAY_MS, 2**63 - 1), AT)
    assert told.gone_by.ToDatetime().year > 3000


def test_topics_that_carry_customers_are_ours_and_the_samplers_changelog() -> None:
    names = ["exchanges", "dead-letters", "sampler-memory-changelog", "promotions", "somebody-elses"]
    assert [name for name in names if receipts.holds_customers(name)] == names[:3]


def test_the_sampler_is_told_by_its_changelogs_and_by_a_topic_of_its_own() -> None:
    names = ["exchanges", "sampler-memory-changelog", "forgotten", "candidates"]
    assert [name for name in names if receipts.tells_sampler(name)] == names[1:3]


def test_students_and_reports_are_named_where_there_are_any() -> None:
    receipt = control.ErasureReceipt()
    assert receipts.remains(receipt) == list(receipts.ALWAYS)
    receipt.students.add(task="labels", student_version=3, train_rows=2, report_quotes=True)
    receipt.snapshots.add(task="labels", number=7)
    named = receipts.remains(receipt)[len(receipts.ALWAYS) :]
    assert [text.rpartition(": ")[2] for text in named] == ["labels/7.", "labels 3.", "labels 3."]
