"""What a backend used that tells no usage, or can't any more as it was cut short; pure.

An estimate that is wrong by a third is better than none: by hanging up a caller would have answers for nothing.
"""

from typing import Final

from protos import events_pb2 as events
from protos import inference_pb2 as inference
from services.tasks import Task, student_prompt

BYTES_PER_TOKEN: Final = 4
"""Of English, by OpenAI's rule of thumb. Other scripts have fewer characters a token, but more bytes each."""


TEMPLATE_TOKENS: Final = 256
"""What an API's template may put around a chat: of gpt-oss about 70, a system prompt that names the day and so on."""
PART_TOKENS: Final = 16
"""Around each message and tool: OpenAI's templates have 4, others up to 10."""
TOOLS_TOKENS: Final = 512
"""Where there are tools, how to call them: Claude's templates have 350 to 500."""

SLACK_TOKENS: Final = 64
"""Beyond the limit: what ends an answer, and the last few of a server that writes several at once."""


def most(task: Task, request: inference.Request) -> inference.Usage:
    """The most that a teacher can use for one answer: a token has a byte at least, but for those of its template."""
    parts = len(request.messages) + len(request.tools) + bool(task.instructions)
    around = TEMPLATE_TOKENS + PART_TOKENS * parts + (TOOLS_TOKENS if request.tools else 0)
    read, written = _sent_bytes(task, request) + around, written_most(task, request) + SLACK_TOKENS
    return inference.Usage(prompt_tokens=read, completion_tokens=written)


def written_most(task: Task, request: inference.Request) -> int:
    """How many tokens the teacher may write: as many as the request says, the task's limit at most."""
    limit, sampling = task.limits.max_completion_tokens, request.sampling
    return min(sampling.max_tokens, limit) if sampling.HasField("max_tokens") else limit


def is_told(usage: inference.Usage) -> bool:
    """Whether a backend has said what it used. Who says that it read nothing has not."""
    return bool(usage.prompt_tokens or usage.completion_tokens)


def usage(
    task: Task, request: inference.Request, backend: inference.Backend, text: str, pieces: int
) -> inference.Usage:
    """Of a backend that was asked `request` and has written `text`, in so many pieces where it was heard to."""
    student = backend == inference.BACKEND_STUDENT
    read_bytes = _size(student_prompt(task, request)) if student else _sent_bytes(task, request)
    return inference.Usage(
        prompt_tokens=read_bytes // BYTES_PER_TOKEN, completion_tokens=max(pieces, _size(text) // BYTES_PER_TOKEN)
    )


def written(attempt: events.Attempt) -> str:
    """All that an answer has of text."""
    message = attempt.message
    return message.content + "".join(call.name + call.arguments for call in message.tool_calls)


def _sent_bytes(task: Task, request: inference.Request) -> int:
    parts = sum(part.ByteSize() for part in (*request.messages, *request.tools))
    return parts + _size(task.instructions) + _size(request.response_schema)


def _size(text: str) -> int:
    return len(text.encode())
