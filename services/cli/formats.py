"""Examples in the three shapes that training tools read: OpenAI's messages, ShareGPT, Alpaca; pure.

What the student reads stands as the user's message, as the student reads it. `id`, `group_key` and `metadata` are ours:
written on request, and read wherever they stand.
"""

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, Final

from protos import control_pb2 as pb
from services.errors import BadEvent
from services.intake.openai_log import parse_log

Line = dict[str, Any]
OURS: Final = ("id", "group_key", "metadata")
SPEAKERS: Final = {
    "system": "system",
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "tool": "tool",
    "observation": "tool",
}


class Format(StrEnum):
    """The shape of a line."""

    OPENAI = "openai"
    SHAREGPT = "sharegpt"
    ALPACA = "alpaca"


def line_of(shape: Format, row: pb.SnapshotRow, instructions: str = "", *, ours: bool = False) -> Line:
    """A row in that shape; `instructions` as the system's message, unless they are empty."""
    asked = row.prompt.removesuffix("\n")
    return {**WRITERS[shape](instructions, asked, row.completion), **(_ours(row) if ours else {})}


def example_of(line: Line, task: str) -> pb.ImportedExample:
    """An example from a line of any of the shapes. Raises BadEvent with what is wrong."""
    exchange = parse_log(_as_openai(line), task)
    reply = exchange.reply.message
    if reply.tool_calls:
        raise BadEvent("its answer is a tool call, which this can't take: `tutelage import` does")
    return pb.ImportedExample(request=exchange.request, answer=reply.content)


def _openai(instructions: str, asked: str, answer: str) -> Line:
    system = [{"role": "system", "content": instructions}] if instructions else []
    turns = [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]
    return {"messages": [*system, *turns]}


def _sharegpt(instructions: str, asked: str, answer: str) -> Line:
    system = [{"from": "system", "value": instructions}] if instructions else []
    return {"conversations": [*system, {"from": "human", "value": asked}, {"from": "gpt", "value": answer}]}


def _alpaca(instructions: str, asked: str, answer: str) -> Line:
    return {"instruction": asked, "input": "", "output": answer, **({"system": instructions} if instructions else {})}


WRITERS: Final[Mapping[Format, Callable[[str, str, str], Line]]] = {
    Format.OPENAI: _openai,
    Format.SHAREGPT: _sharegpt,
    Format.ALPACA: _alpaca,
}


def _ours(row: pb.SnapshotRow) -> Line:
    labels = {"kind": row.kind} if row.kind else {}
    labels |= {"weight": f"{row.weight:g}", "corrected": "true" if row.corrected else "false"}
    return {"id": row.id, **({"group_key": row.group_digest} if row.group_digest else {}), "metadata": labels}


def _as_openai(line: Line) -> Line:
    if "conversations" in line:
        return {"messages": _turns(line), **_kept(line)}
    if "instruction" in line:
        return {"messages": _alpaca_turns(line), **_kept(line)}
    return line


def _turns(line: Line) -> list[dict[str, str]]:
    turns = line["conversations"]
    if not isinstance(turns, list) or not all(isinstance(turn, dict) for turn in turns):
        raise BadEvent("conversations: must be a list of objects with `from` and `value`")
    system = [{"role": "system", "content": _text(line, "system")}] if line.get("system") else []
    return system + [{"role": _role(turn), "content": _text(turn, "value")} for turn in turns]


def _role(turn: Line) -> str:
    said = str(turn.get("from"))
    if said not in SPEAKERS:
        raise BadEvent(f"conversations: from {said[:40]!r} is none of {', '.join(SPEAKERS)}")
    return SPEAKERS[said]


def _alpaca_turns(line: Line) -> list[dict[str, str]]:
    """Alpaca's `input` is what its instruction is to be applied to: both make the user's message."""
    system = [{"role": "system", "content": _text(line, "system")}] if line.get("system") else []
    asked = "\n\n".join(part for part in (_text(line, "instruction"), _text(line, "input", "")) if part)
    return [*system, {"role": "user", "content": asked}, {"role": "assistant", "content": _text(line, "output")}]


def _text(line: Line, key: str, default: str | None = None) -> str:
    value = line.get(key, default)
    if not isinstance(value, str):
        raise BadEvent(f"{key}: must be a text")
    return value


def _kept(line: Line) -> Line:
    return {key: line[key] for key in OURS if key in line}
