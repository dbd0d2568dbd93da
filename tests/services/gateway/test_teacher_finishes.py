"""The words for an answer's end."""

import pytest

from protos import inference_pb2 as inference
from services.gateway import ends
from services.gateway.teacher_finishes import finish_of, says_failure


@pytest.mark.parametrize(
    ("words", "finish"),
    [
        (("stop", "eos", "eos_token", "stop_sequence", "end_turn", "STOP", "COMPLETE"), inference.FINISH_STOP),
        (("length", "max_tokens", "MAX_TOKENS", "model_length"), inference.FINISH_LENGTH),
        (("tool_calls", "function_call", "tool_use", "TOOL_CALL"), inference.FINISH_TOOL_CALLS),
        (("content_filter", "refusal", "SAFETY", "sensitive"), inference.FINISH_CONTENT_FILTER),
    ],
)
def test_each_vendors_word_means_the_same(words: tuple[str, ...], finish: inference.Finish) -> None:
    assert {finish_of(word) for word in words} == {finish}
    assert not any(map(says_failure, words))


@pytest.mark.parametrize("word", ["", "unknown", "null", "other", "error", "insufficient_system_resource", "abort"])
def test_no_other_word_makes_an_answer_complete(word: str) -> None:
    assert ends.of_answer(finish_of(word)) == inference.END_TRUNCATED


def test_a_breakdown_is_told_from_an_end() -> None:
    assert [says_failure(word) for word in ("error", "ERROR", "insufficient_system_resource", "unknown", "")] == [
        True,
        True,
        True,
        False,
        False,
    ]
