"""Golden examples that stand among the rows learnt from or tuned on: found, counted, and kept out of the proof.

A snapshot keeps them apart from the beginning; this looks at the files themselves, whoever made them. Two questions
are nearly the same if their sets of shingles (five characters each, case and white space aside) overlap by `NEAR` of
both together. With different answers they are no duplicates: "12 Main St" and "13 Main St" are two examples.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet
from numpy.typing import NDArray
from sklearn.feature_extraction.text import HashingVectorizer

from training import data
from training.contract import Leaks
from training.data import Row

NEAR = 0.9
SHINGLE = 5
AT_ONCE = 256
"""Golden examples compared with all rows at a time, for the memory's sake."""
GROUPS = ("group_key", "group_digest")
"""Columns that tell whose row it is; compared where golden.parquet and the split both have one."""


def apart(dataset: Path, golden: Sequence[Row]) -> tuple[list[Row], Leaks]:
    """The golden examples that can prove something, and what of them could not. Raises ValueError if none can."""
    learnt = [row for split in ("train", "eval") for row in data.rows(dataset, split)]
    asked = {_plain(row["question"]) for row in learnt}
    same = np.array([_plain(row["question"]) in asked for row in golden], dtype=bool)
    groups = _in_learnt_groups(dataset, golden) & ~same
    near = _near(golden, learnt) & ~same & ~groups
    clean = [row for row, leaked in zip(golden, same | groups | near, strict=True) if not leaked]
    if not clean:
        raise ValueError("leaked split: every golden example stands among the rows that are learnt from, too")
    return clean, Leaks(questions=int(same.sum()), near=int(near.sum()), groups=int(groups.sum()))


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())


def _in_learnt_groups(dataset: Path, golden: Sequence[Row]) -> NDArray[np.bool_]:
    found = np.zeros(len(golden), dtype=bool)
    for column in GROUPS:
        learnt = {key for split in ("train", "eval") for key in _column(dataset / f"{split}.parquet", column) if key}
        if own := _column(dataset / "golden.parquet", column):
            found |= np.array([key in learnt for key in own], dtype=bool)
    return found


def _column(path: Path, name: str) -> list[str]:
    """The column's values; none where the file has no such column."""
    if name not in pyarrow.parquet.read_schema(path).names:
        return []
    values: list[str] = pyarrow.parquet.read_table(path, columns=[name]).column(0).to_pylist()
    return values


def _near(golden: Sequence[Row], learnt: Sequence[Row]) -> NDArray[np.bool_]:
    """Which golden questions are nearly one with the same answer."""
    found = np.zeros(len(golden), dtype=bool)
    for ours, theirs in _of_same_answer(golden, learnt):
        for start in range(0, len(ours), AT_ONCE):
            some = ours[start : start + AT_ONCE]
            questions = [golden[place]["question"] for place in some]
            found[some] = _most_alike(questions, [learnt[place]["question"] for place in theirs]) >= NEAR
    return found


def _of_same_answer(golden: Sequence[Row], learnt: Sequence[Row]) -> Iterator[tuple[list[int], list[int]]]:
    ours, theirs = _by_answer(golden, "truth"), _by_answer(learnt, "completion")
    return ((ours[answer], theirs[answer]) for answer in ours.keys() & theirs.keys())


def _by_answer(rows: Sequence[Row], column: str) -> Mapping[str, list[int]]:
    places = defaultdict(list)
    for place, row in enumerate(rows):
        places[_plain(row[column])].append(place)
    return places


def _most_alike(questions: Sequence[str], others: Sequence[str]) -> NDArray[np.float64]:
    """For each question how alike the likest of the others is, 0 to 1."""
    shingles = HashingVectorizer(
        preprocessor=_plain,
        analyzer="char",
        ngram_range=(SHINGLE, SHINGLE),
        binary=True,
        norm=None,
        alternate_sign=False,
    )
    ours, theirs = shingles.transform(questions), shingles.transform(others)
    common = (ours @ theirs.T).tocoo()
    whole = ours.getnnz(axis=1)[common.row] + theirs.getnnz(axis=1)[common.col] - common.data
    likest = np.zeros(len(questions))
    np.maximum.at(likest, common.row, common.data / whole)
    return likest
