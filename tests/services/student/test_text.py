from collections.abc import Sequence
from itertools import accumulate, pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from services.student.text import REPLACEMENT, Detokenizer, StopTexts

# Every byte is a token, so that any character of more than one byte is spread over several.
TOKENIZER = Tokenizer(models.BPE({c: i for i, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}, []))
TOKENIZER.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
TOKENIZER.decoder = decoders.ByteLevel()


def decode(token_ids: Sequence[int]) -> str:
    return str(TOKENIZER.decode(list(token_ids)))


def encode(text: str) -> list[int]:
    return list(TOKENIZER.encode(text).ids)


def chunks(items: Sequence[int], sizes: Sequence[int]) -> list[Sequence[int]]:
    ends = [0, *accumulate(sizes), len(items)]
    return [items[a:b] for a, b in pairwise(ends) if a < b]


unicode_texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters=REPLACEMENT))
sizes = st.lists(st.integers(1, 5))


@given(unicode_texts, sizes)
def test_the_pieces_together_are_the_text_and_none_holds_half_a_character(text: str, sizes: list[int]) -> None:
    detokenizer = Detokenizer(decode)
    pieces = [detokenizer.feed(chunk) for chunk in chunks(encode(text), sizes)]
    assert "".join(pieces) == text
    assert detokenizer.flush() == ""


@given(st.lists(st.integers(0, 255)), sizes)
def test_tokens_that_are_no_text_at_all_come_out_as_the_decoder_reads_them(ids: list[int], sizes: list[int]) -> None:
    detokenizer = Detokenizer(decode)
    pieces = [detokenizer.feed(chunk) for chunk in chunks(ids, sizes)]
    assert "".join(pieces) + detokenizer.flush() == decode(ids)


def test_a_character_is_given_out_with_its_last_byte() -> None:
    detokenizer = Detokenizer(decode)
    assert [detokenizer.feed([token_id]) for token_id in encode("a€b")] == ["a", "", "", "€", "b"]


def test_an_unfinished_character_comes_at_the_end_as_a_replacement() -> None:
    detokenizer = Detokenizer(decode)
    assert detokenizer.feed(encode("a€")[:-1]) == ""
    assert detokenizer.flush() == "a" + REPLACEMENT


@given(st.text("ab."), st.lists(st.text("ab.", min_size=1), max_size=3), sizes)
def test_stop_texts_cut_where_a_search_of_the_whole_text_would(text: str, stops: list[str], sizes: list[int]) -> None:
    stop_texts = StopTexts(stops)
    out = ""
    for chunk in chunks(range(len(text)), sizes):  # type: ignore[arg-type]
        out += stop_texts.feed("".join(text[i] for i in chunk))
        if stop_texts.found:
            break
    out += stop_texts.flush()
    first_end = min((text.find(stop) + len(stop) for stop in stops if stop in text), default=None)
    assert stop_texts.found == (first_end is not None)
    if first_end is None:
        assert out == text
    else:
        assert text.startswith(out)
        assert not any(stop in out for stop in stops)
        assert any(text.startswith(stop, len(out)) for stop in stops)


@pytest.mark.parametrize(
    ("pieces", "given_out", "found"),
    [
        (["abc"], ["abc"], False),
        (["ab", "<e", "nd>", "x"], ["ab", "", ""], True),
        (["ab<e", "lse"], ["ab", "<else"], False),
        (["a<end><end>"], ["a"], True),
        (["<", "<", "end>"], ["", "<", ""], True),
    ],
)
def test_what_may_become_a_stop_text_is_held(pieces: list[str], given_out: list[str], found: bool) -> None:
    stop_texts = StopTexts(["<end>"])
    outs = [stop_texts.feed(piece) for piece in pieces if not stop_texts.found]
    assert outs == given_out
    assert stop_texts.found is found


def test_what_was_held_comes_at_the_end() -> None:
    stop_texts = StopTexts(["<end>"])
    assert stop_texts.feed("a<en") == "a"
    assert stop_texts.flush() == "<en"


def test_a_stop_text_that_began_in_what_was_let_through_ends_the_text_and_nothing_is_let_through_twice() -> None:
    stop = StopTexts(["##END"], before="one ##E")
    assert stop.feed("N") == ""
    assert stop.feed("D two") == ""
    assert stop.found
    stop = StopTexts(["##END"], before="one ##E")
    assert stop.feed("N") + stop.feed("d two") + stop.flush() == "Nd two"
    assert not stop.found


@given(before=st.text("ab#", max_size=6), text=st.text("ab#", max_size=8), stop=st.text("a#", min_size=1, max_size=3))
def test_what_comes_behind_a_beginning_is_cut_where_the_whole_would_be(before: str, text: str, stop: str) -> None:
    assume(stop not in before)
    stops = StopTexts([stop], before)
    let_through = "".join(stops.feed(char) for char in text if not stops.found) + stops.flush()
    assert before + let_through == max(before, (before + text).split(stop)[0], key=len)


def test_the_first_new_token_is_read_behind_those_before_it() -> None:
    pieces = {1: "one", 2: " two"}
    words = lambda ids: "".join(pieces[id_] for id_ in ids).strip()  # noqa: E731 - as decoders that strip the first space
    assert Detokenizer(words, before=(1,)).feed((2,)) == " two"
