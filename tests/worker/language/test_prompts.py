"""Prompts: tokens, spans, cuts."""

import json

import numpy as np
import pytest
import torch

from trainables.data.atomic import DataError
from trainables.data.packed import Packed
from trainables.language.prompts import RESPONSE, Prompts, header, read_tokenizer, tokenised
from trainables.language.tiny import trained_tokenizer

TITLES = ["green tea leaves", "desk lamp", "running shoes for sport", "tea"]


@pytest.fixture(scope="module")
def tokenizer():
    frame = [header("products", "bought"), RESPONSE, '"', ", "]
    return trained_tokenizer([*TITLES, *frame * 2], 600)


def pieces_of(tokenizer, titles=TITLES):
    packed = Packed.of(["", *titles])
    return tokenised(
        {"titles": packed.content, "title_ends": packed.ends},
        {"tokenizer": np.frombuffer(tokenizer.to_str().encode(), np.uint8)},
        "products",
        "bought",
    )


@pytest.fixture(scope="module")
def pieces(tokenizer):
    return pieces_of(tokenizer)


def words(tokenizer, tokens):
    return tokenizer.decode([int(token) for token in tokens], skip_special_tokens=False)


def test_a_prompt_is_the_papers_text_with_the_tokenizers_first_token(tokenizer, pieces):
    prompt = Prompts(pieces)(torch.tensor([[0, 1, 2]]))
    assert words(tokenizer, prompt.token_BT[0]) == (
        "<|begin|>### Instruction:\nGiven a list of products the user has bought before, please recommend a new one "
        "that the user likes to the user.\n\n### Input:\nThe user has bought the following products before: "
        '"green tea leaves", "desk lamp"\n\n### Response:\n'
    )
    assert prompt.token_BT[0, 0] == 0
    assert prompt.slot_BT is None


@pytest.mark.parametrize(
    ("item_tokens", "first", "second"),
    [
        ("title", "green tea leaves", "desk lamp"),
        ("quoted", '"green tea leaves"', '"desk lamp"'),
        ("separated", '"green tea leaves", ', '"desk lamp"'),
    ],
)
def test_which_tokens_belong_to_an_item_is_a_setting(tokenizer, pieces, item_tokens, first, second):
    prompt = Prompts(pieces, item_tokens=item_tokens)(torch.tensor([[1, 2]]))
    item_T = prompt.spans.item_BT[0]
    assert words(tokenizer, prompt.token_BT[0][item_T == 1]) == first
    assert words(tokenizer, prompt.token_BT[0][item_T == 2]) == second
    last_T = prompt.spans.last_BT[0].nonzero().flatten().tolist()
    assert last_T == [int((item_T == item).nonzero().max()) for item in (1, 2)]


def test_shorter_prompts_are_padded_on_the_left(tokenizer, pieces):
    prompts = Prompts(pieces)
    both, alone = prompts(torch.tensor([[0, 4], [3, 1]])), prompts(torch.tensor([[0, 4]]))
    padding = both.token_BT.shape[1] - alone.token_BT.shape[1]
    assert padding > 0
    assert both.spans.real_BT[0].tolist() == [False] * padding + [True] * alone.token_BT.shape[1]
    assert both.token_BT[0, padding:].equal(alone.token_BT[0])
    assert both.spans.item_BT[0, padding:].equal(alone.spans.item_BT[0])
    assert both.spans.item_BT[0, :padding].abs().sum() == 0


def test_an_item_that_comes_twice_in_a_row_is_two_items(pieces):
    prompt = Prompts(pieces, item_tokens="separated")(torch.tensor([[4, 4]]))
    assert prompt.spans.last_BT.sum() == 2
    assert prompt.spans.item_BT.max() == 2


def test_long_titles_lose_their_ends_and_keep_their_quotes(tokenizer, pieces):
    prompt = Prompts(pieces, max_title_tokens=2)(torch.tensor([[3]]))
    inside = prompt.token_BT[0][prompt.spans.item_BT[0] == 1]
    assert len(inside) == 4
    assert words(tokenizer, inside).startswith('"runn')
    assert words(tokenizer, inside).endswith('"')
    assert words(tokenizer, prompt.token_BT[0]).endswith(f'"{RESPONSE}')


def test_long_prompts_lose_their_oldest_items_and_never_the_response_header(tokenizer, pieces):
    whole = Prompts(pieces)(torch.tensor([[1, 2, 3]])).token_BT.shape[1]
    short = Prompts(pieces, max_tokens=whole - 1)(torch.tensor([[1, 2, 3]]))
    text = words(tokenizer, short.token_BT[0])
    assert "green" not in text
    assert text.endswith(f'before: "desk lamp", "running shoes for sport"{RESPONSE}')
    assert short.spans.item_BT.max() == 2


def test_a_limit_that_not_even_one_item_fits_in_is_refused(pieces):
    least = len(pieces["header"]) + len(pieces["response"]) + 2 + int(np.diff(pieces["ends"], prepend=0).max())
    Prompts(pieces, max_tokens=least)(torch.tensor([[1, 2, 3, 4]]))
    with pytest.raises(
        ValueError, match=rf"must hold the instruction, one item .* {least} tokens, but got {least - 1}"
    ):
        Prompts(pieces, max_tokens=least - 1)


def test_slots_stand_for_items_beside_their_titles_or_instead(tokenizer, pieces):
    beside = Prompts(pieces, slot=True)(torch.tensor([[0, 2], [1, 4]]))
    assert [row[row > 0].tolist() for row in beside.slot_BT] == [[2], [1, 4]]
    assert (beside.spans.item_BT[beside.slot_BT > 0] > 0).all()
    instead = Prompts(pieces, titles=False, slot=True)(torch.tensor([[1, 4]]))
    assert instead.token_BT.shape[1] == len(pieces["header"]) + 2 + len(pieces["response"])
    assert instead.spans.item_BT[0].tolist() == [0] * len(pieces["header"]) + [1, 2] + [0] * len(pieces["response"])
    with pytest.raises(ValueError, match="neither titles nor slots"):
        Prompts(pieces, titles=False)


def test_a_title_that_gives_no_token_is_named(tokenizer):
    """Byte-level tokenizers give none for an empty title only; one that knows few letters, for all others as well."""
    with pytest.raises(
        DataError, match=r"must have a title of one token or more, but 1 of 5 have none, .* item 3 \(''\)"
    ):
        pieces_of(tokenizer, [*TITLES[:2], "", *TITLES[2:]])
    told = json.loads(tokenizer.to_str())
    told["pre_tokenizer"], told["model"] = None, {"type": "BPE", "vocab": {"t": 0, "e": 1, "a": 2}, "merges": []}
    told["post_processor"] = None
    from tokenizers import Tokenizer

    with pytest.raises(DataError, match=r"but 2 of 2 have none, the first is item 1 \('Ω'\); fill the titles"):
        pieces_of(Tokenizer.from_str(json.dumps({**told, "added_tokens": []})), ["Ω", "Ж"])


def test_a_tokenizer_is_read_from_a_file_as_from_bytes(tokenizer, tmp_path):
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    packed = Packed.of(["", *TITLES])
    titles = {"titles": packed.content, "title_ends": packed.ends}
    read = tokenised(titles, tmp_path / "tokenizer.json", "products", "bought")
    for name, array in pieces_of(tokenizer).items():
        np.testing.assert_array_equal(array, read[name])
    assert read_tokenizer(tmp_path / "tokenizer.json").get_vocab_size() == tokenizer.get_vocab_size()


def test_padding_and_truncation_saved_with_a_tokenizer_do_not_change_a_prompt(tokenizer, tmp_path):
    packed = Packed.of(["", *TITLES])
    titles = {"titles": packed.content, "title_ends": packed.ends}
    plain = pieces_of(tokenizer)
    saved = type(tokenizer).from_str(tokenizer.to_str())
    for change in (lambda: saved.enable_padding(length=40), lambda: saved.enable_truncation(3)):
        change()
        saved.save(str(tmp_path / "tokenizer.json"))
        read = tokenised(titles, tmp_path / "tokenizer.json", "products", "bought")
        for name, array in plain.items():
            np.testing.assert_array_equal(array, read[name])
