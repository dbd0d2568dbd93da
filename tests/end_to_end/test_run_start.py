"""What a training config can ask for, all of it in one run of a task whose teacher errs, as `run start` does it."""

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.demo.addresses import Address
from protos import events_pb2 as events
from services import client
from services.settings import GatewayAccess
from tests.end_to_end import parcels
from tests.end_to_end.conftest import Demo, wait_for
from tests.training.tiny import write_base

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(1800)]
TASK = f"task = '{parcels.NAME}'"


def test_pruning_search_preferences_and_doubts_work_from_run_start(demo: Demo, tmp_path: Path) -> None:
    records = parcels.records()
    bring(demo, records, tmp_path)

    demo.tutelage("run", "start", parcels.NAME, "--config", str(write_config(tmp_path)))
    wait_for(lambda: " of " in shown(demo), 300, "the training's progress", every_s=2)
    ended = f"SELECT id FROM runs FINAL WHERE {TASK} AND state IN ('done', 'failed')"
    wait_for(lambda: bool(demo.query(ended)), 1200, "the run")
    assert ": done" in shown(demo)
    report = json.loads(demo.tutelage("report", parcels.NAME, "--json"))
    assert [one["name"] for one in report["candidates"]] == ["takes-pruned", "takes", "writes"]

    assert report["chosen"].startswith("takes"), report["why"]
    assert report["student"]["error"] < parcels.CEILING
    assert report["pruning"]["tokens_after"] < report["pruning"]["tokens_before"] / 2
    assert report["doubted"]["relabelled"] > 0
    [path] = demo.state.glob("runs/**/candidates/writes/report.json")
    writes = json.loads(path.read_text())
    assert len(writes["search"]["trials"]) == 2
    assert writes["preferences"]["pairs"] >= 8
    assert writes["preferences"]["margin_gain"]["difference"] > 0


def bring(demo: Demo, records: Sequence[Address], folder: Path) -> None:
    """The log, what customers corrected and what people decided."""
    log, decided = folder / "log.jsonl", folder / "golden.jsonl"
    parcels.write_log(log, records)
    demo.tutelage("import", parcels.NAME, str(log))
    stored = f"SELECT count() AS n FROM exchanges FINAL WHERE {TASK}"
    wait_for(lambda: demo.query(stored)[0]["n"] == len(records), 60, "the log in ClickHouse")
    corrections = parcels.corrected(records)
    gateway = GatewayAccess(gateway_address=demo.environment["GATEWAY_ADDRESS"])
    asyncio.run(client.record_all(gateway, feedback(demo, corrections), concurrency=8))
    golden = parcels.golden(demo.state.parent / "tasks", records)
    decided.write_text("".join(json.dumps(one) + "\n" for one in golden))
    demo.tutelage("golden", parcels.NAME, str(decided))
    taken = f"SELECT count() AS n FROM candidates FINAL WHERE {TASK} AND corrected"
    wait_for(lambda: demo.query(taken)[0]["n"] >= len(corrections) // 2, 60, "the corrections")


def feedback(demo: Demo, corrections: dict[str, str]) -> list[events.FeedbackRecord]:
    asked = demo.query(f"SELECT toString(id) AS id, group_key, question FROM exchanges FINAL WHERE {TASK}")
    return [
        events.FeedbackRecord(
            exchange_id=row["id"],
            task=parcels.NAME,
            group_key=row["group_key"],
            correction=corrections[row["question"]],
        )
        for row in asked
        if row["question"] in corrections
    ]


def write_config(folder: Path) -> Path:
    """A student that takes and chooses, with and without what all prompts have in common; a tiny one that writes."""
    (folder / "base").mkdir()
    brief = {"max_minutes": 0.3, "worker_failures": 0, "evaluations": 2, "timed_answers": 6, "general_texts": 4}
    takes = {"from": "minilm-tagger-cpu", "name": "takes", "prune": True}
    writes: dict[str, Any] = {
        "base_model": str(write_base(folder / "base")),
        "search": {"space": {"learning_rate": [1e-3, 1e-2]}, "trials": 2, "data_shares": []},
        "dpo": {"least_pairs": 8, "epochs": 3, "learning_rate": 3e-3},
    }
    (folder / "writes.yaml").write_text(yaml.safe_dump(writes))
    config = folder / "ways.yaml"
    candidates = [takes, {"from": str(folder / "writes.yaml"), "name": "writes"}]
    config.write_text(yaml.safe_dump({"doubtful": "relabel", "candidates": candidates, **brief}))
    return config


def shown(demo: Demo) -> str:
    return demo.tutelage("run", "show", parcels.NAME)
