"""Which answers are doubted: planted mistakes are found, and what people said is believed."""

import json
import random
from typing import Any

import pytest

from training import doubts, scoring
from training.linear import Linear, Tagger, of_pieces, of_text
from training.sheets import sheets

STREETS = ("Oak Lane", "Elm Street", "North Road", "Mill Hill")
CITIES = ("Marion", "Evanston", "Soldotna", "Ely")
TOPICS = {"billing": ("invoice", "refund", "charge"), "bug": ("crash", "error", "freeze"), "praise": ("love", "great")}


def row(question: str, answer: str, *, corrected: bool = False) -> dict[str, Any]:
    return {"prompt": question, "question": question, "completion": answer, "corrected": corrected}


def labelled(count: int, wrong: set[int]) -> list[dict[str, Any]]:
    """Tickets with their topics; those of `wrong` have another one."""
    draw, made = random.Random(3), []
    for place in range(count):
        topic = draw.choice(sorted(TOPICS))
        other = draw.choice([other for other in sorted(TOPICS) if other != topic])
        said = other if place in wrong else topic
        made.append(row(f"The {draw.choice(TOPICS[topic])} number {draw.randrange(10**6)} of today", said))
    return made


def extracted(count: int, wrong: set[int]) -> list[dict[str, Any]]:
    """Addresses with their fields; in those of `wrong` two are taken for one another."""
    draw, made = random.Random(3), []
    for place in range(count):
        number, street, city = str(draw.randrange(1, 9999)), draw.choice(STREETS), draw.choice(CITIES)
        fields = {"number": number, "street": street, "city": city}
        if place in wrong:
            fields |= {"street": city, "city": street}
        made.append(row(f"{number} {street}, {city}", json.dumps(fields)))
    return made


def mixed(count: int, wrong: set[int]) -> list[dict[str, Any]]:
    """Tickets with a number that stands in them and a topic that does not; those of `wrong` have another topic."""
    made = []
    for one in labelled(count, wrong):
        number = next(word for word in one["prompt"].split() if word.isdigit())
        made.append(row(one["prompt"], json.dumps({"number": number, "topic": one["completion"]})))
    return made


@pytest.mark.parametrize("make", [labelled, extracted, mixed])
def test_planted_mistakes_are_found_and_little_else(make: Any) -> None:
    wrong = set(range(0, 400, 10))
    found = doubts.doubtful(make(400, wrong))
    assert len(found & wrong) >= 32
    assert len(found - wrong) <= 1


@pytest.mark.parametrize("make", [labelled, extracted, mixed])
def test_where_nothing_is_wrong_hardly_anything_is_doubted(make: Any) -> None:
    assert len(doubts.doubtful(make(400, set()))) <= 8


def test_objects_that_are_few_different_ones_are_judged_part_by_part_all_the_same() -> None:
    """Of a city and a topic: whole, each is said too rarely for anyone to be sure of it."""
    wrong = set(range(0, 400, 10))
    table = [
        row(f"{one['prompt']} in {CITIES[n % 4]}", json.dumps({"city": CITIES[n % 4], "topic": one["completion"]}))
        for n, one in enumerate(labelled(400, wrong))
    ]
    assert len({one["completion"] for one in table}) == len(CITIES) * len(TOPICS)
    assert [len(sheet.labels) > 400 for sheet in sheets(table, set())[0]] == [True, False]
    assert len(doubts.doubtful(table) & wrong) >= 32


def test_of_a_task_that_is_too_hard_for_the_students_they_doubt_nothing() -> None:
    """What the label hangs on stands in no word, however many words they learn by heart."""
    draw = random.Random(5)
    words = [f"word{number}" for number in range(300)]
    table = [row(" ".join(draw.choices(words, k=30)), draw.choice(("good", "bad"))) for _ in range(400)]
    assert doubts.doubtful(table) == set()


def test_what_a_person_said_is_never_doubted() -> None:
    wrong = set(range(0, 400, 10))
    table = [one | {"corrected": True} for one in labelled(400, wrong)]
    assert doubts.doubtful(table) == set()


@pytest.mark.parametrize("make", [labelled, extracted, mixed])
def test_of_what_is_wrong_the_students_mostly_know_the_right_answer(make: Any) -> None:
    table, right = make(400, set(range(0, 400, 10))), make(400, set())
    found = [doubt for doubt in doubts.about(table).found if doubt.why == doubts.DOUBTED]
    knew = [scoring.right("json", right[doubt.place]["completion"], doubt.students) for doubt in found]
    assert sum(knew) >= 0.9 * len(found)
    assert all(0 < doubt.sure <= 1 for doubt in found)


@pytest.mark.parametrize("make", [labelled, extracted, mixed])
def test_what_validators_refuse_is_doubted_not_learnt_from_and_yet_answered_by_the_students(make: Any) -> None:
    table, refused = make(400, set()), {7, 30}
    right = [table[place]["completion"] for place in sorted(refused)]
    for place in refused:
        table[place] |= {"completion": '{"strange": "invented"}'}
    found = [doubt for doubt in doubts.about(table, refused).found if doubt.why == doubts.REFUSED]
    assert [doubt.place for doubt in found] == sorted(refused)
    assert all(scoring.right("json", one, doubt.students) for one, doubt in zip(right, found, strict=True))
    table[11]["corrected"] = True
    assert 11 not in {doubt.place for doubt in doubts.about(table, refused | {11}).found}


def test_without_enough_to_learn_from_what_validators_refuse_is_doubted_all_the_same() -> None:
    assert doubts.about(labelled(50, set()), {3}).found == [doubts.Doubt(3, doubts.REFUSED)]


@pytest.mark.parametrize(
    "table",
    [
        [],
        labelled(50, {3}),
        [row(f"question {n}", "always") for n in range(200)],
        [row(f"question {n}", f"a free text about {n}") for n in range(300)],
    ],
)
def test_too_few_one_answer_alone_or_free_texts_are_not_judged(table: list[dict[str, Any]]) -> None:
    assert doubts.about(table) == doubts.Doubts([], judged=False)


def test_beside_a_free_text_a_choice_is_judged_all_the_same_and_nothing_is_said_instead() -> None:
    wrong = set(range(0, 400, 10))
    table = mixed(400, wrong)
    for nth, one in enumerate(table):
        one["completion"] = json.dumps(json.loads(one["completion"]) | {"why": f"reason {nth} of our own"})
    found = doubts.about(table).found
    assert len({doubt.place for doubt in found} & wrong) >= 32
    assert {doubt.students for doubt in found} == {""}


@pytest.mark.parametrize("make", [extracted, mixed])
def test_a_linear_tagger_learns_a_simple_language(make: Any) -> None:
    learnt, asked = make(300, set()), make(320, set())[300:]
    tagger = Tagger().fit([one["prompt"] for one in learnt], [one["completion"] for one in learnt], [1.0] * 300)
    said = tagger.answer([one["prompt"] for one in asked])
    assert [json.loads(answer) for answer in said] == [json.loads(one["completion"]) for one in asked]


def test_a_weight_of_nothing_is_as_if_the_example_were_not_there() -> None:
    bags, labels = [of_text("red rose"), of_text("blue sea")] * 20 + [of_text("red rose")] * 60, ["r", "b"] * 20
    model = Linear().fit(bags, labels + ["b"] * 60, [1.0] * 40 + [0.0] * 60)
    assert model.best([of_text("red rose")]) == ["r"]


def test_an_empty_text_has_no_pieces_and_still_a_bag() -> None:
    assert of_pieces("") == []
    assert of_text("") != []
