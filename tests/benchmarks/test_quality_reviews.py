import pytest

from benchmarks import quality_reviews as reviews

LINES = "1_1\t-0.9\tno picture\n1_2\t0.15\tit came in a box\n2_1\t3.2\tI love it\n"


def test_a_line_is_an_id_a_mean_rating_and_a_sentence() -> None:
    found = list(reviews.rated(LINES, "products"))
    assert [(one.text, one.answer) for one in found] == [
        ("no picture", "negative"),
        ("it came in a box", "neutral"),
        ("I love it", "positive"),
    ]


def test_the_sentences_of_one_review_are_one_group() -> None:
    groups = [one.group for one in reviews.rated(LINES, "products")]
    assert groups == ["products 1", "products 1", "products 2"]


def test_the_same_number_in_another_file_is_another_group() -> None:
    (film,) = reviews.rated("1\t2.0\tA film\n", "films")
    (product,) = reviews.rated("1_1\t2.0\tA thing\n", "products")
    assert film.group != product.group


@pytest.mark.parametrize(
    ("score", "label"), [(0.5, "positive"), (0.49, "neutral"), (-0.49, "neutral"), (-0.5, "negative")]
)
def test_the_limit_itself_is_felt(score: float, label: str) -> None:
    assert reviews.label(score, 0.5) == label
