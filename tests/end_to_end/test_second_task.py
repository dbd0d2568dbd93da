"""A task added by a YAML file and a log alone goes round the same loop."""

import json
from pathlib import Path

import pytest

from protos import inference_pb2 as inference
from tests.end_to_end import second_task
from tests.end_to_end.conftest import Demo, wait_for

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(1800)]


def test_a_yaml_file_and_a_log_of_answers_are_enough_to_train_prove_and_serve(demo: Demo, tmp_path: Path) -> None:
    records, log = second_task.examples(), tmp_path / "log.jsonl"
    second_task.write_log(log, records)

    printed = demo.tutelage("import", second_task.NAME, str(log))
    assert f"{len(records)} exchanges imported" in printed
    assert "2 bad lines" in printed
    assert "log.jsonl:2" in printed

    stored = f"SELECT count() AS n FROM exchanges FINAL WHERE task = '{second_task.NAME}'"
    wait_for(lambda: demo.query(stored)[0]["n"] == len(records), 60, "the log in ClickHouse")
    chosen = f"SELECT count() AS n FROM candidates FINAL WHERE task = '{second_task.NAME}'"
    wait_for(lambda: demo.query(chosen)[0]["n"] > len(records) // 2, 60, "the candidates")

    demo.tutelage("run", "start", second_task.NAME)
    ended = f"SELECT state, reason FROM runs FINAL WHERE task = '{second_task.NAME}' AND state IN ('done', 'failed')"
    wait_for(lambda: bool(demo.query(ended)), 1500, "the run")
    shown = demo.tutelage("run", "show", second_task.NAME)
    assert ": done promoted" in shown, shown
    report = json.loads(demo.tutelage("report", second_task.NAME, "--json"))
    assert (report["truth"], report["teacher"]["error"]) == ("teacher", 0)
    assert report["student"]["error"] < 0.2
    assert [one["name"] for one in report["candidates"]] == ["minilm-classifier-cpu", "smollm2-135m-cpu"]
    assert list(report["passed_over"]) == ["minilm-tagger-cpu"]  # a label stands in no text
    wait_for(lambda: demo.who_answers(second_task.NAME, "12 Main St Apt 4") == inference.BACKEND_STUDENT, 60, "it")
