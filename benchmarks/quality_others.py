"""What others' parsers say, in an environment of their own (`quality.txt`): `quality_others.py usaddress|refit|vader`.

A JSON object comes in: `texts`, and for `refit`, which fits usaddress' own model anew, `learn`: a text each, the places
of its pieces, and their tags. What is said of each text goes out as a JSON list: (word, label) pairs of the parser's,
(word, tag) pairs of the one fitted anew, VADER's compound score from -1 to 1.
"""

import json
import sys
import tempfile
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

Learn = Sequence[tuple[str, Sequence[tuple[int, int]], Sequence[str]]]


def refit(learn: Learn, texts: Sequence[str]) -> list[Any]:
    """usaddress' words and features under a conditional random field with CRFsuite's defaults, as usaddress has it."""
    usaddress, crf = import_module("usaddress"), import_module("pycrfsuite")
    trainer = crf.Trainer(verbose=False)
    for text, places, tags in learn:
        if words := usaddress.tokenize(text):
            trainer.append(usaddress.tokens2features(words), of_words(text, words, places, tags))
    with tempfile.TemporaryDirectory() as scratch:
        trainer.train(str(Path(scratch) / "model"))
        tagger = crf.Tagger()
        tagger.open(str(Path(scratch) / "model"))
        asked = [usaddress.tokenize(text) for text in texts]
        return [list(zip(words, tagger.tag(usaddress.tokens2features(words)), strict=True)) for words in asked]


def of_words(text: str, words: Sequence[str], places: Sequence[tuple[int, int]], tags: Sequence[str]) -> list[str]:
    """A word's tag is that of the first of its pieces that is part of the answer."""
    found, end = [], 0
    for word in words:
        start = text.index(word, end)
        end = start + len(word)
        inside = [tag for (at, _), tag in zip(places, tags, strict=True) if start <= at < end and tag != "O"]
        found.append(inside[0] if inside else "O")
    return found


def main() -> None:
    """Read, ask, write."""
    given: dict[str, Any] = json.load(sys.stdin)
    said: list[Any]
    match sys.argv[1]:
        case "usaddress":
            parser = import_module("usaddress")
            said = [parser.parse(text) for text in given["texts"]]
        case "refit":
            said = refit(given["learn"], given["texts"])
        case _:
            analyser = import_module("vaderSentiment.vaderSentiment").SentimentIntensityAnalyzer()
            said = [analyser.polarity_scores(text)["compound"] for text in given["texts"]]
    json.dump(said, sys.stdout)


if __name__ == "__main__":
    main()
