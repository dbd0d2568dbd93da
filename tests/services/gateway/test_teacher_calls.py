"""Whose piece is whose."""

from typing import Any

import msgspec
import pytest

from services.gateway.teacher_calls import CallPiece, GrowingCalls

HALVES = ('{"city":', '"Rome"}')


@pytest.mark.parametrize(
    "pieces",
    [
        [(0, "a", "look", 0), (0, None, None, 1), (1, "b", "buy", 0), (1, None, None, 1)],
        [(0, "a", "look", 0), (1, "b", "buy", 0), (0, None, None, 1), (1, None, None, 1)],
        [(0, "a", "look", 0), (0, "x", None, 1), (1, "b", "buy", 0), (1, "y", None, 1)],
        [(None, "a", "look", 0), (None, None, None, 1), (None, "b", "buy", 0), (None, None, None, 1)],
        [(None, "a", "look", 0), (None, "b", "buy", 0), (None, "a", None, 1), (None, "b", None, 1)],
        [(None, None, "look", 0), (None, None, None, 1), (None, None, "buy", 0), (None, None, None, 1)],
        [(0, "a", "look", 0), (0, None, None, 1), (0, "b", "buy", 0), (0, None, None, 1)],
    ],
)
def test_calls_are_told_apart_however_their_api_does(pieces: list[Any]) -> None:
    growing = GrowingCalls()
    for index, call_id, name, half in pieces:
        function = {"name": name, "arguments": HALVES[half]}
        growing.add(msgspec.convert({"index": index, "id": call_id, "function": function}, CallPiece))
    found = [(call.name, call.arguments) for call in growing.made]
    assert found == [("look", '{"city":"Rome"}'), ("buy", '{"city":"Rome"}')]
