"""Golden examples that stand among the rows learnt from or tuned on: found, counted, and kept out of the proof.

A snapshot keeps them apart from the beginning; this looks at the files themselves, whoever made them. Two questions
are nearly the same if their sets of shingles (five characters each, case and white space aside) overlap by `NEAR` of
both together. Labels and JSON must mean the same, too, the truth or what the teacher makes of the golden question:
"12 Main St" and "13 Main St" are two examples. Of free texts the questions alone decide, as hardly ever two answers are
the same. A task that has long questions of one template may ask for more than `NEAR`; its dataset's manifest says so.
"""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import HashingVectorizer

from training import data, manifest
from training.contract import AnswerKind, Leaks
from training.data import Row

NEAR = 0.9
SHINGLE = 5
AT_ONCE = 256
LEARNT_AT_ONCE = 20_000
"""Golden examples and rows compared at a time, for the memory's sake."""
GROUPS = ("group_key", "group_digest")
"""Columns that tell whose row it is; compared where golden.parquet and the split both have one."""


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())


SHINGLES = HashingVectorizer(
    preprocessor=_plain,
    analyzer="char",
    ngram_range=(SHINGLE, SHINGLE),
    binary=True,
    norm=None,
    alternate_sign=False,
)


def apart(dataset: Path, golden: Sequence[Row], kind: AnswerKind) -> tuple[list[Row], Leaks]:
    """The golden examples that can prove something, and what of them could not. Raises ValueError if none can."""
    learnt = [row for split in ("train", "eval") for row in data.rows(dataset, split)]
    asked = {_plain(row["question"]) for row in learnt}
    same = np.array([_plain(row["question"]) in asked for row in golden], dtype=bool)
    groups = _in_learnt_groups(dataset, golden) & ~same
    near = _near(golden, learnt, kind, _similarity(dataset)) & ~same & ~groups
    clean = [row for row, leaked in zip(golden, same | groups | near, strict=True) if not leaked]
    if not clean:
        raise ValueError("leaked split: every golden example stands among the rows that are learnt from, too")
    return clean, Leaks(questions=int(same.sum()), near=int(near.sum()), groups=int(groups.sum()))


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


def _similarity(dataset: Path) -> float:
    told = manifest.read(dataset)
    return max(NEAR, told.split_proof.similarity) if told and told.split_proof else NEAR


def _near(golden: Sequence[Row], learnt: Sequence[Row], kind: AnswerKind, similarity: float) -> NDArray[np.bool_]:
    """Which golden questions are nearly one that is learnt, with the same answer where answers tell questions apart."""
    found = np.zeros(len(golden), dtype=bool)
    for ours, theirs in _to_compare(golden, learnt, kind):
        asked = SHINGLES.transform([golden[place]["question"] for place in ours])
        for start in range(0, len(theirs), LEARNT_AT_ONCE):
            some = SHINGLES.transform([learnt[place]["question"] for place in theirs[start : start + LEARNT_AT_ONCE]])
            found[ours] |= _likest(asked, some) >= similarity
    return found


def _to_compare(
    golden: Sequence[Row], learnt: Sequence[Row], kind: AnswerKind
) -> Iterator[tuple[Sequence[int], Sequence[int]]]:
    """Places in both of what may be nearly the same."""
    if kind == "text":
        yield range(len(golden)), range(len(learnt))
        return
    ours, theirs = _by_answer(golden, "truth", "teacher_answer"), _by_answer(learnt, "completion")
    yield from ((ours[answer], theirs[answer]) for answer in ours.keys() & theirs.keys())


def _by_answer(rows: Sequence[Row], *columns: str) -> Mapping[str, list[int]]:
    places = defaultdict(list)
    for place, row in enumerate(rows):
        for answer in {_plain(_by_value(row[column])) for column in columns}:
            places[answer].append(place)
    return places


def _by_value(answer: str) -> str:
    """JSON without regard to the order of its keys and its spaces."""
    try:
        return json.dumps(json.loads(answer), sort_keys=True, ensure_ascii=False)
    except (ValueError, RecursionError):
        return answer


def _likest(questions: csr_matrix, others: csr_matrix) -> NDArray[np.float64]:
    """For each question's shingles how alike the likest of the others is, 0 to 1."""
    likest = np.zeros(questions.shape[0])
    for start in range(0, len(likest), AT_ONCE):
        some = questions[start : start + AT_ONCE]
        common = (some @ others.T).tocoo()
        whole = some.getnnz(axis=1)[common.row] + others.getnnz(axis=1)[common.col] - common.data
        np.maximum.at(likest, start + common.row, common.data / whole)
    return likest
