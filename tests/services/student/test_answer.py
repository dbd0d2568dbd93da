from collections.abc import Sequence

import pytest

from services.student.answer import Answer, Piece
from services.student.engine import Delta, Finish


def decode(token_ids: Sequence[int]) -> str:
    return "".join(map(chr, token_ids))


def deltas(text: str, finish: Finish = Finish.LENGTH) -> list[Delta]:
    last = len(text) - 1
    return [Delta((ord(char),), (-float(i),), finish if i == last else Finish.GOING_ON) for i, char in enumerate(text)]


def feed(answer: Answer, deltas: Sequence[Delta]) -> list[Piece]:
    pieces: list[Piece] = []
    for delta in deltas:
        if piece := answer.feed(delta):
            pieces.append(piece)
            if piece.finish:
                break
    return pieces


def test_a_stream_sends_each_text_with_its_logprobs_and_the_count_so_far() -> None:
    assert feed(Answer(decode, (), stream=True), deltas("ab")) == [
        Piece("a", (0.0,), Finish.GOING_ON, 1),
        Piece("b", (-1.0,), Finish.LENGTH, 2),
    ]


@pytest.mark.parametrize("stream", [True, False])
def test_the_text_of_an_encoder_is_taken_as_it_is(stream: bool) -> None:
    whole = Delta((0, 1), (-0.5, -0.25), Finish.STOP, text='{"city":"Boise"}')
    assert feed(Answer(decode, ("}",), stream), [whole]) == [Piece('{"city":"Boise"', (-0.5, -0.25), Finish.STOP, 2)]
    assert feed(Answer(decode, (), stream), [whole]) == [Piece('{"city":"Boise"}', (-0.5, -0.25), Finish.STOP, 2)]


def test_without_a_stream_there_is_one_piece_with_everything() -> None:
    assert feed(Answer(decode, (), stream=False), deltas("abc")) == [Piece("abc", (0.0, -1.0, -2.0), Finish.LENGTH, 3)]


@pytest.mark.parametrize("stream", [True, False])
def test_a_stop_text_ends_the_answer_and_is_not_in_it(stream: bool) -> None:
    pieces = feed(Answer(decode, ("##",), stream), deltas("ab##cd"))
    assert "".join(piece.text for piece in pieces) == "ab"
    assert pieces[-1].finish is Finish.STOP
    assert pieces[-1].completion_tokens == sum(len(piece.logprobs) for piece in pieces) == 4


@pytest.mark.parametrize("stream", [True, False])
def test_half_a_stop_text_at_the_end_is_text(stream: bool) -> None:
    pieces = feed(Answer(decode, ("##",), stream), deltas("ab#", Finish.STOP))
    assert "".join(piece.text for piece in pieces) == "ab#"
    assert pieces[-1].finish is Finish.STOP


def test_a_stop_text_in_the_last_delta_makes_the_finish_a_stop() -> None:
    assert feed(Answer(decode, ("b",), stream=False), deltas("ab"))[-1].finish is Finish.STOP


def test_a_cancelled_answer_keeps_what_it_had() -> None:
    answer = Answer(decode, (), stream=False)
    assert answer.feed(Delta((97,), (-0.5,))) is None
    assert answer.feed(Delta(finish=Finish.CANCELLED)) == Piece("a", (-0.5,), Finish.CANCELLED, 1)
