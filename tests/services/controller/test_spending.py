"""What keys have spent, by what the gateways told, and how the controller reads that from a broker."""

from datetime import date
from decimal import Decimal

import pytest

from protos import events_pb2 as events
from services.controller.__main__ import _usage
from services.controller.settings import Settings
from services.controller.spending import credited_usd, spending, told
from services.errors import Overloaded
from services.kafka import Producer, create_topics
from services.settings import KafkaSettings
from services.topics import KEY_USAGE, encode

TODAY = date(2026, 11, 29)


def usage(source: str, usd: str, day: str = "2026-11-29", key_id: str = "ann") -> events.KeyUsage:
    return events.KeyUsage(key_id=key_id, source=source, day=day, requests=1, tokens=2, cost_usd=usd)


def test_of_each_process_and_day_the_last_word_counts() -> None:
    said = [usage("a", "1"), usage("b", "2"), usage("a", "1.5"), usage("a", "3", "2026-11-01")]
    assert told(encode(KEY_USAGE, one) for one in said) == [said[2], said[1], said[3]]


def test_a_key_of_which_nothing_was_told_has_spent_nothing_and_may_be_credited_all_the_same() -> None:
    key = events.ApiKey(id="ann", credits_usd={"2026-11-29": "1.25", "2026-11-02": "2"})
    [found] = spending([key], [usage("a", "9", key_id="bob")], TODAY)
    assert (found.requests, found.usd_day, found.usd_month, found.credited_usd_month) == (0, "-1.25", "-3.25", "3.25")
    assert credited_usd(key, "2026-10") == Decimal(0)


@pytest.mark.contract
def test_the_controller_reads_all_that_a_broker_keeps_of_it(tansu: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kafka = KafkaSettings(kafka_bootstrap_servers=tansu)
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", tansu)
    with pytest.raises(Overloaded):
        list(_usage(Settings()))
    create_topics(kafka, partitions=2)
    producer, said = Producer(kafka), [usage(str(number), "1", key_id=str(number)) for number in range(20)]
    for one in said:
        producer.send(encode(KEY_USAGE, one))
    assert producer.flush(10) == 0
    assert sorted(one.key_id for one in told(_usage(Settings()))) == sorted(one.key_id for one in said)
