"""What ClickHouse needs to read records itself, by its format Protobuf: their schema, their columns, their bytes; pure.

Its reader is stricter than protobuf's rules: it refuses groups and what has another wire type than the schema says,
takes the last of two parts of one message in place of both, and lets through what is no UTF-8. So it is given what
protobuf's own reader made of a record, without the fields that only a newer producer knows. Enums are numbers to it:
one that is not known here is a value like any other.
"""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from struct import Struct
from typing import Final, cast

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from services.sink.checks import check
from services.topics import Record, decode

PARTITION: Final = "kafka_partition"
OFFSET: Final = "kafka_offset"
"""Two fields more than the message has, with the highest numbers that there are: where the record was read."""
_PARTITION_NUMBER: Final = 2**29 - 1
_OFFSET_NUMBER: Final = 2**29 - 2
_FIXED64, _FIXED32 = 1, 5

# Protobuf's own names of types, and ClickHouse's.
_TYPES: Final[Mapping[int, tuple[str, str]]] = {
    FieldDescriptor.TYPE_STRING: ("string", "String"),
    FieldDescriptor.TYPE_BYTES: ("bytes", "String"),
    FieldDescriptor.TYPE_DOUBLE: ("double", "Float64"),
    FieldDescriptor.TYPE_FLOAT: ("float", "Float32"),
    FieldDescriptor.TYPE_BOOL: ("bool", "Bool"),
    FieldDescriptor.TYPE_ENUM: ("int32", "Int32"),
    FieldDescriptor.TYPE_INT32: ("int32", "Int32"),
    FieldDescriptor.TYPE_INT64: ("int64", "Int64"),
    FieldDescriptor.TYPE_UINT32: ("uint32", "UInt32"),
    FieldDescriptor.TYPE_UINT64: ("uint64", "UInt64"),
}


def described(kind: type[Message]) -> Descriptor:
    """What a message type holds."""
    return cast("Descriptor", kind.DESCRIPTOR)


def proto(kind: Descriptor) -> str:
    """A .proto file of its own with a message and all that it holds; the two places are the message's last fields."""
    places = f"sfixed32 {PARTITION} = {_PARTITION_NUMBER}; sfixed64 {OFFSET} = {_OFFSET_NUMBER};"
    inner = " ".join(f"message {one.name} {{ {_fields(one)} }}" for one in _held(kind))
    return f'syntax = "proto3"; {inner} message {kind.name} {{ {_fields(kind)} {places} }}'


def structure(kind: Descriptor) -> str:
    """The same as ClickHouse's columns: one for each field by its path, as `reply.message.content`."""
    return ", ".join((*_paths(kind), f"{PARTITION} Int32", f"{OFFSET} Int64"))


def _paths(kind: Descriptor, under: str = "") -> Iterator[str]:
    for field in kind.fields:
        if field.message_type is not None and not field.is_repeated:
            yield from _paths(field.message_type, f"{under}{field.name}.")
        else:
            yield f"`{under}{field.name}` {_column_type(field)}"


def row(record: Record) -> bytes:
    """A record as one row: its length, the message, its place. Raises BadEvent if there can be none."""
    message = decode(record)
    check(record.topic, message)
    message.DiscardUnknownFields()
    told: bytes = message.SerializeToString()
    place = _PLACE.pack(_PARTITION_TAG, record.partition, _OFFSET_TAG, record.offset)
    return b"".join((_varint(len(told) + _PLACE.size), told, place))


@lru_cache(maxsize=65_536)
def _varint(number: int) -> bytes:
    """Seven bits a byte, lowest first. The same lengths come again and again."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*out, number))


_PARTITION_TAG: Final = _varint(_PARTITION_NUMBER << 3 | _FIXED32)
_OFFSET_TAG: Final = _varint(_OFFSET_NUMBER << 3 | _FIXED64)
_PLACE: Final = Struct(f"<{len(_PARTITION_TAG)}si{len(_OFFSET_TAG)}sq")


def is_map(field: FieldDescriptor) -> bool:
    """Whether the field is a map, which its descriptor calls a repeated message."""
    return field.message_type is not None and bool(field.message_type.GetOptions().map_entry)


def _held(kind: Descriptor) -> list[Descriptor]:
    """The messages inside, each once."""
    held: dict[str, Descriptor] = {}
    for field in kind.fields:
        inner = field.message_type
        if inner is not None:
            own = [] if is_map(field) else [inner]
            held |= {one.full_name: one for one in (*_held(inner), *own)}
    return list(held.values())


def _fields(kind: Descriptor) -> str:
    return " ".join(f"{_proto_type(field)} {field.name} = {field.number};" for field in kind.fields)


def _proto_type(field: FieldDescriptor) -> str:
    inner = field.message_type
    if inner is not None and is_map(field):
        key, value = inner.fields
        return f"map<{_proto_type(key)}, {_proto_type(value)}>"
    name = _TYPES[field.type][0] if inner is None else inner.name
    if field.is_repeated:
        return f"repeated {name}"
    return f"optional {name}" if is_optional(field) else name


def is_optional(field: FieldDescriptor) -> bool:
    """Whether a field without a value is another thing than one of the default value."""
    return field.message_type is None and field.has_presence


def _columns(kind: Descriptor) -> str:
    return ", ".join(f"{field.name} {_column_type(field)}" for field in kind.fields)


def _column_type(field: FieldDescriptor) -> str:
    inner = field.message_type
    if inner is not None and is_map(field):
        key, value = inner.fields
        return f"Map({_column_type(key)}, {_column_type(value)})"
    name = _TYPES[field.type][1] if inner is None else f"Tuple({_columns(inner)})"
    if field.is_repeated:
        return f"Array({name})"
    return f"Nullable({name})" if is_optional(field) else name
