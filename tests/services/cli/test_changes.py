"""`tutelage changes` on the engine, over rows that the sink's code made."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import uuid_utils
from click.testing import Result
from typer.testing import CliRunner

from protos import events_pb2 as events
from services.cli import app
from services.clickhouse import ClickHouse
from services.screen import console
from services.settings import ClickHouseSettings
from services.sink import schema
from services.topics import KEYS, PROMOTIONS, encode
from tests.fixtures.tables import Tables
from tests.services.cli.test_snapshots import world
from tests.services.controller.world import World

__all__ = ["world"]
pytestmark = pytest.mark.contract
NOON_S = int(datetime(2026, 11, 29, 12, tzinfo=UTC).timestamp())


@pytest.fixture
def ledger(clickhouse: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Tables]:
    database = f"t{uuid_utils.uuid7().hex}"
    monkeypatch.setenv("CLICKHOUSE_URL", clickhouse)
    monkeypatch.setenv("CLICKHOUSE_DATABASE", database)
    monkeypatch.setattr(console, "_width", 240)
    monkeypatch.setattr(console, "_height", 100)  # Only with both it asks nobody how wide the screen is.
    connection = ClickHouse(ClickHouseSettings())
    schema.apply(connection)
    yield Tables(connection)
    connection.close()


def promotion(
    minute: int, kind: events.PolicyKind, version: int = 0, task: str = "say", **policy: float
) -> events.Promotion:
    made = events.Promotion(
        id=f"p{minute}", task=task, student_version=version, decided_by="ann", reason=f"why {minute}"
    )
    made.policy.CopyFrom(events.Policy(kind=kind, **policy))
    made.decided_at.seconds = NOON_S + 60 * minute
    return made


def a_key(minute: int, revoked: bool = False) -> events.ApiKey:
    quota = events.Quota(requests_per_minute=600, usd_per_day="12.50")
    key = events.ApiKey(
        id="0a1b", name="shop", digest=b"d" * 32, tasks=["say"], quota=quota, created_by="bob", may_audit=True
    )
    key.created_at.seconds = key.updated_at.seconds = NOON_S
    key.reason = "a trial"
    if revoked:
        key.revoked_at.seconds = key.updated_at.seconds = NOON_S + 60 * minute
        key.revoked_by, key.reason = "eve", "it leaked"
    return key


def run(*arguments: str, state: Path) -> Result:
    result = CliRunner().invoke(app, ["changes", *arguments, "--state", str(state)])
    assert result.exit_code == 0, result.output
    return result


def shown(*arguments: str, state: Path) -> list[list[str]]:
    """What each line tells, and the reason under it, if there is one."""
    told = re.split(r"^(?=20)", run(*arguments, state=state).output, flags=re.MULTILINE)[1:]
    return [[cell.strip() for cell in re.split(r"  +| -> |\n +", one.rstrip())] for one in told]


def test_promotions_say_from_what_to_what_also_where_a_rollback_goes_back(ledger: Tables, tmp_path: Path) -> None:
    ledger.load(
        *(
            encode(PROMOTIONS, one)
            for one in (
                promotion(0, events.POLICY_KIND_SHARE, 3, share=0.25),
                promotion(1, events.POLICY_KIND_CASCADE, 4, min_confidence=-0.5),
                promotion(2, events.POLICY_KIND_TEACHER_ONLY),
                promotion(3, events.POLICY_KIND_STUDENT_ONLY, 1, task="sing"),
            )
        )
    )
    assert [line[4:] for line in shown(state=tmp_path)] == [
        ["teacher_only", "share 0.25, student 3", "why 0"],
        ["share 0.25, student 3", "cascade at -0.5, student 4", "why 1"],
        ["cascade at -0.5, student 4", "teacher_only", "why 2"],
        ["teacher_only", "student_only, student 1", "why 3"],
    ]
    assert [line[0] for line in shown("--task", "sing", state=tmp_path)] == ["2026-11-29 12:03:00"]
    assert [line[3] for line in shown("--last", "2", state=tmp_path)] == ["say", "sing"]


def test_a_long_reason_has_the_whole_width_under_its_line(
    ledger: Tables, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(console, "_width", 80)
    made = promotion(0, events.POLICY_KIND_STUDENT_ONLY, 3)
    made.reason = " ".join(f"cause {number} of [many]" for number in range(12))
    ledger.load(encode(PROMOTIONS, made))
    line, *reason = run(state=tmp_path).output.splitlines()
    assert line == "2026-11-29 12:00:00  ann  promotion  say  teacher_only -> student_only, student 3"
    assert " ".join(part.strip() for part in reason) == made.reason
    assert len(reason) == 1 + len(made.reason) // 76
    assert all(part.startswith("    ") and len(part) <= 80 for part in reason)


def test_a_key_is_made_by_one_and_taken_back_by_another(ledger: Tables, tmp_path: Path) -> None:
    ledger.load(encode(KEYS, a_key(0)), encode(KEYS, a_key(5, revoked=True)), encode(KEYS, a_key(0)))
    assert shown("--task", "say", state=tmp_path) == [
        ["2026-11-29 12:00:00", "bob", "key", "shop 0a1b", "good, may audit, 600 requests/min, $12.5/day", "a trial"],
        ["2026-11-29 12:05:00", "eve", "key", "shop 0a1b", "good", "taken back", "it leaked"],
    ]


def test_a_credit_says_who_gave_what_and_why(ledger: Tables, tmp_path: Path) -> None:
    credited = a_key(0)
    credited.updated_at.seconds += 60
    credited.credits_usd["2026-11-29"], credited.credit_usd = "13.50", "12.50"
    credited.credited_by, credited.reason = "eve", "a fault of ours"
    gone = a_key(5, revoked=True)
    gone.credits_usd["2026-11-29"] = "13.50"
    ledger.load(*(encode(KEYS, one) for one in (a_key(0), credited, gone)))
    assert [line[:1] + line[1:2] + line[4:] for line in shown(state=tmp_path)] == [
        ["2026-11-29 12:00:00", "bob", "good, may audit, 600 requests/min, $12.5/day", "a trial"],
        ["2026-11-29 12:01:00", "eve", "good", "credited $12.5", "a fault of ours"],
        ["2026-11-29 12:05:00", "eve", "good", "taken back", "it leaked"],
    ]


def test_write_offs_and_erasures_are_told_and_no_customer_is_named(ledger: Tables, tmp_path: Path) -> None:
    at = datetime.fromtimestamp(NOON_S, UTC)
    lost = ("source", "first", "last", "reason", "decided_by", "at")
    ledger.connection.insert("written_off", lost, [("s1", 5, 9, "the disk died", "ann", at)], "w")
    erased = ("id", "digest", "task", "at", "decided_by", "receipt", "written_at")
    row = (str(uuid_utils.uuid7()), "0123456789abcdef" * 4, "", at, "bob", "{}", at)
    ledger.connection.insert("erasures", erased, [row], "e")
    assert sorted(line[1:] for line in shown(state=tmp_path)) == [
        ["ann", "write-off", "s1", "missing", "written off: 5-9", "the disk died"],
        ["bob", "erasure", "customer 0123456789ab", "kept", "erased"],
    ]


def test_where_nothing_was_decided_it_says_so(ledger: Tables, tmp_path: Path) -> None:
    assert run(state=tmp_path).output == "nothing has been decided yet\n"


def test_of_a_task_that_there_is_not_it_says_which_there_are(ledger: Tables, world: World, tmp_path: Path) -> None:
    told = CliRunner().invoke(app, ["changes", "--task", "nosuch", "--state", str(tmp_path)])
    assert told.exit_code == 1
    assert "task: 'nosuch' is not defined; defined are labels" in told.output
    assert run("--task", "labels", state=tmp_path).output == "nothing has been decided about labels yet\n"
