"""Plain contestants of benchmarks.student_quality for labels: linear models, and the commonest label.

One linear model is on TF-IDF of words and letters, one on what the untuned encoder makes of a text: the mean of its
last states, which is as far as it goes untuned.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import StandardScaler
from transformers import AutoModel, AutoTokenizer

from benchmarks.quality_task import Answers, Splits
from training import base
from training.config import resolve

STRENGTHS: Final = (1.0, 3.0, 10.0, 30.0)  # inverse regularisation, of which cross-validation takes one
FOLDS: Final = 3
READER: Final = "minilm-classifier-cpu"
TOGETHER: Final = 32


def tf_idf(splits: Splits, seed: int, directory: Path) -> Answers:  # noqa: ARG001 - as every contestant
    """Words with pairs of them, and three to five letters within words."""
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    letters = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5), min_df=2, sublinear_tf=True)
    model = GridSearchCV(
        make_pipeline(make_union(words, letters), LogisticRegression(max_iter=1000, random_state=seed)),
        {"logisticregression__C": STRENGTHS},
        cv=KFold(FOLDS, shuffle=True, random_state=seed),
    )
    model.fit([one.text for one in splits.train], [one.answer for one in splits.train])
    said: list[str] = model.predict([one.text for one in splits.golden]).tolist()
    return said


def commonest(splits: Splits, seed: int, directory: Path) -> Answers:  # noqa: ARG001 - as every contestant
    """What the most examples have."""
    (label, _), *_ = Counter(one.answer for one in splits.train).most_common(1)
    return [label] * len(splits.golden)


def frozen(splits: Splits, seed: int, directory: Path) -> Answers:  # noqa: ARG001 - as every contestant
    """Logistic regression on what the untuned encoder makes of a text."""
    ours, theirs = (_states([one.text for one in some]) for some in (splits.train, splits.golden))
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000, random_state=seed))
    said: list[str] = model.fit(ours, [one.answer for one in splits.train]).predict(theirs).tolist()
    return said


def _states(texts: Sequence[str]) -> NDArray[np.float32]:
    """[texts, width]: the mean of the last states of each text's tokens."""
    config = resolve({"from": READER})
    source = base.fetch(config)
    tokenizer = AutoTokenizer.from_pretrained(source)
    encoder: Any = AutoModel.from_pretrained(source, dtype=torch.float32).eval()
    return np.concatenate(list(_means(encoder, tokenizer, texts, config.longest)))


@torch.inference_mode()  # type: ignore[untyped-decorator]
def _means(encoder: Any, tokenizer: Any, texts: Sequence[str], longest: int) -> Iterator[NDArray[np.float32]]:
    for at in range(0, len(texts), TOGETHER):
        some = list(texts[at : at + TOGETHER])
        given = tokenizer(some, padding=True, truncation=True, max_length=longest, return_tensors="pt")
        states, mask = encoder(**given).last_hidden_state, given.attention_mask[..., None]  # [B, T, W], [B, T, 1]
        yield ((states * mask).sum(1) / mask.sum(1)).numpy()
