"""From token ids to text, piece by piece. Pure."""

from collections.abc import Callable, Sequence

Decode = Callable[[Sequence[int]], str]
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


class Detokenizer:
    """Turns a growing list of token ids into pieces of text that together are the text of all of them.

    A character may be spread over several tokens, and a token's text may depend on the one before it. So each piece
    is the difference between two decodings that start a few tokens back, and is held while it ends within a character.
    """

    def __init__(self, decode: Decode) -> None:
        self._decode = decode
        self._token_ids: list[int] = []
        self._window = 0  # where both decodings start
        self._given = 0  # tokens whose text was given out

    def feed(self, token_ids: Sequence[int]) -> str:
        """The whole characters that these tokens complete; may be empty."""
        self._token_ids.extend(token_ids)
        new = self._new_text()
        if not new or new.endswith(REPLACEMENT):
            return ""
        self._window, self._given = self._given, len(self._token_ids)
        return new

    def flush(self) -> str:
        """The rest, where the last token left a character unfinished."""
        return self._new_text()

    def _new_text(self) -> str:
        before = self._decode(self._token_ids[self._window : self._given])
        return self._decode(self._token_ids[self._window :])[len(before) :]


class StopTexts:
    """Lets text through up to the first stop text, and holds what may be the beginning of one."""

    def __init__(self, stop_texts: Sequence[str]) -> None:
        self._stop_texts = tuple(stop_texts)
        self._held = ""
        self.found = False

    def feed(self, text: str) -> str:
        """The text that is certainly before any stop text. Once `found`, there is no more."""
        self._held += text
        starts = [at for at in (self._held.find(stop) for stop in self._stop_texts) if at >= 0]
        if starts:
            self.found = True
            return self._held[: min(starts)]
        keep = max((_overlap(self._held, stop) for stop in self._stop_texts), default=0)
        cut = len(self._held) - keep
        free, self._held = self._held[:cut], self._held[cut:]
        return free

    def flush(self) -> str:
        """What was held, where no stop text came of it."""
        return "" if self.found else self._held


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of `text` that `stop` begins with."""
    return next((n for n in range(min(len(text), len(stop) - 1), 0, -1) if text.endswith(stop[:n])), 0)
