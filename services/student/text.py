"""From token ids to text, piece by piece. Pure."""

from collections.abc import Callable, Sequence

Decode = Callable[[Sequence[int]], str]
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


class Detokenizer:
    """Turns a growing list of token ids into pieces of text that together are the text of all of them.

    A character may be spread over several tokens, and a token's text may depend on the one before it. So each piece
    is the difference between two decodings that start a few tokens back, and is held while it ends within a character.
    """

    def __init__(self, decode: Decode, before: Sequence[int] = ()) -> None:
        """`before` are tokens that those to come stand behind, whose text was given out."""
        self._decode = decode
        self._token_ids = list(before)
        self._window = 0  # where both decodings start
        self._given = len(before)  # tokens whose text was given out

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

    def __init__(self, stop_texts: Sequence[str], before: str = "") -> None:
        """`before` stands before what comes, and was let through: a stop text may have begun in it."""
        self._stop_texts = tuple(stop_texts)
        self._passed = self._overlap(before)  # characters of `_held` that were let through
        self._held = before[len(before) - self._passed :]
        self.found = False

    def feed(self, text: str) -> str:
        """The text that is certainly before any stop text. Once `found`, there is no more."""
        return self._new(self._free(text))

    def _free(self, text: str) -> str:
        self._held += text
        starts = [at for at in (self._held.find(stop) for stop in self._stop_texts) if at >= 0]
        if starts:
            self.found = True
            return self._held[: min(starts)]
        cut = len(self._held) - self._overlap(self._held)
        free, self._held = self._held[:cut], self._held[cut:]
        return free

    def flush(self) -> str:
        """What was held, where no stop text came of it."""
        return "" if self.found else self._new(self._held)

    def _new(self, text: str) -> str:
        new = text[self._passed :]
        self._passed = max(0, self._passed - len(text))
        return new

    def _overlap(self, text: str) -> int:
        """Length of the longest end of the text that a stop text begins with."""
        return max((_overlap(text, stop) for stop in self._stop_texts), default=0)


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of `text` that `stop` begins with."""
    return next((n for n in range(min(len(text), len(stop) - 1), 0, -1) if text.endswith(stop[:n])), 0)
