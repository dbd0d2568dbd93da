"""One answer as it grows: deltas of tokens in, pieces of text out. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from services.student.engine import Delta, Finish
from services.student.text import Decode, Detokenizer, StopTexts


@dataclass(frozen=True, slots=True)
class Piece:
    """One response on the wire. `completion_tokens` counts from the beginning, `logprobs` since the last piece."""

    text: str
    logprobs: tuple[float, ...]
    finish: Finish
    completion_tokens: int


@dataclass(frozen=True, slots=True)
class Begun:
    """What an answer goes on from, as text and as the tokens that the student read of it. It is not sent again."""

    text: str = ""
    token_ids: tuple[int, ...] = ()


class Answer:
    """Decides what of the generated tokens is sent, and when."""

    def __init__(
        self,
        decode: Decode,
        stop_texts: Sequence[str],
        stream: bool,
        begun: Begun = Begun(),
    ) -> None:
        self._detokenizer = Detokenizer(decode, begun.token_ids)
        self._stop_texts = StopTexts(stop_texts, begun.text)
        self._stream = stream
        self._text = ""
        self._logprobs: list[float] = []
        self._completion_tokens = 0

    def feed(self, delta: Delta) -> Piece | None:
        """A piece if there is something to send: text of a stream, or the end. Nothing may be fed after the end."""
        self._logprobs.extend(delta.logprobs)
        self._completion_tokens += len(delta.token_ids)
        self._text += self._stop_texts.feed(self._read(delta))
        finish = Finish.STOP if self._stop_texts.found else delta.finish
        if finish and not self._stop_texts.found:
            finish = self._flush(finish)
        return self._piece(finish) if finish or (self._stream and self._text) else None

    def _read(self, delta: Delta) -> str:
        return self._detokenizer.feed(delta.token_ids) if delta.text is None else delta.text

    def _flush(self, finish: Finish) -> Finish:
        self._text += self._stop_texts.feed(self._detokenizer.flush()) + self._stop_texts.flush()
        return Finish.STOP if self._stop_texts.found else finish

    def _piece(self, finish: Finish) -> Piece:
        piece = Piece(self._text, tuple(self._logprobs), finish, self._completion_tokens)
        self._text, self._logprobs = "", []
        return piece
