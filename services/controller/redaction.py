"""Personal data out of what is trained on: found by a task's rule, and replaced alike wherever they stand in a row.

Cards and IBANs count only with a right checksum, phone numbers only where the numbering plan knows them. The one
importer of phonenumbers and of python-stdnum. What is replaced by a surrogate keeps its shape, so that the student goes
on seeing what it will see when it serves; by which surrogate a random key decides, which nobody keeps. However a value
is written in the question and in the answer, its surrogates are one value, too: else the student would learn to invent.
"""

import re
import secrets
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from hashlib import blake2b
from importlib import import_module
from string import ascii_lowercase, ascii_uppercase, digits
from typing import Final

import phonenumbers
from stdnum import iban, luhn

from services.controller.errors import Refused
from services.tasks import Redaction

EMAIL: Final = re.compile(r"(?<![\w.+%-])[\w.+%-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}(?![\w-])")
CARD: Final = re.compile(r"(?<!\d)(?=([2-6](?:[ -]?\d){12,18}))")
SHORTEST_CARD: Final = 13
IBAN: Final = re.compile(r"\b(?=([A-Z]{2}\d{2}(?: ?[A-Z0-9]){11,30}))", re.IGNORECASE | re.ASCII)
SHORTEST_IBAN: Final = 15
PHONE_DIGITS: Final = 10
"""The last so many are one number's, with its country's code or without."""
Found = tuple[str, str]
"""What sort of data, and the text itself."""
Recogniser = Callable[[str], Iterable[Found]]


class Redactor:
    """Redacts the rows of one snapshot by the rule of its task; a value has the same surrogate in all of them."""

    def __init__(self, rule: Redaction, key: bytes = b"") -> None:
        """Raises Refused if the rule's recogniser can't be loaded."""
        self._rule = rule
        self._key = key or secrets.token_bytes(32)
        self._patterns = {name: re.compile(pattern) for name, pattern in rule.patterns.items()}
        self._own = {*rule.kinds, *rule.patterns}
        self._recognise = _loaded(rule.recogniser) if rule.recogniser else None

    def redacted(self, texts: Mapping[str, str], counts: Counter[str] | None = None) -> dict[str, str]:
        """The texts with every value that was found in any of them replaced in all; `counts`: how many, by sort."""
        if not self._rule.active:
            return dict(texts)
        found = dict.fromkeys(one for text in texts.values() for one in self.found(text))
        if counts is not None:
            counts.update(sort for sort, _ in found)
        # The longest first: a value may be part of another one.
        told = dict(texts)
        for sort, value in sorted(found, key=lambda one: -len(one[1])):
            told = _replaced(told, value, self._stand_in(sort, value), whole=sort not in self._own)
        return told

    def found(self, text: str) -> Iterator[Found]:
        """The personal data in a text."""
        for kind in self._rule.kinds:
            yield from ((kind, value) for value in FINDERS[kind](text, self._rule.phone_regions))
        for name, pattern in self._patterns.items():
            yield from ((name, match.group()) for match in pattern.finditer(text) if match.group())
        if self._recognise:
            yield from self._recognise(text)

    def _stand_in(self, sort: str, text: str) -> str:
        if self._rule.replace_by == "mark":
            return f"[{sort.upper()}]"
        stream = blake2b(_alike(sort, text).encode("utf-8", "surrogatepass"), key=self._key).digest()
        return _reshaped(text, stream)


def _alike(sort: str, text: str) -> str:
    """The same for all spellings of a value: its letters and digits, whatever stands between them."""
    signs = "".join(letter for letter in text.casefold() if letter.isalnum())
    return "".join(filter(str.isdigit, signs))[-PHONE_DIGITS:] if sort == "phone" else signs


def _reshaped(text: str, stream: bytes) -> str:
    """Another value of that shape. Counted from the end, as a country's code stands before a number."""
    made = []
    place = 0
    for letter in reversed(text):
        made.append(_letter(letter, stream[place % len(stream)] + place))
        place += letter.isalnum()
    return "".join(reversed(made))


def _emails(text: str, _regions: Iterable[str]) -> Iterator[str]:
    return (match.group() for match in EMAIL.finditer(text))


def _cards(text: str, _regions: Iterable[str]) -> Iterator[str]:
    for match in CARD.finditer(text):
        yield from _longest(text, match.start(), match.group(1), SHORTEST_CARD, _is_card)


def _ibans(text: str, _regions: Iterable[str]) -> Iterator[str]:
    for match in IBAN.finditer(text):
        yield from _longest(text, match.start(), match.group(1), SHORTEST_IBAN, _is_iban)


def _longest(text: str, start: int, run: str, shortest: int, is_one: Callable[[str], bool]) -> Iterator[str]:
    """The longest beginning of a run that is what is looked for and that no letter or digit goes on: others may."""
    for end in range(len(run), shortest - 1, -1):
        if not text[start + end : start + end + 1].isalnum() and is_one(run[:end]):
            yield run[:end]
            return


def _is_card(run: str) -> bool:
    return run[-1].isdigit() and bool(luhn.is_valid(re.sub("[ -]", "", run)))


def _is_iban(run: str) -> bool:
    """By its length and its check digits; what a country's banks make of the rest is no matter here."""
    return bool(iban.is_valid(run, check_country=False))


def _phones(text: str, regions: Iterable[str]) -> Iterator[str]:
    found = (match.raw_string for region in regions for match in phonenumbers.PhoneNumberMatcher(text, region))
    return iter(dict.fromkeys(found))


FINDERS: Final[Mapping[str, Callable[[str, Iterable[str]], Iterator[str]]]] = {
    "email": _emails,
    "card": _cards,
    "iban": _ibans,
    "phone": _phones,
}


def _letter(letter: str, number: int) -> str:
    """Another one of its sort: a digit for a digit, a letter of the same case for a letter."""
    for alphabet in (digits, ascii_lowercase, ascii_uppercase):
        if letter in alphabet:
            return alphabet[number % len(alphabet)]
    return ascii_lowercase[number % len(ascii_lowercase)] if letter.isalpha() else letter


def _replaced(texts: Mapping[str, str], value: str, stand_in: str, *, whole: bool) -> dict[str, str]:
    """`whole`: a name, which is no part of a longer word, unless it stands in such alone: "Ann", not "Annual"."""
    if whole and value:
        pattern = re.compile(re.escape(value))
        if any(_is_whole(match) for text in texts.values() for match in pattern.finditer(text)):
            return {
                name: pattern.sub(lambda match: stand_in if _is_whole(match) else match.group(), text)
                for name, text in texts.items()
            }
    return {name: text.replace(value, stand_in) for name, text in texts.items()} if value else dict(texts)


def _is_whole(match: re.Match[str]) -> bool:
    """Letters without case go on no word: where scripts have none, words have no space between them, or prefixes."""
    around = match.string[max(0, match.start() - 1) : match.start()], match.string[match.end() : match.end() + 1]
    return not any(letter.isdigit() or letter.lower() != letter.upper() for letter in around)


def _loaded(name: str) -> Recogniser:
    module, _, function = name.partition(":")
    try:
        loaded: Recogniser = getattr(import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise Refused(f"redaction.recogniser: {name} can't be loaded: {error}") from error
    return loaded
