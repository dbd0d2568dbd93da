"""What takes calls back is told to the gateways and kept on disk before Kafka has it, and comes to Kafka in the end."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest

from protos import control_pb2 as control
from protos import control_pb2_grpc
from protos import events_pb2 as events
from services.controller import desk
from services.controller.outbox import Outbox
from services.errors import Overloaded
from services.gateway.promotions import Promotions
from services.gateway.watch import Watch
from services.settings import KafkaSettings
from tests.fakes.kafka import FakeFollower
from tests.services.controller.world import World, a_task
from tests.services.gateway.examples import until

WITHIN_S = 30
TEACHER, STUDENT = events.POLICY_KIND_TEACHER_ONLY, events.POLICY_KIND_STUDENT_ONLY


@pytest.fixture
async def address(world: World) -> AsyncIterator[str]:
    with tempfile.TemporaryDirectory() as short:  # a socket's path has 107 characters at most
        server = grpc.aio.server()
        control_pb2_grpc.add_ControlServicer_to_server(world.control, server)
        server.add_insecure_port(at := f"unix:{Path(short) / 'control'}")
        await server.start()
        yield at
        world.state.watchers.close()
        await server.stop(None)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk, "ACK_S", 0.01)
    monkeypatch.setattr(desk, "SETTLE_S", 0.01)


async def watched(address: str, *tasks: str) -> AsyncIterator[events.Promotion]:
    async with grpc.aio.insecure_channel(address) as channel:
        request = control.WatchPromotionsRequest(tasks=tasks)
        async for promotion in control_pb2_grpc.ControlStub(channel).WatchPromotions(request):
            yield promotion


async def rolled_back(world: World) -> events.Promotion:
    async with world.desk.deciding:
        return await world.desk.roll_back(world.state.promotion("labels"), "complaints", "ann")


async def served_by(promotions: Promotions, kind: events.PolicyKind) -> None:
    """Return once the gateway serves by that policy."""
    await until(lambda: (current := promotions.current("labels")) and current.policy.kind == kind)


async def on_topic(world: World, promotion: events.Promotion) -> None:
    await until(lambda: promotion.id in [each.id for each in world.promotions()])


async def test_a_watcher_hears_what_serves_and_then_every_change(world: World, address: str) -> None:
    await world.filled().a_run()
    told = watched(address)
    async with asyncio.timeout(WITHIN_S):
        assert (await anext(told)).student_version == 1
        back = await rolled_back(world)
        assert (await anext(told)).id == back.id
        await world.a_run()
        assert (await anext(told)).student_version == 2


async def test_of_tasks_without_a_decision_and_of_others_nothing_is_told(tmp_path: Path) -> None:
    world = World(tmp_path, a_task(), a_task(name="others"))
    with world.state.watchers.watch() as changes:
        world.state.write(events.Promotion(id="1", task="others"))
        async with asyncio.timeout(WITHIN_S):
            assert (await anext(aiter(changes))).task == "others"


async def test_an_undefined_task_is_refused(address: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await anext(watched(address, "unheard"))
    assert refused.value.code() == grpc.StatusCode.NOT_FOUND


async def test_a_slow_watcher_hears_of_what_was_overtaken_no_more(world: World) -> None:
    with world.state.watchers.watch() as changes:
        for number in range(3):
            world.state.write(events.Promotion(id=str(number), task="labels"))
        async with asyncio.timeout(WITHIN_S):
            assert (await anext(aiter(changes))).id == "2"
        world.state.watchers.close()
        assert [one async for one in changes] == []


@pytest.mark.usefixtures("impatient")
async def test_a_rollback_takes_effect_in_the_gateway_while_kafka_stalls(world: World, address: str) -> None:
    await world.filled().a_run()
    promotions = Promotions(KafkaSettings(), FakeFollower(world.broker, "promotions"))
    await promotions.start()
    watch = Watch(address, promotions.take)
    watch.start()
    await served_by(promotions, events.POLICY_KIND_CASCADE)
    world.broker.away = True
    back = await rolled_back(world)
    await served_by(promotions, TEACHER)
    assert back.id not in [each.id for each in world.promotions()]
    world.broker.away = False
    await on_topic(world, back)
    await watch.close()
    await promotions.close()


@pytest.mark.usefixtures("impatient")
async def test_the_next_controller_brings_to_kafka_what_this_one_could_not(world: World) -> None:
    await world.filled().a_run()
    world.broker.away = True
    back = await rolled_back(world)
    await stopped(world)
    world.broker.away = False
    assert world.restarted().state.promotion("labels").policy.kind == events.POLICY_KIND_CASCADE
    await world.desk.resume()
    assert world.state.promotion("labels").id == back.id
    await on_topic(world, back)
    await until(lambda: not world.outbox.waiting())


@pytest.mark.usefixtures("impatient")
async def test_what_was_decided_since_is_not_undone_by_the_outbox(world: World) -> None:
    await world.filled().a_run()
    world.broker.away = True
    await rolled_back(world)
    kept = world.outbox.waiting()
    world.broker.away = False
    await world.a_run()
    await stopped(world)
    world.outbox.keep(kept[0])  # As if it had been killed before it could drop it.
    await world.restarted().desk.resume()
    assert (world.state.promotion("labels").student_version, world.outbox.waiting()) == (2, [])


@pytest.mark.usefixtures("impatient")
async def test_a_late_acknowledgement_of_an_earlier_promotion_does_not_undo_a_rollback(world: World) -> None:
    run = await world.filled().a_run()
    world.broker.away = True
    async with world.desk.deciding:
        with pytest.raises(Overloaded):
            await world.desk.promote(
                world.state.promotion("labels"), events.Policy(kind=STUDENT), run, "asked for", "ann"
            )
    back = await rolled_back(world)
    world.broker.away = False
    await on_topic(world, back)
    assert world.state.promotion("labels").id == back.id
    assert [each.policy.kind for each in world.promotions()][-2:] == [STUDENT, TEACHER]


@pytest.mark.usefixtures("impatient")
async def test_a_promotion_to_the_teacher_alone_does_not_wait_for_kafka_either(world: World) -> None:
    await world.filled().a_run()
    world.broker.away = True
    async with world.desk.deciding:
        current = world.state.promotion("labels")
        await world.desk.promote(current, events.Policy(kind=TEACHER), None, "a doubt", "ann")
    assert world.state.promotion("labels").policy.kind == TEACHER


@pytest.mark.usefixtures("impatient")
async def test_a_full_disk_does_not_stand_in_the_way_back(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_self: Outbox, _promotion: events.Promotion) -> None:
        raise OSError(28, "No space left on device")

    await world.filled().a_run()
    monkeypatch.setattr(Outbox, "keep", full)
    assert (await rolled_back(world)).policy.kind == TEACHER
    assert world.state.promotion("labels").policy.kind == TEACHER


async def test_a_clock_that_was_put_back_does_not_make_a_decision_count_for_less(world: World) -> None:
    await world.filled().a_run()
    world.clock = iter([-600])  # type: ignore[assignment]
    before = world.state.promotion("labels").decided_at.ToNanoseconds()
    assert (await rolled_back(world)).decided_at.ToNanoseconds() >= before
    assert world.state.promotion("labels").policy.kind == TEACHER


async def test_what_is_no_promotion_in_the_outbox_is_left_there(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path)
    outbox.keep(events.Promotion(id="1", task="labels"))
    (tmp_path / "others.promotion").write_bytes(b"\xff\xff")
    assert [each.id for each in outbox.waiting()] == ["1"]
    assert (tmp_path / "others.promotion").exists()


async def stopped(world: World) -> None:
    """As if the process had ended."""
    world.state.watchers.close()
    for each in list(world.desk._delivering):
        each.cancel()
    await asyncio.gather(*world.desk._delivering, return_exceptions=True)
