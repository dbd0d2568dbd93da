"""How calls ended is counted by who answered and by the kind of the error."""

from protos import inference_pb2 as inference
from services.cli.ends import Ends
from services.client import Answer


def ended(*answers: Answer) -> Ends:
    ends = Ends()
    for answer in answers:
        ends.add(answer)
    return ends


def answer(by: inference.Backend) -> Answer:
    return Answer(inference.Request(), inference.Reply(answered_by=by))


def failure(status: str) -> Answer:
    return Answer(inference.Request(), None, status)


def test_who_answered_is_said_in_a_word() -> None:
    ends = ended(*[answer(inference.BACKEND_TEACHER)] * 2, answer(inference.BACKEND_STUDENT))
    assert (ends.answered, list(ends.lines())) == (3, ["       2  teacher", "       1  student"])


def test_errors_that_differ_in_figures_alone_are_one_kind_shown_with_the_first() -> None:
    late = [failure(f"DEADLINE_EXCEEDED: no answer within the deadline of {s:.2f} s") for s in (4.85, 4.86, 4.9)]
    ends = ended(*late, failure("UNAVAILABLE: the teacher is away"))
    assert ends.answered == 0
    assert list(ends.lines()) == [
        "       3  DEADLINE_EXCEEDED: no answer within the deadline of N s",
        "          for example: DEADLINE_EXCEEDED: no answer within the deadline of 4.85 s",
        "       1  UNAVAILABLE: the teacher is away",
    ]
