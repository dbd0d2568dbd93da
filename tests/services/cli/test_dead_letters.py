"""A poison row, its dead letter, the fix, the replay, and an audit that closes, on the real engines."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import Result
from tenacity import retry, retry_if_result, stop_after_delay, wait_fixed
from typer.testing import CliRunner

from protos import events_pb2 as events
from services.cli import app
from services.topics import EXCHANGES, SOURCES, Record, dead_letter, encode, hollow
from tests.services.largest import put_largest
from tests.services.sink.messages import exchange
from tests.services.sink.test_sink import Stack, exchanges, spread, stack

__all__ = ["stack"]
Run = Callable[..., Result]


@pytest.fixture
def run(stack: Stack, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Run]:
    """The command line, against the stack."""
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", stack.kafka.kafka_bootstrap_servers)
    monkeypatch.setenv("CLICKHOUSE_URL", stack.clickhouse.clickhouse_url)
    monkeypatch.setenv("CLICKHOUSE_DATABASE", stack.clickhouse.clickhouse_database)
    monkeypatch.setenv("COLUMNS", "200")
    return lambda *words: CliRunner().invoke(app, [*words, "--state", str(tmp_path)])


def audited(run: Run) -> dict[str, int]:
    found = json.loads(run("audit", "--json", "--within", "0").stdout)
    return {**found["total"], "duplicates": found["duplicates"]}


def until_audit(run: Run, **expected: int) -> None:
    @retry(retry=retry_if_result(lambda right: not right), wait=wait_fixed(0.3), stop=stop_after_delay(60))
    def look() -> bool:
        found = audited(run)
        return all(found[name] == figure for name, figure in expected.items())

    look()


def letters(run: Run, *options: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in run("dead-letters", "list", "--json", *options).stdout.splitlines()]


def ended(source: str, last: int) -> Record:
    state = events.SourceState(source=source, last_sequence=last, acknowledged=last, ended=True)
    state.at.GetCurrentTime()
    return encode(SOURCES, state)


@pytest.mark.contract
def test_after_the_cause_is_mended_a_replay_closes_the_audit(stack: Stack, run: Run) -> None:
    poison = exchange(51, "one")
    poison.reply.cost_usd = "99999999999999"  # More than the column takes.
    ruined = Record("exchanges", b"k", b"\xff\xff", encode(EXCHANGES, exchange(52, "one")).headers)
    request = Record("requests", b"k", b"{", {"content-type": b"application/json"})
    stack.put(*spread(exchanges(50, "one")), encode(EXCHANGES, poison), ruined, ended("one", 52), request)
    with stack.sink():
        stack.until("SELECT count() AS n FROM ledger", 50)
        stack.until("SELECT count() AS n FROM sources", 1)
        until_audit(run, answered=52, stored=50, dead=2, missing=0, in_flight=0)
        assert run("audit").exit_code == 0
        found = letters(run)
        assert {(one["topic"], tuple(one["place"] or ())) for one in found} == {  # type: ignore[arg-type]
            ("exchanges", ("one", 51)),
            ("exchanges", ("one", 52)),
        }
        listed = run("dead-letters", "list").stdout
        assert "2 records in 2 letters, 2 of them not sent back" in listed
        [costly] = [one for one in found if "cost_usd" in str(one["reason"])]
        place = str(costly["letter"])
        assert place == "{}:{}".format(*costly["spot"])  # type: ignore[misc]
        shown = run("dead-letters", "show", place).stdout
        assert "source one, sequence 51" in shown
        assert '"cost_usd": "99999999999999"' in shown

        refused = run("dead-letters", "replay")
        assert (refused.exit_code, len(letters(run))) == (1, 2)  # Nobody is there to ask.
        assert "--yes" in refused.stderr

        # Not mended as yet: it comes back as a new letter, and the old one is done with.
        assert run("dead-letters", "replay", place, "--yes").exit_code == 0
        until_letters(run, 3)
        assert [one["replayed"] for one in letters(run, "--reason", "cost_usd")] == [True, False]
        assert [one["replayed"] for one in letters(run, "--open")] == [False, False]
        assert "2 records in 2 letters, 2 of them not sent back" in run("dead-letters", "list", "--open").stdout

        # Mended: the column takes more. Now it goes through, and the audit counts one less.
        mend(stack)
        assert "1  sent back to exchanges" in run("dead-letters", "replay", "--reason", "cost_usd", "--yes").stdout
        until_audit(run, stored=51, dead=1, missing=0)
        assert "no letter" in run("dead-letters", "replay", "--reason", "cost_usd", "--yes").stdout

        # Ruined bytes never decode: whoever has them whole sends them again under the old number.
        stack.put(encode(EXCHANGES, exchange(52, "one")))
        until_audit(run, answered=52, stored=52, dead=0, missing=0, duplicates=0)
        assert run("audit", "--read-kafka").exit_code == 0
        again = run("dead-letters", "replay", "--reason", "cost_usd", "--again", "--yes").stdout
        assert "2  sent back to exchanges" in again
        until_audit(run, answered=52, stored=52, missing=0, duplicates=0)


def until_letters(run: Run, number: int) -> None:
    retry(retry=retry_if_result(lambda count: count < number), wait=wait_fixed(0.3), stop=stop_after_delay(60))(
        lambda: len(letters(run))
    )()


def mend(stack: Stack) -> None:
    """As an operator would who meets an answer that costs more than the column takes."""
    stack.do("ALTER TABLE exchanges MODIFY COLUMN cost_usd Decimal(38, 8) CODEC(ZSTD)")


def costly(size: int) -> Record:
    """More than the column takes, and so large that as a dead letter it is more than the topic takes."""
    poison = exchange(2, "one", error="x" * size)
    poison.reply.cost_usd = "99999999999999"
    return encode(EXCHANGES, poison)


@pytest.mark.contract
def test_a_letter_too_large_to_be_buried_is_shown_and_sent_back_from_where_it_lay(stack: Stack, run: Run) -> None:
    size = len(put_largest(stack.kafka, costly).value)
    stack.put(encode(EXCHANGES, exchange(1, "one")), ended("one", 2))
    with stack.sink():
        stack.until("SELECT count() AS n FROM ledger", 1)
        stack.until("SELECT count() AS n FROM sources", 1)
        until_audit(run, answered=2, stored=1, dead=1, missing=0, in_flight=0)
        [letter] = letters(run)
        assert (letter["left"], letter["size_bytes"], letter["place"]) == (True, size, ["one", 2])
        assert len(stack.dead_letters()[0].value) == 0
        assert "1 too large to be buried" in run("dead-letters", "list").stdout
        shown = run("dead-letters", "show", "{}:{}".format(*letter["spot"])).stdout  # type: ignore[misc]
        assert f"too large to be buried: its {size:,} bytes were left on exchanges, where they still are" in shown
        assert "source one, sequence 2" in shown
        assert '"cost_usd": "99999999999999"' in shown

        # Not mended as yet: it comes back, as large as it was.
        replayed = run("dead-letters", "replay", "--yes")
        assert (replayed.exit_code, "1  sent back to exchanges" in replayed.stdout) == (0, True)
        until_letters(run, 2)
        assert [(one["left"], one["size_bytes"], one["replayed"]) for one in letters(run)] == [
            (True, size, True),
            (True, size, False),
        ]

        mend(stack)
        assert run("dead-letters", "replay", "--yes").exit_code == 0
        until_audit(run, answered=2, stored=2, dead=0, missing=0, duplicates=0)


@pytest.mark.contract
def test_a_record_that_two_services_buried_is_one_and_goes_back_once(stack: Stack, run: Run) -> None:
    poison, said = exchange(1, "one"), "its candidate has 5,000,000 bytes; 4,128,768 is the limit"
    poison.reply.cost_usd = "99999999999999"
    stack.put(record := encode(EXCHANGES, poison), ended("one", 1))
    with stack.sink():
        until_letters(run, 1)
        [sinks] = stack.dead_letters()
        place = {"partition": int(sinks.headers["dead-partition"]), "offset": int(sinks.headers["dead-offset"])}
        stack.put(dead_letter(replace(record, **place), said, "sampler"))
        [found] = letters(run)
        assert [one["by"] for one in found["letters"]] == ["sink", "sampler"]  # type: ignore[attr-defined]
        listed = run("dead-letters", "list").stdout
        assert "1 records in 2 letters, 1 of them not sent back" in listed
        assert "for the column cost_usd" in " ".join(listed.split())
        assert f"sampler: {said}" in listed
        counted = [line for line in listed.splitlines() if line.startswith("       1  exchanges: ")]
        assert ["cost_usd" in line for line in counted] in ([True, False], [False, True])
        spots = [one["letter"] for one in found["letters"]]  # type: ignore[attr-defined]
        shown = run("dead-letters", "show", spots[1]).stdout
        assert f"reason: {said}" in shown
        assert "by the sampler" in shown
        assert f"the same record at {spots[0]}: buried " in shown
        assert "cost_usd" in shown

        # Not mended as yet: both would write new letters; of that one record, and not of two.
        assert "1  sent back to exchanges" in run("dead-letters", "replay", spots[1], "--yes").stdout
        until_letters(run, 2)
        assert [(one["replayed"], len(one["letters"])) for one in letters(run)] == [(True, 2), (False, 1)]  # type: ignore[arg-type]
        assert [one.headers["dead-by"] for one in stack.dead_letters() if one.value] == [b"sink", b"sampler", b"sink"]

        mend(stack)
        assert "1  sent back to exchanges" in run("dead-letters", "replay", "--yes").stdout
        until_audit(run, answered=1, stored=1, dead=0, missing=0, duplicates=0)
        assert "no letter" in run("dead-letters", "replay", "--yes").stdout


@pytest.mark.contract
def test_a_letter_whose_bytes_are_gone_is_said_not_to_be_sent_and_not_marked(stack: Stack, run: Run) -> None:
    record = encode(EXCHANGES, exchange(1, "one"))
    stack.put(record, hollow(dead_letter(replace(record, partition=0, offset=10**6), "too costly", "sink")))
    [letter] = letters(run)
    place = "{}:{}".format(*letter["spot"])  # type: ignore[misc]
    assert "left on exchanges, which has deleted them since" in run("dead-letters", "show", place).stdout
    done = run("dead-letters", "replay", "--yes")
    assert done.exit_code == 1
    assert "1  not sent: Kafka has deleted the letter, or the bytes" in done.stdout
    assert place in done.stdout
    assert [one["replayed"] for one in letters(run)] == [False]


@pytest.mark.contract
def test_a_letter_that_kafka_refuses_is_not_marked_and_goes_when_it_fits(
    stack: Stack, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    large, small = (Record("requests", b"k", b"x" * size) for size in (200_000, 200))
    stack.put(*(dead_letter(replace(record, partition=0, offset=0), "a bug", "intake") for record in (large, small)))
    monkeypatch.setenv("KAFKA_OPTIONS", '{"message.max.bytes": "100000"}')
    done = run("dead-letters", "replay", "--yes")
    assert done.exit_code == 1, done.stderr
    assert "1  refused by Kafka: " in done.stdout
    assert "1  sent back to requests" in done.stdout
    assert "message.max.bytes" in done.stdout
    assert {one["size_bytes"]: one["replayed"] for one in letters(run)} == {200_000: False, 200: True}
    monkeypatch.delenv("KAFKA_OPTIONS")
    assert run("dead-letters", "replay", "--yes").exit_code == 0
    assert all(one["replayed"] for one in letters(run))


@pytest.mark.contract
def test_an_exchange_that_never_came_is_missing_and_the_audit_says_which(stack: Stack, run: Run) -> None:
    records = exchanges(10, "one")
    stack.put(*records[:4], *records[6:8], ended("one", 10))
    with stack.sink():
        stack.until("SELECT count() AS n FROM ledger", 6)
        stack.until("SELECT count() AS n FROM sources", 1)
        result = run("audit", "--within", "0")
    assert result.exit_code == 1
    assert "one lacks 5-6, 9-10" in result.stdout
    assert audited(run)["missing"] == 4


@pytest.mark.contract
def test_a_letter_that_is_not_there_is_an_error_that_says_so(stack: Stack, run: Run) -> None:
    for place, said in (("0:99", "no letter at 0:99"), ("99:0", "no letter at 99:0"), ("here", "PARTITION:OFFSET")):
        result = run("dead-letters", "show", place)
        assert result.exit_code == 1
        assert said in result.stderr
