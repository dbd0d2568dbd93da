"""How topics are made: what is acknowledged outlives a broker where there are copies to outlive it."""

import pytest

from services.kafka.topics import topic_config


@pytest.mark.parametrize(("copies", "in_sync"), [(3, "2"), (4, "3"), (5, "3")])
def test_a_majority_of_copies_must_have_a_record_before_it_is_acknowledged(copies: int, in_sync: str) -> None:
    assert topic_config("exchanges", copies)["min.insync.replicas"] == in_sync


@pytest.mark.parametrize("copies", [1, 2])
def test_where_a_majority_is_all_of_them_a_lone_broker_still_acknowledges(copies: int) -> None:
    assert "min.insync.replicas" not in topic_config("exchanges", copies)


def test_what_is_rebuilt_from_a_topic_is_compacted() -> None:
    compacted = {
        name for name in ("exchanges", "runs", "promotions", "sources") if "cleanup.policy" in topic_config(name, 1)
    }
    assert compacted == {"runs", "promotions", "sources"}
