"""What others' parsers say, in an environment of their own (`quality.txt`): `quality_others.py usaddress|vader`.

Texts come in as one JSON list, what is said of them goes out as another: usaddress' (word, label) pairs, VADER's
compound score from -1 to 1.
"""

import json
import sys
from importlib import import_module
from typing import Any


def main() -> None:
    """Read, ask, write."""
    texts: list[str] = json.load(sys.stdin)
    said: list[Any]
    if sys.argv[1] == "usaddress":
        parser = import_module("usaddress")
        said = [parser.parse(text) for text in texts]
    else:
        analyser = import_module("vaderSentiment.vaderSentiment").SentimentIntensityAnalyzer()
        said = [analyser.polarity_scores(text)["compound"] for text in texts]
    json.dump(said, sys.stdout)


if __name__ == "__main__":
    main()
