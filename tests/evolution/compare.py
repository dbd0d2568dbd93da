"""What of a later schema breaks those who speak an earlier one; pure."""

from collections.abc import Iterator, Mapping

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorSet,
    ServiceDescriptorProto,
)


def breaks(earlier: FileDescriptorSet, later: FileDescriptorSet) -> list[str]:
    """Everything published that is gone, renumbered, renamed or of another type. To add is no break.

    A name counts too: stored requests are JSON with the fields' names.
    """
    return [
        *_in_messages(_messages(earlier), _messages(later)),
        *_in_enums(_enums(earlier), _enums(later)),
        *_in_services(_services(earlier), _services(later)),
    ]


def _in_messages(earlier: Mapping[str, DescriptorProto], later: Mapping[str, DescriptorProto]) -> Iterator[str]:
    for name, message in earlier.items():
        if name not in later:
            yield f"{name} is gone"
            continue
        fields = {field.number: field for field in later[name].field}
        for field in message.field:
            if (found := fields.get(field.number)) is None:
                yield f"{name}.{field.name}: number {field.number} is gone"
            elif _shape(found) != _shape(field):
                yield f"{name}.{field.name}: number {field.number} is {_shape(found)}, was {_shape(field)}"


def _shape(field: FieldDescriptorProto) -> tuple[str, str, str, str, bool]:
    kind = FieldDescriptorProto.Type.Name(field.type)
    return field.name, kind, field.type_name, FieldDescriptorProto.Label.Name(field.label), field.proto3_optional


def _in_enums(earlier: Mapping[str, EnumDescriptorProto], later: Mapping[str, EnumDescriptorProto]) -> Iterator[str]:
    for name, enum in earlier.items():
        if name not in later:
            yield f"{name} is gone"
            continue
        names = {value.number: value.name for value in later[name].value}
        for value in enum.value:
            if names.get(value.number) != value.name:
                yield f"{name}: {value.number} is {names.get(value.number)}, was {value.name}"


def _in_services(
    earlier: Mapping[str, ServiceDescriptorProto], later: Mapping[str, ServiceDescriptorProto]
) -> Iterator[str]:
    for name, service in earlier.items():
        methods = {method.name: method for method in later[name].method} if name in later else {}
        for method in service.method:
            if methods.get(method.name) != method:
                yield f"{name}.{method.name} is another or gone"


def _messages(schema: FileDescriptorSet) -> Mapping[str, DescriptorProto]:
    found: dict[str, DescriptorProto] = {}

    def visit(prefix: str, message: DescriptorProto) -> None:
        found[f"{prefix}.{message.name}"] = message
        for nested in message.nested_type:
            visit(f"{prefix}.{message.name}", nested)

    for file in schema.file:
        for message in file.message_type:
            visit(file.package, message)
    return found


def _enums(schema: FileDescriptorSet) -> Mapping[str, EnumDescriptorProto]:
    return {f"{file.package}.{enum.name}": enum for file in schema.file for enum in file.enum_type}


def _services(schema: FileDescriptorSet) -> Mapping[str, ServiceDescriptorProto]:
    return {f"{file.package}.{service.name}": service for file in schema.file for service in file.service}
