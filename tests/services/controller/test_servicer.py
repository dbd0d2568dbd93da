import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from protos import control_pb2 as control
from protos import control_pb2_grpc
from protos import events_pb2 as events
from tests.services.controller.world import World, a_report, a_score, a_task

WEAK = a_report(cascade=a_score(0.12, 0.10, 0.14, 0.2))
MANY = [f"kind {number}" for number in range(257)]
ALONE = events.Policy(kind=events.POLICY_KIND_STUDENT_ONLY)


@pytest.fixture
async def client(world: World) -> AsyncIterator[Any]:
    with tempfile.TemporaryDirectory() as short:  # a socket's path has 107 characters at most
        server = grpc.aio.server()
        control_pb2_grpc.add_ControlServicer_to_server(world.control, server)
        server.add_insecure_port(f"unix:{Path(short) / 'control'}")
        await server.start()
        async with grpc.aio.insecure_channel(f"unix:{Path(short) / 'control'}") as channel:
            yield control_pb2_grpc.ControlStub(channel)
        await server.stop(None)


async def refusal(call: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value.code(), str(caught.value.details())


def an_example(**changes: Any) -> control.GoldenExample:
    return control.GoldenExample(**({"input": "is it?", "truth": "yes"} | changes))


async def test_status_tells_what_serves_what_waits_and_what_ran(world: World, client: Any) -> None:
    run = await world.filled().a_run()
    [status] = (await client.Status(control.StatusRequest())).tasks
    assert (status.task, status.train_candidates, status.eval_candidates, status.golden_examples) == ("labels", 5, 2, 4)
    assert status.promotion.student_version == 1
    assert [listed.id for listed in status.runs] == [run.id]
    assert status.runs[0].report == ""


async def test_status_of_a_task_of_which_nothing_was_decided_says_that_the_teacher_answers(client: Any) -> None:
    [status] = (await client.Status(control.StatusRequest(task="labels"))).tasks
    assert status.promotion.policy.kind == events.POLICY_KIND_TEACHER_ONLY


async def test_status_lists_ten_runs_latest_first(world: World, client: Any) -> None:
    world.filled()
    ids = [(await client.StartRun(control.StartRunRequest(task="labels"))).id for _ in range(12)]
    [status] = (await client.Status(control.StatusRequest())).tasks
    assert [run.id for run in status.runs] == ids[:1:-1]


async def test_an_unknown_task_is_not_found_and_the_known_ones_are_named(client: Any) -> None:
    for call in (
        client.Status(control.StatusRequest(task="x")),
        client.StartRun(control.StartRunRequest(task="x")),
        client.GetRun(control.GetRunRequest(task="x")),
        client.Promote(control.PromoteRequest(task="x", decided_by="ann")),
        client.Rollback(control.RollbackRequest(task="x", decided_by="ann", reason="bad")),
        client.AddGolden(control.AddGoldenRequest(task="x", examples=[an_example()])),
    ):
        code, text = await refusal(call)
        assert code == grpc.StatusCode.NOT_FOUND
        assert text == "task: 'x' is not defined; defined are labels"


async def test_a_run_that_is_not_there_is_not_found(client: Any) -> None:
    for request, said in (
        (control.GetRunRequest(task="labels"), "task: 'labels' has had no run yet: start one"),
        (control.GetRunRequest(id="x"), "id: there is no run 'x'"),
    ):
        assert await refusal(client.GetRun(request)) == (grpc.StatusCode.NOT_FOUND, said)


async def test_a_task_is_required(client: Any) -> None:
    assert await refusal(client.StartRun(control.StartRunRequest())) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "task: is required; defined are labels",
    )


async def test_a_run_started_by_hand_goes_round_with_its_overrides(world: World, client: Any) -> None:
    world.filled()
    run = await client.StartRun(
        control.StartRunRequest(task="labels", overrides={"epochs": "2", "lr": "1e-3", "lora.rank": "8"})
    )
    assert run.state == events.RUN_STATE_SNAPSHOT
    await world.runner.finished()
    assert world.launcher.jobs[0]["config"] == {"from": "tiny", "epochs": 2, "lr": 0.001, "lora": {"rank": 8}}
    done = await client.GetRun(control.GetRunRequest(id=run.id))
    assert (done.state, done.promoted) == (events.RUN_STATE_DONE, True)
    assert (await client.GetRun(control.GetRunRequest(task="labels"))).id == run.id


async def test_a_config_file_lies_over_the_tasks_and_under_the_overrides(world: World, client: Any) -> None:
    world.filled()
    config = "lora: {rank: 4, dora: true}\nepochs: 3\nsearch: {space: {lora: {rank: [2, 4]}}, trials: 2}\n"
    await client.StartRun(control.StartRunRequest(task="labels", config=config, overrides={"lora.rank": "8"}))
    await world.runner.finished()
    assert world.launcher.jobs[0]["config"] == {
        "from": "tiny",
        "epochs": 3,
        "lora": {"rank": 8, "dora": True},
        "search": {"space": {"lora": {"rank": [2, 4]}}, "trials": 2},
    }


async def test_an_empty_section_of_a_config_file_asks_for_its_defaults(world: World, client: Any) -> None:
    world.filled()
    await client.StartRun(control.StartRunRequest(task="labels", config="dpo: {}\n"))
    await world.runner.finished()
    assert world.launcher.jobs[0]["config"] == {"from": "tiny", "epochs": 1, "dpo": {}}


@pytest.mark.parametrize("config", ["- a list", "{", "x: " + "y" * 20_000])
async def test_a_config_that_is_none_is_refused(world: World, client: Any, config: str) -> None:
    world.filled()
    code, text = await refusal(client.StartRun(control.StartRunRequest(task="labels", config=config)))
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert text.startswith("config")


async def test_a_config_that_training_would_refuse_starts_no_run(
    world: World, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.filled()
    monkeypatch.setattr(world.launcher, "_check", ("-m", "training.check"))
    asked = control.StartRunRequest(task="labels", config="from: label\n", overrides={"learning_rat": "1"})
    code, text = await refusal(client.StartRun(asked))
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert text.startswith("config: learning_rat: ")
    assert world.state.runs() == []


async def test_a_run_without_anything_to_tune_with_is_refused(world: World, client: Any) -> None:
    world.filled(eval=0)
    code, text = await refusal(client.StartRun(control.StartRunRequest(task="labels")))
    assert code == grpc.StatusCode.FAILED_PRECONDITION
    assert "eval candidate" in text


@pytest.mark.parametrize(
    "overrides", [{"a b": "1"}, {"epochs": "[1, 2]"}, {"epochs": "{"}, {"x" * 65: "1"}, {"a.b.c": "1"}, {"": "1"}]
)
async def test_overrides_that_are_no_scalars_are_refused(world: World, client: Any, overrides: dict[str, str]) -> None:
    world.filled()
    code, text = await refusal(client.StartRun(control.StartRunRequest(task="labels", overrides=overrides)))
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert text.startswith("overrides[")
    assert world.state.runs() == []


async def test_waiting_runs_have_a_limit(world: World, client: Any) -> None:
    world.filled()
    for _ in range(20):
        await client.StartRun(control.StartRunRequest(task="labels"))
    code, _ = await refusal(client.StartRun(control.StartRunRequest(task="labels")))
    assert code == grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_clickhouse_being_away_is_said_and_does_not_stop_a_rollback(world: World, client: Any) -> None:
    await world.filled().a_run()
    world.store.away = world.triton.away = True
    assert (await refusal(client.Status(control.StatusRequest())))[0] == grpc.StatusCode.UNAVAILABLE
    back = await client.Rollback(control.RollbackRequest(task="labels", reason="wrong names", decided_by="ann"))
    assert back.policy.kind == events.POLICY_KIND_TEACHER_ONLY


async def test_a_rollback_goes_to_the_version_before_and_the_next_to_the_teacher(world: World, client: Any) -> None:
    first, _ = await world.filled().a_run(), await world.a_run()
    request = control.RollbackRequest(task="labels", reason="wrong names", decided_by="ann")
    back = await client.Rollback(request)
    assert (back.student_version, back.run_id, back.reason, back.decided_by) == (1, first.id, "wrong names", "ann")
    assert back.policy.kind == events.POLICY_KIND_CASCADE
    assert (await client.Rollback(request)).policy.kind == events.POLICY_KIND_TEACHER_ONLY
    code, text = await refusal(client.Rollback(request))
    assert code == grpc.StatusCode.FAILED_PRECONDITION
    assert "teacher alone already" in text
    assert len(world.promotions()) == 4


@pytest.mark.parametrize(("field", "given"), [("reason", {"decided_by": "a"}), ("decided_by", {"reason": "b"})])
async def test_a_rollback_says_why_and_by_whom(client: Any, field: str, given: dict[str, str]) -> None:
    code, text = await refusal(client.Rollback(control.RollbackRequest(task="labels", **given)))
    assert (code, text) == (grpc.StatusCode.INVALID_ARGUMENT, f"{field}: is required")


async def test_a_person_promotes_what_the_report_supports(world: World, client: Any) -> None:
    await world.filled().a_run()
    await client.Rollback(control.RollbackRequest(task="labels", reason="to be sure", decided_by="ann"))
    made = await client.Promote(control.PromoteRequest(task="labels", decided_by="bob"))
    assert (made.policy.min_confidence, made.student_version, made.decided_by) == (-0.5, 1, "bob")
    assert made.reason.startswith("cascade error 4.1 %")


async def test_a_cascade_asked_for_without_a_threshold_takes_the_reports(world: World, client: Any) -> None:
    await world.filled().a_run()
    policy = events.Policy(kind=events.POLICY_KIND_CASCADE)
    made = await client.Promote(control.PromoteRequest(task="labels", decided_by="bob", policy=policy))
    assert made.policy.min_confidence == -0.5


async def test_what_the_report_does_not_support_is_refused_with_the_figures(world: World, client: Any) -> None:
    await world.filled().a_run()
    request = control.PromoteRequest(task="labels", decided_by="bob", policy=ALONE)
    code, text = await refusal(client.Promote(request))
    assert code == grpc.StatusCode.FAILED_PRECONDITION
    assert "student alone: upper end 17.3 % is above the ceiling 9 %" in text
    assert len(world.promotions()) == 1


async def test_a_person_may_overrule_the_report_and_that_is_recorded(world: World, client: Any) -> None:
    world.launcher.report = WEAK
    await world.filled().a_run()
    request = control.PromoteRequest(
        task="labels", student_version=1, decided_by="bob", policy=ALONE, override_reason="a trial among ourselves"
    )
    made = await client.Promote(request)
    assert made.reason.startswith("overridden by bob: a trial among ourselves (against: student alone: upper end")
    assert world.triton.ready == {("labels", 1)}


async def test_an_override_must_name_its_policy(world: World, client: Any) -> None:
    world.launcher.report = WEAK
    await world.filled().a_run()
    request = control.PromoteRequest(task="labels", decided_by="bob", override_reason="why not")
    code, text = await refusal(client.Promote(request))
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert text.startswith("policy: is required with override_reason")


async def test_the_teacher_can_be_put_back_without_any_run(world: World, client: Any) -> None:
    policy = events.Policy(kind=events.POLICY_KIND_TEACHER_ONLY)
    made = await client.Promote(control.PromoteRequest(task="labels", decided_by="bob", policy=policy))
    assert made.student_version == 0


async def test_only_finished_runs_can_be_promoted(world: World, client: Any) -> None:
    code, text = await refusal(client.Promote(control.PromoteRequest(task="labels", decided_by="bob")))
    assert (code, text) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "task labels has no finished run with a report: start one",
    )
    world.filled()
    await client.StartRun(control.StartRunRequest(task="labels"))
    request = control.PromoteRequest(task="labels", decided_by="bob", student_version=1)
    assert (await refusal(client.Promote(request)))[0] == grpc.StatusCode.FAILED_PRECONDITION
    request.student_version = 7
    assert (await refusal(client.Promote(request)))[0] == grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize(
    ("field", "policy"),
    [
        ("policy.kind", events.Policy()),
        ("policy.share", events.Policy(kind=events.POLICY_KIND_SHARE, share=1.5)),
        ("policy.share", events.Policy(kind=events.POLICY_KIND_SHARE)),
        ("policy.share", events.Policy(kind=events.POLICY_KIND_SHARE, share_of_kind={"osm": 0.0})),
        ("policy.min_confidence", events.Policy(kind=events.POLICY_KIND_CASCADE, min_confidence=0.5)),
        ("policy.share_of_kind['osm']", events.Policy(kind=events.POLICY_KIND_SHARE, share_of_kind={"osm": 1.5})),
        ("policy.share_of_kind", events.Policy(kind=events.POLICY_KIND_SHARE, share_of_kind=dict.fromkeys(MANY, 0.5))),
        ("policy.min_confidence", events.Policy(kind=events.POLICY_KIND_CASCADE, min_confidence=float("nan"))),
    ],
)
async def test_a_policy_out_of_range_is_named(world: World, client: Any, field: str, policy: events.Policy) -> None:
    await world.filled().a_run()
    request = control.PromoteRequest(task="labels", decided_by="bob", policy=policy)
    code, text = await refusal(client.Promote(request))
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert text.startswith(f"{field}: ")


async def test_a_share_of_one_kind_alone_is_a_share(world: World, client: Any) -> None:
    await world.filled().a_run()
    policy = events.Policy(kind=events.POLICY_KIND_SHARE, share_of_kind={"osm": 0.5}, min_confidence=-0.5)
    made = await client.Promote(control.PromoteRequest(task="labels", decided_by="bob", policy=policy))
    assert made.policy == policy


async def test_a_cascade_that_would_keep_nothing_is_no_cascade_even_if_overridden(world: World, client: Any) -> None:
    world.launcher.report = WEAK.model_copy(update={"threshold": 0.0})
    await world.filled().a_run()
    request = control.PromoteRequest(
        task="labels",
        student_version=1,
        decided_by="bob",
        policy=events.Policy(kind=events.POLICY_KIND_CASCADE),
        override_reason="a trial",
    )
    code, text = await refusal(client.Promote(request))
    assert (code, text) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "policy.min_confidence: give one below 0, as -0.5: by the report's no answer is kept",
    )
    request.policy.min_confidence = -0.5
    assert (await client.Promote(request)).policy.min_confidence == -0.5


async def test_golden_examples_are_stored_by_their_inputs_hash(world: World, client: Any) -> None:
    examples = [an_example(metadata={"kind": "rare", "by": "ann"}), an_example(input="is  IT?", truth="no")]
    assert (await client.AddGolden(control.AddGoldenRequest(task="labels", examples=examples))).added == 1
    [row] = world.store.added
    assert row[:2] == ["labels", row[1]]
    assert row[3] == "no"
    examples = [an_example(input="another?", group_key="acme", metadata={"kind": "rare"})]
    await client.AddGolden(control.AddGoldenRequest(task="labels", examples=examples))
    assert world.store.added[1][2:7] == ["another?", "yes", "acme", "rare", {"kind": "rare"}]
    assert world.store.added[1][1] != row[1]


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("examples[1].input: is required", {"input": " "}),
        ("examples[1].truth: is required", {"truth": ""}),
        ("examples[1].truth: one_of: 'maybe' is none of the 2 values", {"truth": "maybe"}),
        ("examples[1].input: has 40000 characters; the limit is 32768", {"input": "x" * 40_000}),
        ("examples[1].group_key: has 300 characters; the limit is 256", {"group_key": "g" * 300}),
        ("examples[1].metadata: has 33 labels; the limit is 32", {"metadata": {str(n): "" for n in range(33)}}),
        ("examples[1].metadata['k']: has 300 characters; the limit is 256", {"metadata": {"k": "v" * 300}}),
    ],
)
async def test_a_bad_golden_example_is_named_and_none_is_stored(
    world: World, client: Any, field: str, change: dict[str, Any]
) -> None:
    request = control.AddGoldenRequest(task="labels", examples=[an_example(), an_example(**change)])
    code, text = await refusal(client.AddGolden(request))
    assert (code, text) == (grpc.StatusCode.INVALID_ARGUMENT, field)
    assert world.store.added == []


@pytest.mark.parametrize("number", [0, 10_001])
async def test_golden_examples_come_in_parcels_of_one_to_ten_thousand(client: Any, number: int) -> None:
    request = control.AddGoldenRequest(task="labels", examples=[an_example()] * number)
    code, text = await refusal(client.AddGolden(request))
    assert (code, text) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        f"examples: has {number}; 1 to 10000 can be added at once",
    )


async def test_the_truth_of_a_json_task_is_json(world: World, client: Any) -> None:
    world.tasks["labels"] = a_task(answer="json", validators=[])
    code, text = await refusal(client.AddGolden(control.AddGoldenRequest(task="labels", examples=[an_example()])))
    assert (code, text) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "examples[0].truth: is not JSON, as the task's answers are",
    )


async def test_an_erasure_needs_a_customer_a_person_and_a_task_that_there_is(client: Any) -> None:
    asked = control.EraseRequest(group_key="acme", decided_by="ann")
    for changes, code, text in (
        ({"group_key": ""}, grpc.StatusCode.INVALID_ARGUMENT, "group_key: is required"),
        ({"decided_by": ""}, grpc.StatusCode.INVALID_ARGUMENT, "decided_by: is required"),
        ({"task": "unheard-of"}, grpc.StatusCode.NOT_FOUND, "task: "),
    ):
        request = control.EraseRequest()
        request.CopyFrom(asked)
        for name, value in changes.items():
            setattr(request, name, value)
        found, told = await refusal(client.Erase(request))
        assert (found, told.startswith(text)) == (code, True)


async def test_an_erasure_while_clickhouse_is_away_says_so_and_nothing_is_begun(world: World, client: Any) -> None:
    world.filled().store.away = True
    code, _ = await refusal(client.Erase(control.EraseRequest(group_key="acme", decided_by="ann")))
    assert code == grpc.StatusCode.UNAVAILABLE
    assert not world.erasure_tables.begun


async def test_an_erasure_answers_with_its_receipt(world: World, client: Any) -> None:
    world.filled()
    planned = await client.Erase(control.EraseRequest(group_key="group 1", decided_by="ann", dry_run=True))
    assert (planned.dry_run, planned.rows["candidates"], len(world.store.rows["train"])) == (True, 1, 5)
    receipt = await client.Erase(control.EraseRequest(group_key="group 1", decided_by="ann"))
    assert (receipt.dry_run, receipt.decided_by, len(world.store.rows["train"])) == (False, "ann", 4)
