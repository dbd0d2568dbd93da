"""The published versions of the schema: golden bytes of every message, and the descriptors they were made with.

`python -m tests.evolution.published v2` publishes what `protos/` holds now as `v2/`; what is published never changes.
A version is a folder with one `<Message>.binpb` per message type, every field set, the same as `<Message>.json`, and
`schema.binpb`, the FileDescriptorSet.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from protos import control_pb2, events_pb2, inference_pb2

FILES: Final = (inference_pb2, events_pb2, control_pb2)
HERE: Final = Path(__file__).parent
VERSIONS: Final = sorted(path for path in HERE.glob("v*") if path.is_dir())
AN_ID: Final = "0190a0b0-0000-7000-8000-000000000001"
TEXTS: Final = {
    "cost_usd": "0.00234000",
    "usd_per_day": "12.50",
    "usd_per_month": "99",
    "credit_usd": "12.50",
    "arguments": "{}",
    "config": "{}",
    "report": "{}",
}
NUMBERS: Final = {
    FieldDescriptor.CPPTYPE_DOUBLE: -0.75,
    FieldDescriptor.CPPTYPE_FLOAT: 0.5,
    FieldDescriptor.CPPTYPE_BOOL: True,
    FieldDescriptor.CPPTYPE_UINT32: 7,
    FieldDescriptor.CPPTYPE_UINT64: 2**53 + 1,
    FieldDescriptor.CPPTYPE_INT64: 1_700_000_000,
    FieldDescriptor.CPPTYPE_INT32: 250_000_000,
}
PLACED: Final = {
    "exchanges": events_pb2.Exchange(sequence=7).SerializeToString(),
    "sources": events_pb2.SourceState(last_sequence=7, acknowledged=7, put_aside=7).SerializeToString(),
}
"""By topic what, behind a golden message's bytes, takes the place of a number that no source comes to."""


def present() -> FileDescriptorSet:
    """The schema as it is now."""
    found = FileDescriptorSet()
    for module in FILES:
        module.DESCRIPTOR.CopyToProto(found.file.add())
    return found


def message_types() -> Iterator[Descriptor]:
    """Every message type of ours."""
    for module in FILES:
        yield from module.DESCRIPTOR.message_types_by_name.values()


def filled(kind: Descriptor) -> Message:
    """A message with every field set to something that is not its default; lists have two entries."""
    made = GetMessageClass(kind)()
    for field in kind.fields:
        if field.message_type and field.message_type.GetOptions().map_entry:
            value = field.message_type.fields_by_name["value"]
            getattr(made, field.name)["kind"] = _value(value)
        elif field.is_repeated:
            getattr(made, field.name).extend([_value(field), _value(field)])
        elif field.message_type:
            getattr(made, field.name).CopyFrom(_value(field))
        else:
            setattr(made, field.name, _value(field))
    return made


def _value(field: FieldDescriptor) -> Any:
    if field.message_type:
        return filled(field.message_type)
    if field.enum_type:
        return field.enum_type.values[-1].number
    if field.type == FieldDescriptor.TYPE_BYTES:
        return field.name.encode()
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        return AN_ID if field.name.endswith("id") else TEXTS.get(field.name, f"{field.name} «é»")
    return NUMBERS[field.cpp_type]


def publish(directory: Path) -> None:
    """Write the golden files of the present schema. Raises FileExistsError: a version is published once."""
    directory.mkdir()
    (directory / "schema.binpb").write_bytes(present().SerializeToString(deterministic=True))
    for kind in message_types():
        made = filled(kind)
        (directory / f"{kind.name}.binpb").write_bytes(made.SerializeToString(deterministic=True))
        text = json_format.MessageToJson(made, preserving_proto_field_name=True, ensure_ascii=False, sort_keys=True)
        (directory / f"{kind.name}.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    publish(HERE / sys.argv[1])
