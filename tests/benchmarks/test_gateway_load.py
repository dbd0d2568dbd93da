from pathlib import Path

import pytest

from benchmarks.gateway_load import Load, Target, arguments, at_once, figures, only_answered

CLOSED = Load(4, stream=False, seconds=2.0)
PACED = Load(50, stream=False, seconds=2.0, rate=1_000)
LOG = Path("log")


def line(begun_us: int, took_us: int, status: str = "200") -> str:
    return f"{begun_us}\t{status}\t{took_us}"


def test_the_log_of_h2load_becomes_a_rate_and_percentiles() -> None:
    found = figures([line(1_000 * number, 1_000 * (number % 10)) for number in range(1_000)], CLOSED)
    assert found == {"calls": 1_000, "failed": 0, "calls_per_s": 500, "p50_ms": 4.5, "p99_ms": 9.0, "p999_ms": 9.0}


def test_a_call_that_was_cut_off_by_the_end_is_no_failure_and_one_before_is() -> None:
    answered = [line(10_000 * number, 1_000) for number in range(100)]
    found = figures([*answered, line(500_000, 1_000, "-1"), line(900_000, 91_000, "-1"), line(0, 5, "503")], CLOSED)
    assert (found["calls"], found["failed"]) == (100, 2)


def test_a_call_from_the_warm_up_is_neither_answered_nor_failed() -> None:
    found = figures([line(0, 1_000, "0"), line(1_000_000, 1_000)], CLOSED)
    assert (found["calls"], found["failed"]) == (1, 0)


def test_what_the_gateway_did_not_answer_has_failed_whatever_http_says() -> None:
    found = {"calls": 100, "failed": 1, "calls_per_s": 50.0}
    assert only_answered(found, 40) == {"calls": 40, "failed": 61, "calls_per_s": 20.0}
    assert only_answered(found, 150) == found  # The warm-up's are answered, too.


def test_percentiles_are_left_out_where_most_calls_were_still_open_at_the_end() -> None:
    few, enough = (figures([line(number, 1_000) for number in range(count)], CLOSED) for count in (7, 8))
    assert "p50_ms" not in few
    assert enough["p50_ms"] == 1.0


def test_nothing_answered_is_a_rate_of_nothing() -> None:
    assert figures([], CLOSED) == {"calls": 0, "failed": 0, "calls_per_s": 0}


def test_a_contestant_that_can_not_keep_up_with_the_rate_has_its_own() -> None:
    found = figures([line(10_000 * number, 1_000) for number in range(401)], PACED)
    assert found["calls_per_s"] == pytest.approx(100, rel=0.01)


def test_grpc_shares_64_connections_and_http_has_one_for_each_call() -> None:
    load = Load(4_096, stream=False, seconds=3.0)
    grpc = arguments(Target("http://host/Complete", ("te: trailers",), Path("body"), grpc=True), load, LOG)
    http = arguments(Target("http://host/v1", (), Path("body"), grpc=False), load, LOG)
    assert {"--clients=64", "--max-concurrent-streams=64", "--header=te: trailers", "--duration=3000ms"} <= set(grpc)
    assert {"--clients=4096", "--max-concurrent-streams=1", "--h1"} <= set(http)


def test_at_a_rate_connections_take_turns() -> None:
    said = arguments(Target("http://host/v1", (), Path("body"), grpc=False), PACED, LOG)
    assert {"--clients=50", "--rps=20", "--requests=2000", "--rate=1", "--rate-period=1ms"} <= set(said)


def test_a_burst_fits_into_its_connections() -> None:
    said = at_once(Target("http://host/Complete", (), Path("body"), grpc=True), 100_000, LOG)
    assert {"--clients=64", "--max-concurrent-streams=1563", "--requests=100000"} <= set(said)


def test_fewer_calls_than_connections_have_one_each() -> None:
    said = at_once(Target("http://host/Complete", (), Path("body"), grpc=True), 3, LOG)
    assert {"--clients=3", "--max-concurrent-streams=1", "--requests=3"} <= set(said)


def test_a_part_of_a_second_is_told_as_h2load_reads_it() -> None:
    load = Load(4, stream=False, seconds=0.5)
    assert "--duration=500ms" in arguments(Target("http://host/v1", (), Path("body"), grpc=False), load, LOG)


def test_processor_time_of_the_warm_up_is_not_counted_to_the_calls() -> None:
    assert CLOSED.cpu_share == pytest.approx(2 / 2.5)
    assert PACED.cpu_share == 1
