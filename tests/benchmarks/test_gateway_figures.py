from benchmarks.gateway_figures import goals, middle, table, with_added

COMPARED, PACED = "unary, 64 at once", "unary, 1000/s"


def figures(rate: float = 100.0, p50_ms: float = 1.0, p99_ms: float = 2.0, failed: int = 0) -> dict[str, float]:
    return {"calls_per_s": rate, "p50_ms": p50_ms, "p99_ms": p99_ms, "cpu_us": 10.0, "failed": failed}


def test_the_middle_of_three_turns_counts_and_every_failure() -> None:
    found = middle([figures(100, failed=1), figures(300), figures(200, failed=2)])
    assert (found["calls_per_s"], found["failed"]) == (200, 3)


def test_a_figure_that_only_some_turns_have_is_the_middle_of_those() -> None:
    found = middle([{"calls_per_s": 1.0, "failed": 0}, figures(p50_ms=4.0)])
    assert found["p50_ms"] == 4.0


def test_what_is_added_is_the_latency_less_the_backends_own() -> None:
    found = with_added({"backend": figures(p50_ms=20.0), "grpc": figures(p50_ms=20.4), "bare": figures(p50_ms=0.3)})
    assert found["grpc"]["added_p50_ms"] == 0.4
    assert found["bare"]["added_p50_ms"] == 0.3
    assert found["backend"]["added_p50_ms"] == 20.0
    assert "added_p999_ms" not in found["grpc"]


def test_goals_are_ratios_of_rates_and_added_latencies() -> None:
    fast = {"backend": figures(), "grpc": figures(4_000), "litellm": figures(100), "tensorzero": figures(2_000)}
    slow = with_added({"backend": figures(p50_ms=20, p99_ms=21), "grpc": figures(p50_ms=20.5, p99_ms=24)})
    wanted = goals({COMPARED: fast, PACED: slow}, COMPARED, PACED)
    assert wanted["times LiteLLM's requests a second"] == {"goal": ">= 40", "measured": 40, "met": True}
    assert wanted["added p50 in ms at 1,000/s"]["met"]
    assert wanted["added p99 in ms at 1,000/s"] == {"goal": "<= 2", "measured": 3, "met": False}
    assert wanted["failed calls of the gateway"]["met"]


def test_who_was_not_there_or_answered_nothing_meets_no_goal() -> None:
    wanted = goals({COMPARED: {"grpc": figures(), "litellm": figures(0)}}, COMPARED, PACED)
    assert [name for name, goal in wanted.items() if goal["met"]] == ["failed calls of the gateway"]


def test_failed_calls_of_either_door_under_any_load_count() -> None:
    found = {COMPARED: {"grpc": figures(failed=1), "litellm": figures(failed=9)}, PACED: {"http": figures(failed=2)}}
    assert goals(found, COMPARED, PACED)["failed calls of the gateway"]["measured"] == 3


def test_the_table_has_a_line_for_each_and_a_dash_for_what_is_not_known() -> None:
    found = {COMPARED: with_added({"backend": figures(rate=12_345), "litellm": {**figures(), "p50_ms": 3.0}})}
    head, backend, litellm = table(found).splitlines()
    assert head.startswith("load")
    assert backend.split()[4:] == ["backend", "12,345", "10", "1.00", "2.00", "-", "0"]
    assert litellm.split()[4:] == ["litellm", "100", "10", "2.00", "0.00", "-", "0"]
