"""The tool calls of a teacher's answer, from the pieces of a stream. Pure."""

import msgspec

from protos import inference_pb2 as inference


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: str | None = None


class CallPiece(msgspec.Struct):
    """A tool call in OpenAI's shape, or a part of one."""

    index: int | None = None
    id: str | None = None
    function: _Function | None = None


class GrowingCalls:
    """Calls that come piece by piece; `made` are those that have begun, in that order."""

    def __init__(self) -> None:
        self.made: list[inference.ToolCall] = []
        self._at: dict[int, inference.ToolCall] = {}

    def add(self, piece: CallPiece) -> None:
        """Take the next piece in."""
        function = piece.function or _Function()
        grown = self._begun(piece, function)
        if grown is None:
            self.made.append(grown := inference.ToolCall())
        if piece.index is not None:
            self._at[piece.index] = grown
        grown.id = piece.id or grown.id
        grown.name += function.name or ""
        grown.arguments += function.arguments or ""

    def _begun(self, piece: CallPiece, function: _Function) -> inference.ToolCall | None:
        """The call that goes on with this piece; None where it begins one.

        OpenAI tells by the index. Some APIs give none, or all the same one: there another id begins another call.
        """
        if piece.index is not None:
            begun = self._at.get(piece.index)
            another = begun is not None and begun.id and piece.id not in (None, "", begun.id) and function.name
            return None if another else begun
        if piece.id:
            return next((one for one in self.made if one.id == piece.id), None)
        return self.made[-1] if self.made and not function.name else None
