"""The closed loop on real addresses, as `tutelage demo --quick` runs it."""

import json
import re

import pyarrow.parquet as pq
import pytest

from deploy.demo import traffic
from deploy.demo.addresses import addresses
from deploy.demo.scale import QUICK, SEED
from deploy.demo.show import CACHE
from protos import events_pb2 as events
from services import tasks
from tests.end_to_end.conftest import Demo, wait_for

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(1200)]
SCORES = {"error", "error_low", "error_high", "p50_ms", "p99_ms", "usd_per_million", "teacher_share"}


def test_every_answer_is_on_kafka_and_in_clickhouse_exactly_once(demo: Demo) -> None:
    ledger = demo.result["ledger"]
    assert ledger["answered"] == ledger["on_kafka"] == ledger["distinct_in_clickhouse"]
    assert ledger["answered"] >= QUICK.requests + QUICK.after
    assert (ledger["missing"], ledger["duplicates"]) == (0, 0)


def test_the_result_holds_what_it_promises(demo: Demo) -> None:
    assert demo.result["seconds"]["total"] > 0
    assert demo.result["golden"] > 50
    for who in ("teacher", "student", "cascade"):
        scores = demo.result[who]
        assert set(scores) == SCORES
        assert 0 <= scores["error_low"] <= scores["error"] <= scores["error_high"] <= 1
    assert demo.result["teacher"]["teacher_share"] == 1
    assert demo.result["student"]["usd_per_million"] < demo.result["teacher"]["usd_per_million"] / 100
    assert demo.result["reason"] in " ".join(demo.printed.split())


def test_both_kinds_of_student_were_fitted_and_the_eval_split_chose(demo: Demo) -> None:
    fitted = demo.result["candidates"]
    assert set(fitted) == {"minilm-tagger-cpu", "smollm2-135m-quick"}
    assert demo.result["chosen"] in fitted
    assert demo.result["student"] == fitted[demo.result["chosen"]]["student"]
    report = json.loads((demo.folder / "report.json").read_text())
    assert "classifier" not in report["why"]
    assert " ".join(report["why"].split()) in " ".join(demo.printed.split())


def test_the_demo_says_that_its_teacher_is_a_stand_in(demo: Demo) -> None:
    assert "stand-in" in demo.printed


def test_a_student_is_promoted_exactly_when_the_stated_rule_allows(demo: Demo) -> None:
    report = json.loads((demo.folder / "report.json").read_text())
    ceiling, proof = report["error_ceiling"], report["proof"]
    allowed = any(
        proof[who]["high"] <= ceiling and proof["paired"][f"{who}_minus_teacher"]["high"] <= 0
        for who in ("student", "cascade")
    )
    assert demo.result["promoted"] == allowed
    assert (demo.result["answered_by_student_after"] > 0) == allowed


def test_the_report_needs_nothing_from_elsewhere(demo: Demo) -> None:
    html = (demo.folder / "report.html").read_text()
    assert "<svg" in html
    assert 'src="http' not in html


def test_no_group_stands_on_both_sides_of_the_wall(demo: Demo) -> None:
    rows = demo.query("SELECT group_key, uniqExact(split) AS sides FROM candidates GROUP BY group_key HAVING sides > 1")
    assert rows == []
    shares = tasks.load(demo.state.parent / "tasks")["address-extraction"].sampling.split
    for row in demo.query("SELECT DISTINCT group_key FROM candidates"):
        assert tasks.split(shares, row["group_key"]) != events.SPLIT_GOLDEN


def test_nothing_golden_was_trained_on(demo: Demo) -> None:
    [snapshot] = (demo.state / "snapshots" / "address-extraction").glob("[0-9]*")
    asked = {
        name: set(pq.read_table(snapshot / f"{name}.parquet")["question"].to_pylist())
        for name in ("train", "eval", "golden")
    }
    assert min(map(len, asked.values())) > 50
    assert not asked["golden"] & (asked["train"] | asked["eval"])
    assert not asked["train"] & asked["eval"]


def test_corrections_took_the_answers_place(demo: Demo) -> None:
    [row] = demo.query(
        "SELECT count() AS n, countIf(c.answer = f.correction) AS taken FROM candidates AS c FINAL "
        "INNER JOIN feedback AS f ON f.exchange_id = c.id WHERE f.correction != ''"
    )
    assert row["n"] == row["taken"] > 0


def test_a_rollback_gives_the_traffic_back_and_a_promotion_takes_it_over_again(demo: Demo) -> None:
    fresh = addresses(QUICK.requests + QUICK.after + 40, SEED, CACHE)[-20:]
    gateway = demo.environment["GATEWAY_ADDRESS"]

    def asked_the_student() -> int:
        replies = traffic.call(gateway, fresh, 8, lambda: None).replies.values()
        return sum(reply.timings.student_us > 0 for reply in replies)

    demo.tutelage("promote", "address-extraction", "--policy", "student", "--override", "to see the student answer")
    wait_for(lambda: asked_the_student() == len(fresh), 30, "the promotion")
    for _ in range(1 + demo.result["promoted"]):  # each goes back to what served before; before all was the teacher
        said = demo.tutelage("rollback", "address-extraction", "--reason", "the test has seen enough")
    assert "teacher" in said
    wait_for(lambda: asked_the_student() == 0, 30, "the rollback")
    wait_for(lambda: len(demo.query("SELECT id FROM promotions")) >= 2, 30, "the record of both decisions")


def test_a_promotion_without_a_report_that_supports_it_is_refused(demo: Demo) -> None:
    refused = demo.tutelage("promote", "address-extraction", "--version", "99", code=1)
    assert "version 99" in refused or "99" in refused.split("error")[1]


def test_status_shows_every_task_and_that_nothing_is_missing(demo: Demo) -> None:
    shown = demo.tutelage("status")
    assert "address-extraction" in shown
    assert re.search(r"\b0 missing", shown)
