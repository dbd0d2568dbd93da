import json
from datetime import timedelta
from pathlib import Path

import pytest

from protos import events_pb2 as events
from services.controller.cycle import Step
from services.controller.state import State
from services.errors import Overloaded
from tests.fakes.kafka import FakeFollower, FakeProducer
from tests.services.controller.world import NOON, World, a_report, a_score, a_task

WEAK = a_report(cascade=a_score(0.2, 0.17, 0.23, 0.1))


async def test_a_run_goes_from_candidates_to_a_promotion(world: World) -> None:
    run = await world.filled().a_run()
    assert world.states(run) == ["SNAPSHOT", "TRAINING", "JUDGING", "LOADING", "DONE"]
    assert run.promoted
    [promotion] = world.promotions()
    assert (promotion.run_id, promotion.student_version, promotion.decided_by) == (run.id, 1, "controller")
    assert promotion.policy.kind == events.POLICY_KIND_CASCADE
    assert promotion.previous_policy.kind == events.POLICY_KIND_TEACHER_ONLY
    assert world.triton.ready == {("labels", 1)}


async def test_the_job_says_what_to_train_by_the_tasks_definition(world: World) -> None:
    run = await world.filled().a_run()
    [job] = world.launcher.jobs
    assert job["config"] == {"from": "tiny", "epochs": 1}
    assert job["validators"] == [{"kind": "one_of", "values": ["yes", "no"]}]
    assert job["dataset"] == str((world.directory / "snapshots/labels/1").resolve())
    assert job["output"].endswith(run.id)
    assert job["requests_per_day"] == 4_000
    assert job["instructions"] == a_task().instructions
    assert (job["training_usd_per_hour"], job["teacher_proves"]) == (None, False)


async def test_the_run_carries_its_report_and_the_verdicts_reason(world: World) -> None:
    run = await world.filled().a_run()
    assert json.loads(run.report)["golden"] == 500
    assert run.report_path.endswith("report.html")
    assert run.reason.startswith("cascade error 4.1 %")


async def test_a_weak_student_is_neither_loaded_nor_promoted(world: World) -> None:
    world.launcher.report = WEAK
    run = await world.filled().a_run()
    assert world.states(run) == ["SNAPSHOT", "TRAINING", "JUDGING", "DONE"]
    assert not run.promoted
    assert run.reason.startswith("not promoted")
    assert world.promotions() == []
    assert world.triton.loads == 0


async def test_a_training_that_fails_ends_the_run_with_its_last_words(world: World) -> None:
    world.launcher.status = 1
    run = await world.filled().a_run()
    assert run.state == events.RUN_STATE_FAILED
    assert run.reason == "training ended with 1: loading\nout of memory"


async def test_a_student_that_says_nothing_is_not_promoted_and_the_live_one_stays(world: World) -> None:
    await world.filled().a_run()
    world.triton.answers = " "
    run = await world.a_run()
    assert run.state == events.RUN_STATE_FAILED
    assert "answers its first prompt with nothing" in run.reason
    assert world.actions.versions("labels") == [1]
    assert world.triton.ready == {("labels", 1)}
    assert len(world.promotions()) == 1


@pytest.mark.parametrize(("head", "tried"), [("golden 2", ["golden 2?\n"]), ("", ["golden 0?\n"])])
async def test_a_student_is_tried_with_the_first_prompt_that_it_reads(
    world: World, tmp_path: Path, head: str, tried: list[str]
) -> None:
    (tmp_path / "student").mkdir()
    (tmp_path / "student" / "student.json").write_text(json.dumps({"pruning": {"head": head} if head else None}))
    world.launcher.student = tmp_path / "student"
    run = await world.filled().a_run()
    assert run.promoted
    assert world.triton.asked == tried


async def test_a_student_that_refuses_every_golden_prompt_is_not_promoted(world: World, tmp_path: Path) -> None:
    (tmp_path / "student").mkdir()
    (tmp_path / "student" / "student.json").write_text(json.dumps({"pruning": {"head": "not there"}}))
    world.launcher.student = tmp_path / "student"
    run = await world.filled().a_run()
    assert run.state == events.RUN_STATE_FAILED
    assert "it refuses every golden prompt" in run.reason


async def test_a_first_student_that_says_nothing_leaves_nothing_behind(world: World) -> None:
    world.triton.answers = ""
    run = await world.filled().a_run()
    assert run.state == events.RUN_STATE_FAILED
    assert world.actions.versions("labels") == []
    assert world.triton.ready == set()


async def test_a_fault_nobody_thought_of_ends_the_run_and_not_the_controller(world: World) -> None:
    world.triton.load = lambda task: 1 / 0  # type: ignore[method-assign, assignment]
    run = await world.filled().a_run()
    assert run.state == events.RUN_STATE_FAILED
    assert run.reason == "ZeroDivisionError: division by zero"


async def test_the_second_version_remembers_the_first(world: World) -> None:
    await world.filled().a_run()
    await world.a_run()
    first, second = world.promotions()
    assert (second.student_version, second.previous_student_version) == (2, 1)
    assert second.previous_policy == first.policy
    assert world.triton.ready == {("labels", 1), ("labels", 2)}


async def test_old_versions_are_removed_but_the_newest_and_those_in_use_stay(world: World) -> None:
    world.filled()
    for _ in range(4):
        await world.a_run()
    assert world.actions.versions("labels") == [3, 4]
    assert world.triton.ready == {("labels", 3), ("labels", 4)}


@pytest.mark.parametrize("step", [Step.SNAPSHOT, Step.TRAINING, Step.JUDGING, Step.LOADING])
async def test_a_controller_killed_on_entering_a_state_carries_on_and_promotes_once(world: World, step: Step) -> None:
    class Killed(BaseException):
        pass

    async def killed_then(run: events.Run, to: Step) -> events.Run:
        entered = await advance(run, to)
        if to is step:
            raise Killed
        return entered

    advance = world.filled().desk.advance
    run = await world.desk.start(world.tasks["labels"], {}, [], [])
    world.desk.advance = killed_then  # type: ignore[method-assign, assignment]
    if step is not Step.SNAPSHOT:
        with pytest.raises(Killed):
            await world.runner.finished()
    await world.restarted().runner.finished()
    assert world.state.known_run(run.id).state == events.RUN_STATE_DONE
    assert world.states(run) == ["SNAPSHOT", "TRAINING", "JUDGING", "LOADING", "DONE"]
    assert len(world.promotions()) == 1


async def test_a_controller_killed_between_promotion_and_end_does_not_promote_again(world: World) -> None:
    run = await world.filled().a_run()
    for event in (event for event in world.broker.records("runs")[:-1] if event.key == run.id.encode()):
        last = event
    world.broker.logs["runs", 0] = [last]
    await world.restarted().runner.finished()
    assert world.state.known_run(run.id).promoted
    assert len(world.promotions()) == 1


async def test_a_run_does_not_overrule_what_a_person_decided_while_it_was_loading(world: World) -> None:
    await world.filled().a_run()
    answer = world.triton.answer

    def meanwhile(task: str, version: int, prompt: str) -> str:
        current = world.state.promotion("labels")
        made = events.Promotion(id="x", task="labels", decided_by="ann", previous_policy=current.policy)
        made.decided_at.FromDatetime(NOON + timedelta(days=1))
        world.state.write(made)
        return answer(task, version, prompt)

    world.triton.answer = meanwhile  # type: ignore[method-assign]
    run = await world.a_run()
    assert (run.state, run.promoted) == (events.RUN_STATE_DONE, False)
    assert world.state.promotion("labels").decided_by == "ann"


async def test_numbers_of_another_life_of_the_broker_are_not_taken_again(world: World) -> None:
    await world.filled().a_run()
    world.broker.logs.clear()
    world.broker.create_topics()
    run = await world.restarted().a_run()
    assert (run.snapshot, run.student_version) == (2, 2)


async def test_a_run_of_a_task_that_is_no_longer_defined_fails(world: World) -> None:
    run = await world.filled().desk.start(a_task(name="gone"), {}, [], [])
    await world.runner.finished()
    assert world.state.known_run(run.id).reason == "task gone is no longer defined"


async def test_new_candidates_start_a_run_at_the_threshold_and_again_only_after_as_many(world: World) -> None:
    world.tasks["labels"] = a_task(sampling={"run_at_candidates": 5})
    await world.filled(train=4).runner.look()
    assert world.state.runs() == []
    await world.filled(train=5).runner.look()
    await world.runner.finished()
    assert [run.state for run in world.state.runs()] == [events.RUN_STATE_DONE]
    await world.runner.look()
    assert len(world.state.runs()) == 1


async def test_a_run_that_is_due_waits_for_what_it_lacks(world: World) -> None:
    world.tasks["labels"] = a_task(sampling={"run_at_candidates": 5})
    await world.filled(eval=0).runner.look()
    assert world.state.runs() == []


async def test_looking_outlives_a_clickhouse_that_is_away(world: World) -> None:
    world.tasks["labels"] = a_task(sampling={"run_at_candidates": 5})
    world.filled().store.away = True
    await world.runner.look()
    world.store.away = False
    await world.runner.look()
    await world.runner.finished()
    assert len(world.promotions()) == 1


async def test_a_restarted_triton_is_given_its_students_back(world: World) -> None:
    await world.filled().a_run()
    await world.a_run()
    world.triton.ready.clear()
    await world.runner.look()
    assert world.triton.ready == {("labels", 1), ("labels", 2)}


def test_an_event_that_kafka_did_not_acknowledge_does_not_count(world: World) -> None:
    world.broker.away = True
    with pytest.raises(Overloaded, match="not acknowledged"):
        world.state.write(events.Promotion(id="1", task="labels"))
    assert world.state.promotion("labels").id == ""


def test_an_event_that_arrives_late_counts_all_the_same(world: World) -> None:
    producer = FakeProducer(world.broker)
    state = State(producer, ack_timeout_s=0.01)
    world.broker.away = True
    with pytest.raises(Overloaded):
        state.write(events.Promotion(id="1", task="labels"))
    world.broker.away = False
    producer.flush(0)
    assert state.promotion("labels").id == "1"


def test_an_event_that_kafka_refuses_says_why(world: World) -> None:
    world.broker.refuse = lambda _record: "too large"
    with pytest.raises(Overloaded, match="refused the event: too large"):
        world.state.write(events.Run(id="1", task="labels"))


def test_of_a_runs_events_the_latest_updated_one_counts(world: World) -> None:
    late, early = events.Run(id="1", task="labels", reason="late"), events.Run(id="1", task="labels", reason="early")
    late.updated_at.FromDatetime(NOON + timedelta(seconds=1))
    early.updated_at.FromDatetime(NOON)
    for run in (late, early):
        world.state.write(run)
    state = State(FakeProducer(world.broker))
    state.rebuild(FakeFollower(world.broker, "runs"))
    assert state.known_run("1").reason == "late"
