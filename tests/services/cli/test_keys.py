"""`tutelage key` against the controller's own service over gRPC."""

import re
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from protos import events_pb2 as events
from services.cli import app
from services.cli.keys import quota_text
from services.topics import KEY_USAGE, KEYS, decode, encode
from tests.services.cli.test_snapshots import world
from tests.services.controller.world import World

__all__ = ["world"]
pytestmark = pytest.mark.contract


def run(*arguments: str, state: Path) -> Result:
    return CliRunner().invoke(app, ["key", *arguments, "--state", str(state)])


def test_a_key_is_made_listed_and_taken_back(world: World, tmp_path: Path) -> None:
    made = run("create", "shop", "--task", "labels", "--requests-per-minute", "600", state=tmp_path)
    assert made.exit_code == 0, made.output
    secret = made.stdout.strip()
    key_id = secret.split("_")[1]
    assert f"key {key_id} of shop: labels, 600 requests/min." in made.stderr
    listed = run("list", state=tmp_path).output
    assert key_id in listed
    assert "600 requests/min" in listed
    assert secret not in listed
    gone = run("revoke", key_id, "--reason", "it leaked", state=tmp_path)
    assert f"key {key_id} of shop is taken back\n" in gone.output
    assert run("list", state=tmp_path).output == "there are no keys\n"
    assert key_id in run("list", "--revoked", state=tmp_path).output
    assert decode(world.broker.records(KEYS.name)[-1]).reason == "it leaked"


def test_what_a_key_has_spent_is_shown_and_corrected(world: World, tmp_path: Path) -> None:
    made = run("create", "shop", "--usd-per-day", "10", state=tmp_path)
    key_id = made.stdout.split("_")[1]
    usage = events.KeyUsage(
        key_id=key_id, source="a", day="2026-01-02", requests=1_200, tokens=34_000, cost_usd="9.50001"
    )
    world.broker.append(encode(KEY_USAGE, usage))
    credited = run("credit", key_id, "--usd", "9", "--reason", "a fault of ours", state=tmp_path)
    assert f"key {key_id} of shop is credited $9.00 of today (UTC)\n" in credited.output
    shown = next(line for line in run("usage", key_id, state=tmp_path).output.splitlines() if key_id in line)
    assert re.split("  +", shown.strip()) == [
        *(key_id, "shop", "1,200", "34,000"),
        "$0.50001 of $10.00",
        "$0.50001",
        "$9.00",
    ]
    assert decode(world.broker.records(KEYS.name)[-1]).reason == "a fault of ours"
    assert run("usage", "x", state=tmp_path).exit_code == 1


def test_a_key_without_limits_is_not_taken_for_one_that_was_never_used(world: World, tmp_path: Path) -> None:
    key_id = run("create", "shop", state=tmp_path).stdout.split("_")[1]
    shown = next(line for line in run("usage", state=tmp_path).output.splitlines() if key_id in line)
    assert re.split("  +", shown.strip()) == [key_id, "shop", "not counted", *["\N{EN DASH}"] * 4]


def test_a_key_that_may_audit_is_told_from_others(world: World, tmp_path: Path) -> None:
    made = run("create", "judges", "--may-audit", state=tmp_path)
    assert "of judges: all tasks; may audit, no limit." in made.stderr
    assert "all tasks; may audit" in run("list", state=tmp_path).output


@pytest.mark.parametrize("name", ["[/nope] k", "[bold]k", ":smile: k", "k \\[x]"])
def test_a_key_is_listed_by_its_name_whatever_that_is(world: World, tmp_path: Path, name: str) -> None:
    assert name in run("create", name, state=tmp_path).stderr
    assert name in run("list", state=tmp_path).output


def test_what_is_wrong_is_told_in_a_line(world: World, tmp_path: Path) -> None:
    unknown = run("revoke", "x", "--reason", "why", state=tmp_path)
    assert (unknown.exit_code, "there is no key 'x'" in unknown.output) == (1, True)
    dear = run("create", "shop", "--usd-per-day", "much", state=tmp_path)
    assert (dear.exit_code, "quota.usd_per_day: 'much' is no number of dollars" in dear.output) == (1, True)


@pytest.mark.parametrize(
    ("quota", "said"),
    [
        (events.Quota(), "no limit"),
        (events.Quota(usd_per_day="0.00"), "no limit"),
        (events.Quota(requests_per_minute=1200, usd_per_month="0.50"), "1,200 requests/min, $0.50/month"),
        (events.Quota(tokens_per_minute=5, usd_per_day="10"), "5 tokens/min, $10/day"),
    ],
)
def test_a_quota_is_told_in_a_line(quota: events.Quota, said: str) -> None:
    assert quota_text(quota) == said
