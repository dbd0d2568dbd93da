"""A loss that really happened, written off on the real engines; and an audit that cannot ask."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from deploy.local.addresses import HOST, free_ports
from services.audit import Account, Audit
from services.audit.arithmetic import Course
from services.cli import app
from services.cli.audit_text import verdict
from services.cli.writing_off import range_of
from services.screen import NOT_ASKED
from services.topics import EXCHANGES, encode
from tests.services.cli.test_dead_letters import Run, audited, ended, mend, run, until_audit
from tests.services.sink.messages import exchange
from tests.services.sink.test_sink import Stack, exchanges, stack

__all__ = ["run", "stack"]
SOUND = Account("total", answered=5_200, acknowledged=5_200, stored=5_200)


@pytest.mark.contract
def test_a_loss_is_written_off_once_and_what_turns_up_after_all_is_stored(stack: Stack, run: Run) -> None:
    records = exchanges(10, "one")
    stack.put(*records[:4], *records[6:8], ended("one", 10))
    with stack.sink():
        stack.until("SELECT count() AS n FROM ledger", 6)
        stack.until("SELECT count() AS n FROM sources", 1)
        lost = run("audit", "--within", "0")
        assert lost.exit_code == 1
        assert lost.stdout.splitlines()[-1].startswith("LOST: 10 answered, 6 stored, missing 4, duplicates 0; what to")
        write_off = ("audit", "write-off", "one", "3-10", "--reason", "the disk of host-1 burnt", "--within", "0")

        nobody = run(*write_off)
        assert (nobody.exit_code, "--yes" in nobody.stderr) == (1, True)
        assert "one lacks 4 of 3-10: 5-6, 9-10; 0 are written off already, 4 are not missing" in nobody.stdout
        assert audited(run)["missing"] == 4

        done = run(*write_off, "--yes")
        assert (done.exit_code, "written off: 4; still missing of one: 0" in done.stdout) == (0, True), done.stderr
        until_audit(run, answered=10, stored=6, missing=0, written_off=4)
        again = run(*write_off, "--yes")
        assert again.exit_code == 0
        assert "nothing of 3-10 is to be written off: 4 are written off already, 4 are not missing" in again.stdout

        shown = run("audit", "--within", "0")
        assert shown.exit_code == 0
        assert "one ended, written off 4" in shown.stdout
        assert "by " in shown.stdout
        assert "the disk of host-1 burnt" in shown.stdout
        figures = "nothing missing: 10 answered, 6 stored, missing 0, duplicates 0, written off 4"
        assert shown.stdout.splitlines()[-1] == figures

        for back, stored, since in ((records[8:9], 7, "1 of them"), ([*records[4:6], records[9]], 10, "all")):
            stack.put(*back)
            until_audit(run, answered=10, stored=stored, missing=0, written_off=10 - stored)
            told = run("audit", "--within", "0").stdout
            assert f", {since} stored since: the disk of host-1 burnt" in told
        [said] = json.loads(run("audit", "--json", "--within", "0").stdout)["decisions"]
        assert (said["exchanges"], said["stored_since"], said["ranges"]) == (4, 4, [[5, 6], [9, 10]])


@pytest.mark.contract
def test_a_dead_letter_that_nobody_will_mend_is_written_off_when_asked_and_is_stored_when_replayed(
    stack: Stack, run: Run
) -> None:
    poison = exchange(2, "one")
    poison.reply.cost_usd = "99999999999999"
    stack.put(encode(EXCHANGES, exchange(1, "one")), encode(EXCHANGES, poison), ended("one", 3))
    with stack.sink():
        stack.until("SELECT count() AS n FROM ledger", 1)
        stack.until("SELECT count() AS n FROM sources", 1)
        until_audit(run, answered=3, stored=1, dead=1, missing=1)
        assert "one has in the dead letters 2" in run("audit", "--within", "0").stdout
        write_off = ("audit", "write-off", "one", "1-3", "--reason", "nobody can read it", "--within", "0", "--yes")
        done = run(*write_off)
        assert "one lacks 1 of 1-3: 3; 0 are written off already, 1 are not missing, 1 lie in the dead" in done.stdout
        assert "written off: 1; still missing of one: 0" in done.stdout
        done = run(*write_off, "--dead-letters")
        assert "one lacks 1 of 1-3: 2; 1 are written off already, 1 are not missing\n" in done.stdout
        until_audit(run, answered=3, stored=1, dead=0, missing=0, written_off=2)
        assert stack.rows("SELECT missing, written_off FROM audit") == [{"missing": 0, "written_off": 2}]

        mend(stack)
        assert run("dead-letters", "replay", "--yes").exit_code == 0
        until_audit(run, answered=3, stored=2, dead=0, missing=0, written_off=1, duplicates=0)
        assert stack.rows("SELECT missing, written_off FROM audit") == [{"missing": 0, "written_off": 1}]


@pytest.mark.contract
def test_what_cannot_be_written_off_says_so(stack: Stack, run: Run) -> None:
    stack.put(ended("one", 3))
    with stack.sink():
        stack.until("SELECT count() AS n FROM sources", 1)
    for words, said in (
        (("nobody", "1-3", "--reason", "why"), "no source nobody"),
        (("one", "3-1", "--reason", "why"), "FIRST-LAST"),
        (("one", "1-3", "--reason", " "), "--reason"),
    ):
        result = run("audit", "write-off", *words, "--within", "0", "--yes")
        assert result.exit_code == 1
        assert said in result.stderr


@pytest.mark.contract
def test_nothing_is_written_off_while_the_dead_letters_cannot_be_read(
    stack: Stack, run: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    stack.put(ended("one", 3))
    with stack.sink():
        stack.until("SELECT count() AS n FROM sources", 1)
    monkeypatch.setattr("services.audit.letters.ANSWER_S", 0.5)
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", away := f"{HOST}:{free_ports(1)[0]}")
    caplog.clear()
    result = run("audit", "write-off", "one", "1-3", "--reason", "why", "--within", "0", "--yes")
    assert result.exit_code == NOT_ASKED
    [line] = result.output.strip().splitlines()
    assert f"Kafka at {away} (KAFKA_BOOTSTRAP_SERVERS) does not answer" in line
    assert [one for one in caplog.records if one.name.startswith("services.kafka")] == []  # It would stand beside it.
    assert stack.rows("SELECT count() AS n FROM written_off") == [{"n": 0}]


@pytest.mark.contract
def test_an_audit_without_kafka_shows_what_is_stored_and_calls_nothing_whole(
    stack: Stack, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack.put(*exchanges(3, "one"), ended("one", 3))
    with stack.sink():
        stack.until("SELECT count() AS n FROM ledger", 3)
        stack.until("SELECT count() AS n FROM sources", 1)
    monkeypatch.setattr("services.audit.letters.ANSWER_S", 0.5)
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", f"{HOST}:{free_ports(1)[0]}")
    result = run("audit", "--within", "0")
    assert result.exit_code == NOT_ASKED
    assert result.stdout.splitlines()[-1].startswith("nothing known to be missing: 3 answered, 3 stored, ")
    told = run("audit", "--within", "0", "--json")
    assert (told.exit_code, json.loads(told.stdout)["kafka_away"]) == (NOT_ASKED, True)


@pytest.mark.contract
@pytest.mark.parametrize("command", ["audit", "dead-letters list", "status", "tail", "erase --group-key k"])
def test_without_a_stack_one_line_says_who_did_not_answer_and_what_to_change(
    command: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ports = dict(zip(("CLICKHOUSE_URL", "KAFKA_BOOTSTRAP_SERVERS", "CONTROL_ADDRESS"), free_ports(3), strict=True))
    for name, port in ports.items():
        monkeypatch.setenv(name, f"{'http://' if name == 'CLICKHOUSE_URL' else ''}{HOST}:{port}")
    for waits in ("cli.dead_letters.KAFKA_S", "cli.audit.KAFKA_S", "audit.letters.ANSWER_S"):
        monkeypatch.setattr(f"services.{waits}", 0.5)
    result = CliRunner().invoke(app, [*command.split(), "--state", str(tmp_path)])
    assert result.exit_code == NOT_ASKED
    [line] = result.output.strip().splitlines()
    assert any(str(port) in line for port in ports.values())
    assert "`tutelage up`" in line
    assert "--state" in line
    assert any(f"({name}) does not answer: " in line for name in ports)
    assert "ipv4:" not in line


@pytest.mark.parametrize(("text", "expected"), [("5", (5, 5)), ("5-6", (5, 6)), ("1-1000000", (1, 1_000_000))])
def test_a_range_is_read(text: str, expected: tuple[int, int]) -> None:
    assert range_of(text) == expected


@pytest.mark.parametrize("text", ["", "-", "5-", "-5", "6-5", "0-3", "a-b", "1-2-3", "1,2"])
def test_what_is_no_range_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="FIRST-LAST"):
        range_of(text)


def test_the_verdict_is_one_line_with_every_figure() -> None:
    def audited(total: Account, *sources: Account) -> Audit:
        return Audit(sources, total)

    sound = audited(SOUND)
    assert verdict(sound, 0) == "whole: 5,200 answered, 5,200 stored, missing 0, duplicates 0"
    waiting = Account("total", answered=9, stored=3, in_flight=3, dead=2, written_off=1)
    told = verdict(audited(waiting), 0)
    expected = "nothing missing: 9 answered, 3 stored, missing 0, duplicates 0, in flight 3, in the dead letters 2, "
    assert told.startswith(expected + "written off 1; what to do: `tutelage dead-letters list`")
    assert verdict(sound, 2).startswith("[red]TWICE[/]: 5,200 answered, 5,200 stored, missing 0, duplicates 2; what to")
    lost = verdict(audited(Account("total", answered=9, stored=8, missing=1)), 2)
    assert lost.startswith("[red]LOST[/]: 9 answered, 8 stored, missing 1, duplicates 2; what to do: ")
    assert "\n" not in lost
    assert verdict(sound, 0, vanished=3).startswith(
        "[red]LOST[/]: 5,200 answered, 5,200 stored, missing 0, duplicates 0, "
    )
    silent = verdict(audited(SOUND, Account("a", answered=5_200, stored=5_200, course=Course.SILENT)), 0)
    assert silent.startswith("nothing known to be missing: ")
    assert "sources silent 1" in silent
    live = Account("a", answered=5_200, stored=5_200, heard_s=7.4)
    assert verdict(audited(SOUND, live), 0).endswith("; as far as is told: 1 source goes on, heard of within 7 s")
    assert verdict(sound, 0, kafka_away=True).startswith("nothing known to be missing: 5,200 answered")
