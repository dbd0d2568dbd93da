"""deploy/prometheus: each rule asks for metrics, labels and states that the services show, and fires when it should."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import REGISTRY, Counter, Gauge, Histogram

from services import telemetry
from services.audit import audit
from services.controller import auditing
from services.gateway import breaker, ejection

FOLDER = Path(__file__).parents[2] / "deploy" / "prometheus"
FIRING = Path(__file__).parent / "alerts_firing.yml"
RULES: dict[str, dict[str, Any]] = {
    rule["alert"]: rule
    for group in yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"]
    for rule in group["rules"]
}
METRICS = {
    sample: metric
    for metric in vars(telemetry).values()
    if isinstance(metric, Counter | Gauge | Histogram)
    for sample in REGISTRY._collector_to_names[metric]
}
ADDED_BY_PROMETHEUS = {"instance", "job"}


def test_the_rules_are_those_that_prometheus_loads() -> None:
    assert yaml.safe_load((FOLDER / "prometheus.yml").read_text())["rule_files"] == ["alerts.yml"]


def test_there_is_a_rule_for_each_way_in_which_the_ledger_fails() -> None:
    asked = " ".join(rule["expr"] for rule in RULES.values())
    for needed in ('state="missing"', 'state="duplicates"', "oldest_unacknowledged", "spool_failed", "spool_stalled"):
        assert needed in asked


def test_a_backend_is_told_of_only_where_it_is_called_and_fails() -> None:
    """Shorter than it takes to forget, a rule would fire for a student that was rolled back, or a quiet gateway."""
    for name in ("TutelageBackendLeftAlone", "TutelageTritonEjected"):
        minutes = int(RULES[name]["for"].removesuffix("m"))
        assert 60 * minutes > max(breaker.FORGOTTEN_S + breaker.LONGEST_ASKED_S, ejection.FORGOTTEN_S + ejection.MOST_S)


@pytest.mark.parametrize("name", RULES)
def test_a_rule_asks_for_metrics_that_there_are(name: str) -> None:
    metrics = re.findall(r"tutelage_\w+", RULES[name]["expr"])
    assert metrics
    assert set(metrics) <= set(METRICS)


@pytest.mark.parametrize("name", RULES)
def test_a_rule_asks_for_states_that_the_audit_shows(name: str) -> None:
    auditing.show(audit([], {}, {}), duplicates=0, vanished=0)
    for metric, label, value in re.findall(r'(\w+)\{(\w+)="(\w+)"\}', RULES[name]["expr"]):
        assert REGISTRY.get_sample_value(metric, {label: value}) is not None


@pytest.mark.parametrize("name", RULES)
def test_a_rule_says_what_to_do_and_speaks_of_labels_that_there_are(name: str) -> None:
    rule = RULES[name]
    assert set(rule["annotations"]) == {"summary", "do"}
    labels = {label for metric in METRICS if metric in rule["expr"] for label in METRICS[metric]._labelnames}
    kept = set() if "max(" in rule["expr"] else labels | ADDED_BY_PROMETHEUS
    assert set(re.findall(r"\$labels\.(\w+)", str(rule["annotations"]))) <= kept


def test_each_rule_has_a_case_that_fires() -> None:
    cases = yaml.safe_load(FIRING.read_text())["tests"]
    fire = {case["alertname"] for test in cases for case in test["alert_rule_test"] if case.get("exp_alerts")}
    assert fire == set(RULES)


@pytest.mark.parametrize(
    "argv", [["check", "config", str(FOLDER / "prometheus.yml")], ["test", "rules", str(FIRING)]], ids=["check", "test"]
)
def test_prometheus_itself_takes_them(argv: list[str]) -> None:
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not on this machine")
    done = subprocess.run(["promtool", *argv], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
