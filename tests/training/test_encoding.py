"""Encoders that learn: what their loss is taken on, what they leave out, and what is left of them to serve."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional

from services.encoder import encode
from services.tagging import Labels
from tests.training.tiny import example
from training import answers, data, kinds, scoring
from training.config import Config
from training.contract import AnswerKind
from training.encoding import NO_WORDS, Encoding, Text
from training.heads import UNSEEN
from training.kind import Kind
from training.tagging import NOT_THERE

LONG = Text([2, 5, 6, 7, 8, 3], [-100, 1, 0, -100, 2, -100], 1.0)
SHORT = Text([2, 9, 3], [-100, 1, -100], 1.0)
LABELLED, BRIEF = Text(LONG.ids, [1], 1.0), Text(SHORT.ids, [0], 1.0)


def row(question: str, completion: Any, **changes: Any) -> dict[str, Any]:
    made = completion if isinstance(completion, str) else json.dumps(completion)
    return {**example(0), "prompt": f"{question}\n", "completion": made, **changes}


@pytest.fixture
def tagger(tagging: Config) -> Kind:
    return kinds.kind(tagging, [example(index) for index in range(8)])


@pytest.fixture
def classifier(tagging: Config) -> Kind:
    return kinds.kind(tagging.model_copy(update={"kind": "classifier"}), [row("Oak", "tree"), row("Cat", "pet")])


def loss(kind: Kind, *texts: Text) -> float:
    torch.manual_seed(0)  # the head is drawn anew each time
    reader = kind.learner(bf16=False).eval()
    with torch.no_grad():
        return float(reader(kind.collate(texts)))


def test_the_loss_is_the_cross_entropy_of_each_words_first_token(tagger: Encoding) -> None:
    torch.manual_seed(0)
    model = tagger.learner(bf16=False).eval().model
    with torch.no_grad():
        logits = model(torch.tensor([LONG.ids])).logits[0]
    each = functional.cross_entropy(logits[[1, 2, 4]], torch.tensor([1, 0, 2]), reduction="none")
    assert loss(tagger, LONG) == pytest.approx(float(each.sum()), rel=1e-5)


def test_a_labels_loss_is_the_cross_entropy_of_the_mean_over_tokens(classifier: Encoding) -> None:
    torch.manual_seed(0)
    model = classifier.learner(bf16=False).eval().model
    with torch.no_grad():
        logits = model(torch.tensor([LONG.ids])).logits[0]
    mean = functional.cross_entropy(logits.mean(0), torch.tensor(1))
    assert loss(classifier, LABELLED) == pytest.approx(float(mean), rel=1e-5)


@pytest.mark.parametrize(("kind", "texts"), [("tagger", (LONG, SHORT)), ("classifier", (LABELLED, BRIEF))])
def test_padding_and_neighbours_change_nothing(
    kind: str, texts: tuple[Text, Text], request: pytest.FixtureRequest
) -> None:
    learner = request.getfixturevalue(kind)
    alone = sum(loss(learner, text) for text in texts)
    assert loss(learner, *texts) == pytest.approx(alone, rel=1e-4)


def test_an_example_of_no_weight_adds_no_loss(tagger: Kind) -> None:
    silent = Text(SHORT.ids, SHORT.target, 0.0)
    assert loss(tagger, LONG, silent) == pytest.approx(loss(tagger, LONG), rel=1e-5)


def test_a_word_is_learnt_at_its_first_token(tagger: Encoding) -> None:
    (text,) = tagger.examples([row("1482 Oak St", {"number": "1482", "street": "Oak St"})]).kept
    encoded = encode("1482 Oak St\n", tagger._tokenizer)
    assert text.ids == encoded.ids
    learnt = [place for place, label in enumerate(text.target) if label >= 0]
    assert learnt == encoded.firsts
    assert text.learnt == 3


def test_what_is_chosen_is_learnt_behind_the_text(tagging: Config) -> None:
    table = [row(f"{number} Oak St", {"number": str(number), "new": number > 5}) for number in range(10)]
    kind = kinds.kind(tagging, table)
    assert kind.labels is not None
    text = kind.examples(table).kept[7]
    encoded = encode("7 Oak St\n", kind._tokenizer, 1)  # type: ignore[attr-defined]
    assert text.ids == encoded.ids
    assert (text.ids[-1], text.target[-1]) == (encoded.ids[-2], kind.labels.names.index("=new:true"))
    assert text.learnt == 4


def test_what_cannot_be_learnt_is_left_out_and_counted_by_reason(tagger: Kind) -> None:
    made = tagger.examples(
        [
            row("1 Oak St", {"number": "1"}),
            row("1 Oak St", {"number": "2"}),
            row("2 Oak St", {"street": "Elm St"}),
            row(" ", {}),
            row("1 " * 130, {}),
        ]
    )
    assert len(made.kept) == 1
    assert made.left_out == {NOT_THERE: 2, NO_WORDS: 1, "longer than 126 tokens": 1}


def test_a_tagger_refuses_a_task_whose_answers_are_not_in_the_input(tagger: Kind) -> None:
    assert tagger.objection("json", [row("1 Oak St", {"number": "1"})]) == ""
    made_up = [row("1 Oak St", {"number": "1"}), *[row("2 Oak St", {"number": "3"})] * 2]
    assert "only 33% of the answers" in tagger.objection("json", made_up)
    assert "kind label" in tagger.objection("label", made_up)


def test_a_classifier_refuses_what_is_no_closed_set(tagging: Config) -> None:
    config = tagging.model_copy(update={"kind": "classifier", "most_labels": 3})
    few, many = ([row("Oak St", f"label {index % count}") for index in range(8)] for count in (3, 4))
    assert kinds.kind(config, few).objection("label", few) == ""
    assert "4 different labels" in kinds.kind(config, many).objection("label", many)
    assert "kind text" in kinds.kind(config, few).objection("text", few)


def test_a_label_that_training_has_not_is_left_out(tagging: Config) -> None:
    kind = kinds.kind(tagging.model_copy(update={"kind": "classifier"}), [row("Oak", "tree")])
    assert kind.examples([row("Elm", "tree"), row("Fir", "bird")]).left_out == {UNSEEN: 1}


@pytest.fixture(scope="module")
def served(
    tiny_encoder: Path, dataset: Path, labelled: Path, both: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Folders of trained and exported students, made by a program of its own that brings the exporter's warnings."""
    output = tmp_path_factory.mktemp("served")
    command = [
        sys.executable,
        "-m",
        "tests.training.serve_encoders",
        *map(str, (tiny_encoder, dataset, labelled, both, output)),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return output


@pytest.mark.contract
@pytest.mark.parametrize("name", ["tagger", "tagger-int8", "chooser", "classifier"])
def test_what_was_learnt_is_what_its_engine_answers(
    name: str, served: Path, dataset: Path, labelled: Path, both: Path
) -> None:
    table = data.rows({"classifier": labelled, "chooser": both}.get(name, dataset), "train")
    told: list[int] = []
    engine = answers.engine("encoder", served / name, max_tokens=1 if name == "classifier" else 24)
    said = engine.answers([row["prompt"] for row in table], told.append)
    kind: AnswerKind = "label" if name == "classifier" else "json"
    right = [scoring.right(kind, row["completion"], one.text) for one, row in zip(said, table, strict=True)]
    assert sum(right) > 0.9 * len(right)
    assert all(one.confidence <= 0 and not one.cut for one in said)
    assert {one.completion_tokens for one in said} == ({1} if name == "classifier" else {4})
    assert told[-1] == len(table)


@pytest.mark.contract
def test_what_is_exported_says_how_it_is_served(served: Path) -> None:
    exported = served / "classifier" / "triton"
    student = json.loads((exported / "student.json").read_text())
    assert (student["engine"], student["max_tokens"]) == ("encoder", 24)
    assert Labels.model_validate_json((exported / "labels.json").read_bytes()).names == (
        "avenue",
        "court",
        "road",
        "street",
    )
