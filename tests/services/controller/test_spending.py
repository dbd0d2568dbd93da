"""What keys have spent, by what the gateways told, and how the controller reads that from a broker."""

from datetime import date
from decimal import Decimal

import pytest

from protos import events_pb2 as events
from services.controller.__main__ import _usage
from services.controller.settings import Settings
from services.controller.spending import credited_usd, objection, spending, told
from services.kafka import Producer, create_topics
from services.settings import KafkaSettings
from services.topics import KEY_USAGE, encode

TODAY = date(2026, 11, 29)


def usage(source: str, usd: str, day: str = "2026-11-29", key_id: str = "ann") -> events.KeyUsage:
    return events.KeyUsage(key_id=key_id, source=source, day=day, requests=1, tokens=2, cost_usd=usd)


def test_of_each_process_and_day_the_last_word_counts() -> None:
    said = [usage("a", "1"), usage("b", "2"), usage("a", "1.5"), usage("a", "3", "2026-11-01")]
    assert told(encode(KEY_USAGE, one) for one in said) == [said[2], said[1], said[3]]


def test_a_key_of_which_nothing_was_told_has_spent_nothing_and_keeps_its_credits() -> None:
    key = events.ApiKey(id="ann", credits_usd={"2026-11-29": "1.25", "2026-11-02": "2"})
    [found] = spending([key], [usage("a", "9", key_id="bob")], TODAY)
    assert (found.requests, found.usd_day, found.usd_month, found.credited_usd_month) == (0, "-1.25", "-3.25", "3.25")
    assert credited_usd(key, "2026-10") == Decimal(0)


def test_a_credit_is_at_most_what_was_spent_today_and_not_credited_yet() -> None:
    key = events.ApiKey(id="ann", quota=events.Quota(usd_per_day="10"), credits_usd={"2026-11-29": "1.25"})
    said = [usage("a", "1"), usage("b", "0.5006"), usage("a", "9", "2026-11-28"), usage("a", "9", key_id="bob")]
    assert objection(key, Decimal("0.2506"), said, TODAY) == ""
    assert objection(key, Decimal("0.2507"), said, TODAY) == (
        "usd: 0.2507 is more than the 0.2506 dollars that key ann has spent today (UTC) and was not credited, "
        "as gateways told by now; the last two seconds may be missing"
    )
    key.credits_usd["2026-11-29"] = "100"
    assert "more than the 0 dollars" in objection(key, Decimal("0.01"), said, TODAY)


def test_a_key_whose_spending_nobody_told_yet_or_counts_is_not_credited() -> None:
    key = events.ApiKey(id="ann", quota=events.Quota(requests_per_minute=6))
    yesterday = [usage("a", "9", "2026-11-28")]
    assert objection(key, Decimal(1), yesterday, TODAY).startswith(
        "usd: it is not known yet what key ann has spent today (UTC)"
    )
    key.quota.CopyFrom(events.Quota(usd_per_day="0.00"))
    assert objection(key, Decimal(1), [usage("a", "9")], TODAY).startswith("key ann has no limit, so nobody counts")


@pytest.mark.contract
def test_the_controller_reads_all_that_a_broker_keeps_of_it(tansu: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kafka = KafkaSettings(kafka_bootstrap_servers=tansu)
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", tansu)
    create_topics(kafka, partitions=2)  # There already where another test has made them, with keys of its own.
    producer, said = Producer(kafka), [usage(str(number), "1", key_id=f"of-a-broker-{number}") for number in range(20)]
    for one in said:
        producer.send(encode(KEY_USAGE, one))
    assert producer.flush(10) == 0
    assert {one.key_id for one in told(_usage(Settings()))} >= {one.key_id for one in said}
