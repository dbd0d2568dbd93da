"""The ratings of benchmarks.student_quality: sentences of reviews, and how twenty people felt about each.

From the source distribution of vaderSentiment 3.3.2 (MIT licence), which holds the data of Hutto and Gilbert, "VADER: A
Parsimonious Rule-based Model for Sentiment Analysis of Social Media Text", 2014: 3,708 sentences of product reviews and
10,605 of film reviews, with the mean of people's ratings from -4 to 4. The answer is positive from a mean of 0.5 on,
negative to -0.5, neutral between. The sentences of one product review are a group; which film review a sentence is from
is not told, so each is its own.

VADER is the analyser that the data was made to test. Its authors' limits, a compound score of 0.05 either way, know
nothing of ours; so it stands here with those, and with the two limits that part the training split best.
"""

import io
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from sklearn.tree import DecisionTreeClassifier

from benchmarks.quality_linear import commonest, frozen, tf_idf
from benchmarks.quality_neighbours import asked
from benchmarks.quality_reading import first_label
from benchmarks.quality_task import Answers, Example, Splits, Task
from deploy.demo.archive import Source, fetched

VERSION: Final = "3.3.2"
SOURCE: Final = Source(
    "vaderSentiment",
    VERSION,
    f"vaderSentiment-{VERSION}.tar.gz",
    "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9",
)
INSIDE: Final = f"vaderSentiment-{VERSION}/additional_resources/hutto_ICWSM_2014.tar.gz"
FILES: Final = {"products": "amazonReviewSnippets", "films": "movieReviewSnippets"}
LABELS: Final = ("negative", "neutral", "positive")
FELT: Final = 0.5
"""A mean rating from which on people are said to feel something: half a step of their scale."""
COMPOUND: Final = 0.05


def examples(cache_dir: Path) -> list[Example]:
    """All sentences; one that comes twice counts once."""
    with tarfile.open(fetched(SOURCE, cache_dir)) as outer:
        inner = io.BytesIO(_read(outer, INSIDE))
    with tarfile.open(fileobj=inner) as archive:
        texts = {kind: _read(archive, f"hutto_ICWSM_2014/{name}_GroundTruth.txt") for kind, name in FILES.items()}
    found = [one for kind, text in texts.items() for one in rated(text.decode("utf-8-sig"), kind)]
    return list({one.text: one for one in found}.values())


def rated(text: str, kind: str) -> Iterator[Example]:
    """The lines of a file: an id, the mean rating, the sentence."""
    for line in text.splitlines():
        number, rating, sentence = line.split("\t", 2)
        review = number.split("_")[0] if "_" in number else number
        yield Example(sentence.strip(), label(float(rating), FELT), f"{kind} {review}", kind)


def label(score: float, limit: float) -> str:
    """What a score amounts to, with the same limit either way."""
    return "positive" if score >= limit else "negative" if score <= -limit else "neutral"


def vader(splits: Splits, seed: int, directory: Path) -> Answers:  # noqa: ARG001 - it learns nothing
    """The analyser with its authors' limits."""
    return [label(score, COMPOUND) for score in asked("vader", [one.text for one in splits.golden], directory)]


def vader_fitted(splits: Splits, seed: int, directory: Path) -> Answers:
    """Its score with limits learnt: a tree of three leaves."""
    ours, theirs = (_scores(some, directory) for some in (splits.train, splits.golden))
    tree = DecisionTreeClassifier(max_leaf_nodes=len(LABELS), random_state=seed)
    said: list[str] = tree.fit(ours, [one.answer for one in splits.train]).predict(theirs).tolist()
    return said


def _scores(some: Sequence[Example], directory: Path) -> NDArray[np.float64]:
    return np.array(asked("vader", [one.text for one in some], directory), dtype=np.float64).reshape(-1, 1)


def _read(archive: tarfile.TarFile, name: str) -> bytes:
    file = archive.extractfile(name)
    if file is None:
        raise ValueError(f"the archive holds no {name}")
    return file.read()


REVIEWS: Final = Task(
    name="reviews",
    answer_kind="label",
    config="minilm-classifier-cpu",
    max_tokens=8,
    examples=examples,
    right=lambda one, answer: one.answer == answer.strip(),
    instruction="The user's message is a sentence from a review. Answer with one word, how people who read it find its "
    "feeling: positive, neutral or negative.",
    read=lambda _, said: first_label(LABELS, said),
    shots=6,
    learners={
        "commonest": commonest,
        "TF-IDF + linear": tf_idf,
        "untuned encoder + linear": frozen,
        "VADER, limits fitted": vader_fitted,
    },
    fixed={"VADER": vader},
)
