"""ClickHouse's SQL for what a column says of a message's fields; pure.

A field is named by its path: `reply.message.content`. None of them meets a value that it can't turn into its column's:
see services.sink.checks.
"""

from collections.abc import Collection
from typing import Final

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from services.sink.wire import is_map, is_optional

_INT64: Final = frozenset({FieldDescriptor.TYPE_INT64, FieldDescriptor.TYPE_UINT64})


def quoted(text: str) -> str:
    """A text as SQL."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def dollars(field: str) -> str:
    """A Decimal(38, 8) from its text, 0 of an empty one; the column may have fewer digits, and then refuses more."""
    return f"toDecimal128(if(empty({field}), '0', {field}), 8)"


def us(field: str) -> str:
    """Microseconds since 1970, UTC, of a timestamp."""
    return f"({field}.seconds * 1000000 + intDiv({field}.nanos, 1000))"


def time(microseconds: str) -> str:
    """A point in time."""
    return f"fromUnixTimestamp64Micro({microseconds}, 'UTC')"


def name(enum: EnumDescriptor, field: str) -> str:
    """OUTCOME_ANSWERED -> answered; '' where nothing is set; the number where a newer writer knows more than we."""
    prefix = enum.values_by_number[0].name.removesuffix("UNSPECIFIED")
    names = [value.name.removeprefix(prefix).lower() if value.number else "" for value in enum.values]
    return _transformed(enum, names, field)


def json(kind: Descriptor, field: str, but_if: tuple[str, Collection[str]] = ("0", ())) -> str:
    """A message as JSON with the fields' own names, as protobuf's own MessageToJson writes it.

    A message inside of which no field is set is left out, and a number that is none (NaN) is null. `but_if` is a
    condition, and the names of fields that are left out where it holds.
    """
    condition, left_out = but_if
    told = ", ".join(
        _member(one, f"{field}.{one.name}", f"{condition} OR " if one.name in left_out else "") for one in kind.fields
    )
    return f"concat('{{', substring(concat({told}, ''), 2), '}}')"


def json_array(made: str, one: str, array: str) -> str:
    """A JSON array of what the expression `made` says of each `one` of an array."""
    return f"concat('[', arrayStringConcat(arrayMap({one} -> {made}, {array}), ','), ']')"


def _member(field: FieldDescriptor, path: str, or_if: str) -> str:
    """`,"name":value`, or nothing where the field is not set."""
    told = f"concat(',\"{field.name}\":', {_value(field, path)})"
    return f"if({or_if}{_unset(field, path)}, '', {told})"


def _unset(field: FieldDescriptor, path: str) -> str:
    if field.is_repeated or field.type == FieldDescriptor.TYPE_STRING:
        return f"empty({path})"
    if is_optional(field):
        return f"isNull({path})"
    if field.message_type is not None:
        return " AND ".join(_unset(inner, f"{path}.{inner.name}") for inner in field.message_type.fields)
    return f"{path} = 0"


def _value(field: FieldDescriptor, path: str) -> str:
    if is_map(field) or not field.is_repeated:
        return _one(field, path)
    one = f"{field.name}_"
    return json_array(_one(field, one), one, path)


def _one(field: FieldDescriptor, path: str) -> str:
    if field.message_type is not None and not is_map(field):
        return json(field.message_type, path)
    if field.enum_type is not None:
        return _transformed(field.enum_type, [f'"{value.name}"' for value in field.enum_type.values], path)
    return f"concat('\"', toString({path}), '\"')" if field.type in _INT64 else f"toJSONString({path})"


def _transformed(enum: EnumDescriptor, names: Collection[str], field: str) -> str:
    """The names of an enum's numbers, and a number that has none as it is."""
    numbers = ", ".join(str(value.number) for value in enum.values)
    return f"transform({field}, [{numbers}], [{', '.join(map(quoted, names))}], toString({field}))"
