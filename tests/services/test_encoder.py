"""The encoder itself, a tiny one with random weights under OpenVINO."""

import json
import math
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from services.encoder import Encoder, encode
from tests.fixtures.tiny_encoder import make_tokenizer

pytestmark = pytest.mark.contract
TEXTS = ["the house", "in the street of the city, 7 miles on", "a river"]


@pytest.fixture(scope="module")
def encoder(tiny_tagger: Path) -> Encoder:
    return Encoder(tiny_tagger)


def test_an_answer_is_the_same_alone_and_among_others(encoder: Encoder) -> None:
    together = encoder.read(TEXTS, [64] * 3)
    alone = [encoder.read([text], [64])[0] for text in TEXTS]
    assert [read.text for read in together] == [read.text for read in alone]
    for one, other in zip(together, alone, strict=True):
        assert one.logprobs == pytest.approx(other.logprobs, abs=1e-4)


def test_there_is_a_logprob_for_each_word_of_the_answer_and_one_for_the_rest(encoder: Encoder) -> None:
    (read,) = encoder.read(["the house, by the river"], [64])
    assert len(read.logprobs) == 6 + 1
    assert read.logprobs[-1] == 0.0  # this one leaves no word out
    assert all(logprob <= 0 for logprob in read.logprobs)
    words = " ".join(json.loads(read.text).values()).replace(",", " ,").split()
    assert sorted(words) == sorted([",", "by", "house", "river", "the", "the"])


def test_an_answer_is_cut_at_the_limit(encoder: Encoder) -> None:
    whole, cut = encoder.read(["the house by the river"] * 2, [6, 3])
    assert not whole.cut
    assert cut.cut
    assert cut.logprobs == whole.logprobs[:3]
    assert len(" ".join(json.loads(cut.text).values()).split()) == 3


def test_a_text_that_is_too_long_has_no_answer_and_the_others_have_theirs(encoder: Encoder) -> None:
    long, short = encoder.read(["house " * 125, "house"], [64, 64])
    assert (long.text, long.logprobs, long.cut) == ("", (), True)
    assert json.loads(short.text)
    assert encoder.read(["house " * 124], [200])[0].text  # as long as may be: 126 tokens with the special ones


def test_a_text_without_words_has_an_empty_answer(encoder: Encoder) -> None:
    (read,) = encoder.read([" \n"], [64])
    assert (read.text, read.logprobs) == ("{}", (0.0,))
    assert math.copysign(1, read.logprobs[0]) == 1


def test_behind_a_text_stands_a_token_for_each_choice(tmp_path: Path) -> None:
    make_tokenizer(tmp_path)
    plain = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    text, asked = encode("the house", plain), encode("the house", plain, 2)
    assert asked.ids == [*text.ids, text.ids[-1], text.ids[-1]]  # it knows no mask
    assert asked.firsts == text.firsts
    assert list(asked.asking) == [len(text.ids), len(text.ids) + 1]
    plain.add_special_tokens(["[MASK]"])
    assert encode("the house", plain, 1).ids[-1] == plain.token_to_id("[MASK]")
