"""A producer of tomorrow: the present schema with more fields and more names, in a pool of its own."""

from functools import cache
from typing import Any, Final

from google.protobuf import descriptor_pool
from google.protobuf.descriptor_pb2 import FieldDescriptorProto
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.timestamp_pb2 import DESCRIPTOR as TIMESTAMP
from google.protobuf.unknown_fields import UnknownFieldSet

from tests.evolution.published import present

ADDED: Final = 1000
"""Number of the field `tomorrows`, a text, that every message has tomorrow."""
NEW_VALUE: Final = 77
"""The number of a value that every enum has tomorrow."""


@cache
def newer(name: str) -> type[Message]:
    """Tomorrow's message type of that name."""
    return GetMessageClass(_pool().FindMessageTypeByName(f"tutelage.v1.{name}"))


@cache
def _pool() -> descriptor_pool.DescriptorPool:
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(TIMESTAMP.serialized_pb)
    text = FieldDescriptorProto.TYPE_STRING
    for file in present().file:
        for message in file.message_type:
            message.field.add(name="tomorrows", number=ADDED, type=text, label=FieldDescriptorProto.LABEL_OPTIONAL)
        for enum in file.enum_type:
            enum.value.add(name=f"{enum.value[0].name.removesuffix('UNSPECIFIED')}TOMORROWS", number=NEW_VALUE)
        pool.Add(file)  # type: ignore[no-untyped-call]
    return pool


def as_newer(message: Message) -> Any:
    """The same message as tomorrow's type, to be added to."""
    return newer(message.DESCRIPTOR.name).FromString(message.SerializeToString())


def unknown(message: Message) -> list[tuple[int, Any]]:
    """Number and data of the fields that today's type does not know."""
    return [(field.field_number, field.data) for field in UnknownFieldSet(message)]
