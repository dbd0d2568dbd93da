from training.confusion import MOST, WHOLE, matrix
from training.contract import Confused
from training.labels import MOST_CONFUSED


def test_rows_are_what_is_right_and_answers_that_are_no_label_stand_last() -> None:
    cells = [Confused(truth="b", answer="b", n=9), Confused(truth="a", answer="Sorry", n=2)]
    found = matrix(cells)
    assert found is not None
    assert found.answers == ["a", "b", "Sorry"]
    assert found.rows == {"a": {"a": 0, "b": 0, "Sorry": 2}, "b": {"a": 0, "b": 9, "Sorry": 0}}


def test_what_nobody_takes_in_or_may_have_been_cut_is_no_matrix() -> None:
    many = [Confused(truth=str(number), answer=str(number), n=1) for number in range(MOST + 1)]
    assert matrix(many) is None
    assert matrix([Confused(truth="a", answer="b", n=1)] * WHOLE) is None
    assert matrix([]) is None


def test_the_list_that_may_be_cut_is_as_long_as_a_report_holds() -> None:
    assert MOST_CONFUSED == WHOLE
