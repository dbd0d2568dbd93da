"""The intake as a process, between a real broker and a gateway that can be told what to say."""

import json
import signal

import grpc
import pytest

from services.topics import CONTENT_TYPE, LEFT_BYTES, Record
from tests.services.intake.conftest import CONCURRENCY, PATIENCE_S, World
from tests.services.largest import put_largest

pytestmark = [pytest.mark.contract]
JSON_ID = "0190a0b0-0000-7000-8000-000000000000"


def as_json(**changes: object) -> Record:
    data = {"model": "tutelage/address", "messages": [{"role": "user", "content": "12 Main St"}], **changes}
    return Record("requests", b"k", json.dumps(data).encode(), {CONTENT_TYPE: b"application/json"})


def test_protobuf_and_json_are_answered_under_the_producers_id(world: World):
    (given,) = world.ask("1 Elm St")
    world.produce(as_json(id=JSON_ID), as_json(user="customer-1"))
    with world.intake() as intake:
        world.wait_until(lambda: len(world.gateway.answered) == 3)
        intake.send_signal(signal.SIGTERM)
        assert intake.wait(PATIENCE_S) == 0
    assert {given, JSON_ID} < set(world.gateway.answered)
    assert world.gateway.metadata["x-tutelage-origin"] == "kafka"
    assert max(world.gateway.left_s) < 2  # The task's latency budget of 1.5 s is the deadline; gRPC rounds it.
    with world.intake():
        (later,) = world.ask("2 Elm St")
        world.wait_until(lambda: later in world.gateway.answered)
    assert set(world.gateway.answered.values()) == {1}  # what was committed was not read again


def test_bad_messages_go_to_the_dead_letters_and_the_rest_goes_on(world: World):
    world.gateway.says = {"refused": grpc.StatusCode.INVALID_ARGUMENT, "unknown": grpc.StatusCode.NOT_FOUND}
    world.ask("refused", "unknown")
    world.produce(Record("requests", b"", b"\xff\xff"), as_json(messages=[]))
    (good,) = world.ask("3 Elm St")
    with world.intake():
        world.wait_until(lambda: len(world.dead) == 4 and good in world.gateway.answered)
    assert {record.headers["dead-by"] for record in world.dead} == {b"intake"}
    reasons = b" ".join(record.headers["dead-reason"] for record in world.dead)
    for part in (b"INVALID_ARGUMENT: as told", b"NOT_FOUND: as told", b"not a tutelage.v1.Request", b"messages: "):
        assert part in reasons


def test_a_message_too_large_to_be_buried_stops_nobody(world: World):
    large = put_largest(world.settings, lambda size: Record("requests", b"k", b"x" * size))
    (good,) = world.ask("4 Elm St")
    with world.intake():
        world.wait_until(lambda: len(world.dead) == 1 and good in world.gateway.answered)
    assert (world.dead[0].value, int(world.dead[0].headers[LEFT_BYTES])) == (b"", len(large.value))


def test_a_gateway_that_is_away_is_waited_for_and_nothing_is_lost(world: World):
    world.gateway.stop()
    ids = set(world.ask(*(f"{number} Elm St" for number in range(50))))
    with world.intake():
        world.wait_until(lambda: "requests wait and are tried again" in world.log())
        world.gateway.start()
        world.wait_until(lambda: set(world.gateway.answered) == ids)
        world.gateway.says = {"busy": grpc.StatusCode.RESOURCE_EXHAUSTED}
        (busy,) = world.ask("busy")
        world.wait_until(lambda: world.gateway.asked[busy] > 1)
        world.gateway.says = {}
        world.wait_until(lambda: busy in world.gateway.answered)
    assert world.dead == []


def test_a_deadline_that_keeps_passing_becomes_a_dead_letter(world: World):
    world.gateway.says = {"slow": grpc.StatusCode.DEADLINE_EXCEEDED}
    (slow,) = world.ask("slow")
    with world.intake():
        world.wait_until(lambda: len(world.dead) == 1)
    assert world.gateway.asked[slow] == 3
    assert b"DEADLINE_EXCEEDED: as told (3 times)" in world.dead[0].headers["dead-reason"]


def test_what_was_in_hand_when_the_intake_was_killed_is_read_again(world: World):
    world.gateway.release.clear()
    ids = set(world.ask(*(f"{number} Elm St" for number in range(30))))
    with world.intake() as intake:
        world.wait_until(lambda: len(world.gateway.asked) == CONCURRENCY)
        intake.kill()
        intake.wait(PATIENCE_S)
    world.gateway.release.set()
    with world.intake():
        world.wait_until(lambda: set(world.gateway.answered) == ids)
    assert world.gateway.most_at_once <= 2 * CONCURRENCY  # the killed one's calls may still have been open
    assert world.dead == []


def test_a_gateways_bug_stops_the_intake_before_it_commits(world: World):
    world.gateway.says = {"bug": grpc.StatusCode.INTERNAL}
    (bug,) = world.ask("bug")
    with world.intake() as intake:
        assert intake.wait(PATIENCE_S) != 0
    world.gateway.says = {}
    with world.intake():
        world.wait_until(lambda: bug in world.gateway.answered)
