"""What was published once is decoded for ever, and no number is given a second meaning."""

from pathlib import Path

import pytest
from google.protobuf import json_format
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorSet
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from services.sink.rows import TABLES
from services.topics import TOPICS, Record, decode, encode
from tests.evolution.compare import breaks
from tests.evolution.published import PLACED, VERSIONS, message_types, present
from tests.fixtures.tables import Tables

TYPES = {kind.name: kind for kind in message_types()}
GOLDEN = [path for version in VERSIONS for path in sorted(version.glob("*.binpb")) if path.stem != "schema"]


def schema(version: Path) -> FileDescriptorSet:
    return FileDescriptorSet.FromString((version / "schema.binpb").read_bytes())


def golden(path: Path) -> Message:
    return GetMessageClass(TYPES[path.stem]).FromString(path.read_bytes())


@pytest.mark.parametrize("version", VERSIONS, ids=lambda path: path.name)
def test_nothing_published_is_gone_or_means_something_else(version: Path) -> None:
    assert breaks(schema(version), present()) == []


@pytest.mark.parametrize("version", VERSIONS, ids=lambda path: path.name)
def test_a_version_holds_every_message_that_it_describes(version: Path) -> None:
    described = {message.name for file in schema(version).file for message in file.message_type}
    assert described == {path.stem for path in GOLDEN if path.parent == version} >= {"Exchange", "Candidate", "Run"}


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_message_of_a_published_version_has_the_values_it_had(path: Path) -> None:
    kept = json_format.Parse(path.with_suffix(".json").read_text(encoding="utf-8"), GetMessageClass(TYPES[path.stem])())
    assert golden(path) == kept
    assert golden(path).SerializeToString(deterministic=True) == path.read_bytes()


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_its_golden_bytes_set_every_field_that_the_version_has(path: Path) -> None:
    [message] = [m for file in schema(path.parent).file for m in file.message_type if m.name == path.stem]
    assert {field.name for field, _ in golden(path).ListFields()} == {field.name for field in message.field}


@pytest.mark.contract
@pytest.mark.parametrize("topic", sorted(TABLES))
@pytest.mark.parametrize("version", VERSIONS, ids=lambda path: path.name)
def test_the_sink_takes_what_a_producer_of_any_version_sends(tables: Tables, version: Path, topic: str) -> None:
    path = version / f"{TOPICS[topic].message.DESCRIPTOR.name}.binpb"
    if not path.exists():  # The topic is younger than the version.
        assert path.stem not in {message.name for file in schema(version).file for message in file.message_type}
        return
    value = path.read_bytes() + PLACED.get(topic, b"")
    record = Record(topic, b"", value, encode(TOPICS[topic], TOPICS[topic].message()).headers, 0, 1)
    values = tables.row(record)
    name = "id" if "id" in values else "source"
    assert str(values[name]) == getattr(decode(record), name) != ""


def changed(change: str) -> FileDescriptorSet:
    """The present schema with one thing spoilt."""
    later = present()
    [events] = [file for file in later.file if file.name == "protos/events.proto"]
    [exchange] = [message for message in events.message_type if message.name == "Exchange"]
    [outcome] = [enum for enum in events.enum_type if enum.name == "Outcome"]
    match change:
        case "renumbered":
            exchange.field[0].number = 99
        case "another type":
            exchange.field[2].type = FieldDescriptorProto.TYPE_STRING
        case "reused":
            exchange.field[6].name = "mood"
        case "repeated":
            exchange.field[1].label = FieldDescriptorProto.LABEL_REPEATED
        case "field gone":
            del exchange.field[3]
        case "message gone":
            events.message_type.remove(exchange)
        case "enum renumbered":
            outcome.value[1].number = 9
        case "method gone":
            del later.file[-1].service[0].method[0]
        case "added":
            exchange.field.add(name="mood", number=99, type=FieldDescriptorProto.TYPE_STRING, label=1)
            outcome.value.add(name="OUTCOME_LATE", number=9)
            events.message_type.add(name="Mood")
    return later


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ("renumbered", "Exchange.id: number 1 is gone"),
        ("another type", "Exchange.sequence: number 3 is"),
        ("reused", "Exchange.error: number 7 is ('mood'"),
        ("repeated", "LABEL_REPEATED"),
        ("field gone", "Exchange.request: number 4 is gone"),
        ("message gone", "Exchange is gone"),
        ("enum renumbered", "Outcome: 1 is None, was OUTCOME_ANSWERED"),
        ("method gone", "is another or gone"),
    ],
)
def test_every_way_of_breaking_the_schema_is_noticed(change: str, complaint: str) -> None:
    found = breaks(present(), changed(change))
    assert len(found) == 1
    assert complaint in found[0]


def test_to_add_breaks_nothing() -> None:
    assert breaks(present(), changed("added")) == []
