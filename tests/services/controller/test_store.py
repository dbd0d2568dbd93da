"""What the controller asks of ClickHouse, against the engine and the sink's own tables and rows."""

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import uuid_utils

from protos import events_pb2 as events
from protos import inference_pb2 as inference
from services.clickhouse import ClickHouse
from services.controller import snapshot
from services.controller.cycle import Counts
from services.controller.store import ClickHouseStore
from services.settings import ClickHouseSettings
from services.sink import schema
from services.topics import CANDIDATES, EXCHANGES, FEEDBACK, encode
from tests.fixtures.tables import Tables
from tests.services.controller.world import NOON, a_task

pytestmark = pytest.mark.contract


@pytest.fixture
def database(clickhouse: str) -> Iterator[ClickHouse]:
    """The sink's tables, empty, in a database of the test's own."""
    name = f"controller_{uuid_utils.uuid7().hex}"
    settings = ClickHouseSettings(clickhouse_url=clickhouse, clickhouse_database=name)
    connection = ClickHouse(settings)
    schema.apply(connection)
    yield connection
    connection.command(f"DROP DATABASE {name}")
    connection.close()


@pytest.fixture
def store(database: ClickHouse) -> ClickHouseStore:
    return ClickHouseStore(lambda: ClickHouse(database._settings))


def asked(text: str, task: str = "labels") -> inference.Request:
    return inference.Request(
        task=task,
        messages=[inference.Message(role=inference.ROLE_USER, content=text)],
        metadata={"kind": "common"},
        group_key=f"group of {text}",
    )


def put(database: ClickHouse, topic: Any, message: Any) -> None:
    Tables(database).load(encode(topic, message))


def chosen(database: ClickHouse, text: str, seconds: int, **changes: Any) -> events.Candidate:
    fields: dict[str, Any] = {
        "id": str(uuid_utils.uuid7()),
        "task": "labels",
        "split": events.SPLIT_TRAIN,
        "request": asked(text),
        "answer": "yes",
        "probability": 0.5,
        "reason": "kept",
        "teacher_answer": "yes",
        "teacher_model": "big",
    }
    candidate = events.Candidate(**(fields | changes))
    candidate.decided_at.FromDatetime(NOON + timedelta(seconds=seconds))
    put(database, CANDIDATES, candidate)
    return candidate


def answered(
    database: ClickHouse,
    text: str,
    answer: str,
    seconds: int,
    *,
    student_us: int = 0,
    task: str = "labels",
    finish: inference.Finish = inference.FINISH_STOP,
    group_key: str = "",
    cached: bool = False,
) -> None:
    exchange = events.Exchange(id=str(uuid_utils.uuid7()), request=asked(text, task), outcome=events.OUTCOME_ANSWERED)
    exchange.request.group_key = group_key or exchange.request.group_key
    exchange.reply.message.content = answer
    exchange.reply.answered_by = inference.BACKEND_TEACHER
    exchange.reply.finish, exchange.reply.cached = finish, cached
    exchange.reply.cost_usd = "0.00214"
    exchange.reply.usage.prompt_tokens, exchange.reply.usage.completion_tokens = 700, 2
    exchange.reply.timings.total_us = 900_000 + student_us
    exchange.reply.timings.teacher_us, exchange.reply.timings.student_us = 900_000, student_us
    exchange.started_at.FromDatetime(NOON)
    exchange.finished_at.FromDatetime(NOON + timedelta(seconds=seconds))
    put(database, EXCHANGES, exchange)


def golden_row(number: int, truth: str = "no", task: str = "labels") -> list[Any]:
    return [task, f"{number:032x}", f"golden {number}?", truth, "", "rare", {"kind": "rare"}, NOON]


def test_an_empty_database_has_nothing(store: ClickHouseStore) -> None:
    assert store.counts("labels") == Counts(0, 0, 0, 0)
    assert store.new_candidates("labels", NOON) == 0
    assert store.requests_per_day("labels") == 0
    assert list(store.candidates("labels", "train", 10)) == []
    assert list(store.golden("labels", 10)) == []


def test_candidates_are_counted_once_and_as_last_decided(database: ClickHouse, store: ClickHouseStore) -> None:
    kept = chosen(database, "a", 1)
    chosen(database, "a", 1, id=kept.id)
    chosen(database, "b", 2, corrected=True)
    chosen(database, "c", 3, split=events.SPLIT_EVAL)
    taken_back = chosen(database, "d", 4)
    chosen(database, "d", 5, id=taken_back.id, excluded=True)
    chosen(database, "e", 6, task="another")
    assert store.counts("labels") == Counts(train=2, eval=1, golden=0, uncorrected=2)


def test_new_are_the_training_candidates_decided_since(database: ClickHouse, store: ClickHouseStore) -> None:
    for seconds in (1, 2, 3):
        chosen(database, f"question {seconds}", seconds)
    chosen(database, "for eval", 4, split=events.SPLIT_EVAL)
    assert store.new_candidates("labels", NOON) == 3
    assert store.new_candidates("labels", NOON + timedelta(seconds=2)) == 1


def test_the_traffic_is_that_of_the_last_four_weeks_and_of_a_day_at_least(
    database: ClickHouse, store: ClickHouseStore
) -> None:
    answered(database, "a", "yes", 0)
    answered(database, "b", "yes", 3600)
    answered(database, "c", "yes", 3600, task="another")
    assert store.requests_per_day("labels") == 2
    answered(database, "d", "yes", 4 * 86_400)
    assert store.requests_per_day("labels") == pytest.approx(3 / 4)
    answered(database, "e", "yes", 60 * 86_400)
    assert store.requests_per_day("labels") == 1


def test_pages_hold_every_candidate_once(database: ClickHouse, store: ClickHouseStore) -> None:
    made = {chosen(database, f"question {number}", number).id for number in range(7)}
    pages = list(store.candidates("labels", "train", 3))
    assert [len(page) for page in pages] == [3, 3, 1]
    assert {str(row["id"]) for page in pages for row in page} == made


def test_a_golden_example_given_again_replaces_its_truth(store: ClickHouseStore) -> None:
    for truth, later in (("no", 0), ("yes", 1), ("no", 2)):
        store.add_golden([[*golden_row(1, truth)[:-1], NOON + timedelta(seconds=later)]])
    [[example]] = store.golden("labels", 10)
    assert example["truth"] == "no"
    assert store.counts("labels").golden == 1


def test_a_golden_example_comes_with_the_teachers_latest_answer(database: ClickHouse, store: ClickHouseStore) -> None:
    store.add_golden([golden_row(number) for number in (1, 2, 3)])
    answered(database, " golden\t1? \n", "yes", seconds=1)
    answered(database, "GOLDEN 2?", "yes", seconds=1)
    answered(database, "golden 1?", "no", seconds=2)
    answered(database, "golden 1?", "from the cache", seconds=3, cached=True)
    answered(database, "golden 3?", "alone", seconds=1)
    answered(database, "golden 3?", "after a student", seconds=2, student_us=50_000)
    first, second, third = (example for page in store.golden("labels", 2) for example in page)
    assert first["teacher"][:5] == ("no", 900_000, "0.00214", 700, 2)
    assert json.loads(first["teacher"][5])["metadata"] == {"kind": "common"}
    assert not second["answered"]
    assert third["teacher"][0] == "alone"


def test_a_golden_example_without_a_customer_is_of_the_one_who_asked(
    database: ClickHouse, store: ClickHouseStore
) -> None:
    named = golden_row(2)
    named[4] = "its own"
    store.add_golden([golden_row(1), named, golden_row(3)])
    for number in (1, 2):
        answered(database, f"golden {number}?", "yes", seconds=1, group_key="customer 7")
    [page] = store.golden("labels", 10)
    assert [one["group_key"] for one in page] == ["customer 7", "its own", ""]


def test_the_teachers_answers_come_whole_newest_first_and_as_their_own_truth(
    database: ClickHouse, store: ClickHouseStore
) -> None:
    for number in range(3):
        answered(database, f"question {number}", f"answer {number}", seconds=number)
    answered(database, "question 9", "cut", seconds=9, finish=inference.FINISH_LENGTH)
    answered(database, "question 1", "answer 1", seconds=9, cached=True)
    pages = list(store.teachers("labels", 2))
    assert [len(page) for page in pages] == [2, 1]
    found = [(row["input"], row["truth"], row["teacher"][0]) for page in pages for row in page]
    assert found == [(f"question {number}", f"answer {number}", f"answer {number}") for number in (2, 1, 0)]


def test_a_snapshot_of_the_tables_is_what_training_reads(
    database: ClickHouse, store: ClickHouseStore, tmp_path: Path
) -> None:
    store.add_golden([golden_row(1)])
    answered(database, "golden 1?", "yes", seconds=1)
    chosen(database, "a", 1)
    chosen(database, "b", 2, split=events.SPLIT_EVAL, corrected=True)
    chosen(database, "Golden 1?", 3)
    directory = tmp_path / "1"
    snapshot.take(store, snapshot.Order(a_task(), 1, directory, NOON, page_rows=2))
    [train] = pq.read_table(directory / "train.parquet").to_pylist()
    [tuned] = pq.read_table(directory / "eval.parquet").to_pylist()
    [golden] = pq.read_table(directory / "golden.parquet").to_pylist()
    assert (train["prompt"], train["kind"], train["weight"], tuned["corrected"]) == ("a\n", "common", 2.0, True)
    assert (golden["truth"], golden["teacher_answer"], golden["teacher_cost_usd"]) == ("no", "yes", "0.00214")
    lineage = json.loads((directory / "manifest.json").read_text())["lineage"]
    assert lineage["train"]["first_decided_at"] == (NOON + timedelta(seconds=1)).isoformat()


def rated(database: ClickHouse, candidate: events.Candidate, rating: float, seconds: int) -> None:
    record = events.FeedbackRecord(
        id=str(uuid_utils.uuid7()), exchange_id=candidate.id, task=candidate.task, rating=rating
    )
    record.created_at.FromDatetime(NOON + timedelta(seconds=seconds))
    put(database, FEEDBACK, record)


def test_what_people_corrected_or_disliked_comes_with_the_better_answer(
    database: ClickHouse, store: ClickHouseStore
) -> None:
    corrected = chosen(database, "a", 1, answer="no", corrected=True)
    chosen(database, "b", 2, answer="maybe", corrected=True, teacher_answer="maybe")
    disliked = chosen(database, " b ", 3, excluded=True)
    rated(database, disliked, 1, seconds=1)
    rated(database, disliked, -1, seconds=2)
    alone = chosen(database, "c", 4, excluded=True)
    rated(database, alone, -0.5, seconds=1)
    forgiven = chosen(database, "d", 5)
    rated(database, forgiven, -1, seconds=1)
    rated(database, forgiven, 1, seconds=2)
    chosen(database, "b", 6, split=events.SPLIT_EVAL, answer="other", corrected=True, teacher_answer="other")
    pages = list(store.preferences("labels", 2))
    assert [len(page) for page in pages] == [2, 1]
    found = {str(row["id"]): (row["rejected"], row["correction"], row["liked"]) for page in pages for row in page}
    assert found == {
        corrected.id: ("yes", "no", "no"),
        disliked.id: ("yes", "", "maybe"),
        alone.id: ("yes", "", ""),
    }
