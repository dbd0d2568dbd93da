"""The teacher's answers: chat completions, whole or in pieces, into attempts. Pure."""

from collections.abc import Callable
from typing import Any, Final

import msgspec

from protos import events_pb2 as events
from protos import inference_pb2 as inference
from services.gateway.backends import FailureKind
from services.gateway.teacher_calls import CallPiece, GrowingCalls
from services.gateway.teacher_failures import MESSAGE_CHARS, REFUSING_STATUSES, TeacherFailed, unavailable
from services.gateway.teacher_finishes import finish_of, says_failure

DONE: Final = "[DONE]"
MAX_TOKENS: Final = 2**32 - 1  # What a message holds of a count.
NOT_A_COMPLETION: Final = "what came is not a chat completion: check TEACHER_BASE_URL"


class _Piece(msgspec.Struct):
    """A `message` or a `delta`."""

    content: str | None = None
    refusal: str | None = None
    tool_calls: list[CallPiece] | None = None


class _Choice(msgspec.Struct):
    message: _Piece | None = None
    delta: _Piece | None = None
    finish_reason: str | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    completion_tokens_details: Any = None


class _Error(msgspec.Struct):
    message: str | None = None
    code: str | int | None = None


class _Answer(msgspec.Struct):
    """A completion, or one chunk of its stream."""

    choices: list[_Choice] | None = None
    usage: _Usage | None = None
    model: str | None = None
    error: _Error | str | None = None


_ANSWER: Final = msgspec.json.Decoder(_Answer)


class Growing:
    """An answer that comes whole or piece by piece. What is no answer raises TeacherFailed."""

    def __init__(
        self, model: str, masked: Callable[[str], str] = str, *, partial: str = "", repeats: bool = False
    ) -> None:
        """`masked` takes secrets out of what the API says. The answer goes on from `partial`; `repeats`: it says that
        again first.
        """
        self.finished = False
        """Whether the answer has come to its end."""
        self.done = False
        """Whether nothing more comes: what was used is told after the answer's end."""
        self._masked = masked
        self._content = [partial]
        self._to_repeat = partial if repeats else ""
        self._refusal = ""
        self._finish = ""
        self._usage: _Usage | None = None
        self._calls = GrowingCalls()
        self._attempt = events.Attempt(backend=inference.BACKEND_TEACHER, model=model)

    def whole(self, data: bytes) -> None:
        """Take in a completion's JSON."""
        answer = self._decoded(data, NOT_A_COMPLETION)
        choice = answer.choices[0] if answer.choices else _Choice()
        if choice.message is None:
            raise unavailable(NOT_A_COMPLETION)
        for place, call in enumerate(choice.message.tool_calls or ()):
            call.index = place
        self._end(choice.finish_reason)
        self._add(choice.message)
        self.finished = True

    def event(self, data: str) -> str:
        """Take in the data of one event of a stream; returns its text, '' where it has none."""
        if data == DONE:
            self.finished = self.done = True
            return ""
        answer = self._decoded(data, "a chunk of its stream is malformed")
        if not answer.choices:
            return ""
        choice = answer.choices[0]
        self._end(choice.finish_reason)
        self.finished = self.finished or bool(self._finish)
        return self._add(choice.delta or _Piece())

    def _decoded(self, data: bytes | str, otherwise: str) -> _Answer:
        try:
            answer = _ANSWER.decode(data)
        except msgspec.DecodeError as error:
            raise unavailable(otherwise) from error
        if answer.error is not None:
            raise self._broken(answer.error)
        if answer.model:
            self._attempt.model = answer.model
        if answer.usage is not None:
            self._usage = answer.usage
        return answer

    def _broken(self, error: _Error | str) -> TeacherFailed:
        """An API that has said 200 tells of its failure in the answer."""
        message, code = (error, None) if isinstance(error, str) else (error.message, error.code)
        kind = FailureKind.REFUSED if str(code) in map(str, REFUSING_STATUSES) else FailureKind.UNAVAILABLE
        told = self._masked(message or "no reason given")[:MESSAGE_CHARS]
        return TeacherFailed(kind, f"it gave an error for an answer: {told}", passes=self._is_empty())

    def _end(self, finish_reason: str | None) -> None:
        if finish_reason and says_failure(finish_reason):
            raise unavailable(f"it broke off its answer: finish_reason {finish_reason!r}", passes=self._is_empty())
        self._finish = finish_reason or self._finish

    def _add(self, piece: _Piece) -> str:
        self._refusal += piece.refusal or ""
        for call in piece.tool_calls or ():
            self._calls.add(call)
        text = self._new(piece.content or "")
        self._content.append(text)
        return text

    def _new(self, text: str) -> str:
        """`text` without what it repeats of the answer's beginning."""
        if not self._to_repeat:
            return text
        repeated = self._to_repeat[: len(text)]
        if text.startswith(repeated):
            self._to_repeat = self._to_repeat.removeprefix(repeated)
            return text.removeprefix(repeated)
        withheld = self._content[0].removesuffix(self._to_repeat)
        self._to_repeat = ""
        return withheld + text

    def _is_empty(self) -> bool:
        return not self._calls.made and not any(self._content)

    @property
    def thought(self) -> int:
        """How many of the tokens that were written it says were reasoning."""
        details = self._usage.completion_tokens_details if self._usage is not None else None
        told = details.get("reasoning_tokens") if isinstance(details, dict) else None
        return _count(told) if isinstance(told, int) else 0

    def attempt(self) -> events.Attempt:
        """The whole answer. Raises TeacherFailed where it is none.

        An empty one that says why it ended is one, was paid for, and is the router's to refuse: a caller whose prompts
        are answered by nothing must not make the teacher look broken.
        """
        if self._refusal and self._is_empty():
            raise TeacherFailed(FailureKind.REFUSED, f"it declines: {self._refusal[:MESSAGE_CHARS]}")
        attempt = self._attempt
        if self._is_empty() and not self._finish:
            raise unavailable("an empty answer")
        attempt.finish = finish_of(self._finish)
        message = attempt.message
        message.role = inference.ROLE_ASSISTANT
        message.content = "".join(self._content)
        message.tool_calls.extend(self._calls.made)
        if self._usage is not None:  # Where an API says nothing of it, it is estimated.
            attempt.usage.prompt_tokens = _count(self._usage.prompt_tokens)
            attempt.usage.completion_tokens = _count(self._usage.completion_tokens)
        return attempt


def _count(tokens: int | None) -> int:
    return min(max(tokens or 0, 0), MAX_TOKENS)


def said(data: bytes) -> str:
    """What the body of an error says: OpenAI's `error.message`, else its text."""
    try:
        error = _ANSWER.decode(data).error
    except msgspec.DecodeError:
        error = None
    told = error if isinstance(error, str) else error.message if error is not None else None
    return told or data.decode(errors="replace").strip() or "no reason given"
