"""Strata: which sort of example an exchange is, so that none is drowned by the others. Pure.

A stratum is named by the request's tag, or by the answer's structure: the label itself, the keys of a JSON object, the
length of a text.
"""

import json
from typing import Final, Literal

Rule = Literal["answer", "kind", "none"]
AnswerKind = Literal["json", "label", "text"]
LONGEST_NAME: Final = 64
UNREADABLE: Final = "not JSON"


def stratum(rule: Rule, answers: AnswerKind, kind: str, answer: str) -> str:
    """The stratum's name, of 64 characters at most; '' where the rule makes none."""
    if rule == "none":
        return ""
    return (kind if rule == "kind" else _shape(answers, answer))[:LONGEST_NAME]


def _shape(answers: AnswerKind, answer: str) -> str:
    if answers == "label":
        return answer.strip()
    return _keys(answer) if answers == "json" else _length(answer)


def _keys(answer: str) -> str:
    """The keys of an object in the order of the alphabet; another value by its type."""
    try:
        value = json.loads(answer)
    except (ValueError, RecursionError):
        return UNREADABLE
    return "+".join(sorted(value)) if isinstance(value, dict) else type(value).__name__


def _length(answer: str) -> str:
    """The length in words, by powers of two."""
    return f"below {1 << len(answer.split()).bit_length()} words"
