"""A task added by a YAML file and a log alone goes round the same loop."""

import json
import re
from pathlib import Path

import pytest

from tests.end_to_end import second_task
from tests.end_to_end.conftest import Demo, wait_for

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(900)]


def test_a_yaml_file_and_a_log_of_answers_are_enough_to_train_prove_and_decide(demo: Demo, tmp_path: Path) -> None:
    records = second_task.examples()
    log, golden = tmp_path / "log.jsonl", tmp_path / "golden.jsonl"
    second_task.write_log(log, records)
    second_task.write_golden(golden, records[::5])

    printed = demo.tutelage("import", second_task.NAME, str(log))
    assert f"{len(records)} exchanges imported" in printed
    assert "2 bad lines" in printed
    assert "log.jsonl:2" in printed
    demo.tutelage("golden", second_task.NAME, str(golden))

    stored = f"SELECT count() AS n FROM exchanges FINAL WHERE task = '{second_task.NAME}'"
    wait_for(lambda: demo.query(stored)[0]["n"] == len(records), 60, "the log in ClickHouse")
    chosen = f"SELECT count() AS n FROM candidates FINAL WHERE task = '{second_task.NAME}'"
    wait_for(lambda: demo.query(chosen)[0]["n"] > len(records) // 2, 60, "the candidates")

    demo.tutelage("run", "start", second_task.NAME)
    wait_for(lambda: "done" in demo.tutelage("run", "show", second_task.NAME), 600, "the run")
    report = json.loads(demo.tutelage("report", second_task.NAME, "--json"))
    assert report["teacher"]["error"] == 0
    assert report["student"]["error"] < 0.4
    shown = demo.tutelage("run", "show", second_task.NAME)
    assert re.search(r": done (not )?promoted$", shown, re.MULTILINE)
