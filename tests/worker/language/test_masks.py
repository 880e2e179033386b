"""The masks are the paper's equations, on random prompts."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trainables.language.masks import Kind, Spans, block_masks, closed, masks, original, rule

KINDS: tuple[Kind, ...] = ("in", "or", "cr", "cr_pre")


@st.composite
def prompts(draw):
    """One to three prompts of up to 14 tokens, padded on the left: runs of item and other tokens, as (item, last)."""
    rows = []
    for _ in range(draw(st.integers(1, 3))):
        tokens, item = [], 0
        for length, is_item in draw(st.lists(st.tuples(st.integers(1, 4), st.booleans()), min_size=1, max_size=4)):
            item += is_item
            tokens += [(item if is_item else 0, is_item and place == length - 1) for place in range(length)]
        rows.append(tokens)
    return rows, max(map(len, rows)) + draw(st.integers(0, 2))


def spans_of(rows, length):
    padded = [[None] * (length - len(tokens)) + tokens for tokens in rows]
    return Spans(
        item_BT=torch.tensor([[token[0] if token else 0 for token in row] for row in padded]),
        last_BT=torch.tensor([[bool(token and token[1]) for token in row] for row in padded]),
        real_BT=torch.tensor([[token is not None for token in row] for row in padded]),
    )


def equation(kind, tokens, j, k):
    """Return True if the equations' two matrices sum to 0 at (j, k), token by token as printed."""

    def F(x):  # noqa: N802
        return tokens[x] is not None and tokens[x][0] > 0

    def L(x):  # noqa: N802
        return tokens[x][1]

    def B(x, y):  # noqa: N802
        return tokens[x][0] == tokens[y][0]

    eq2 = j >= k
    eq3 = F(j) and F(k) and not B(j, k)
    eq4 = j != k and F(j) and F(k) and B(j, k)
    eq5 = j != k and F(j) and F(k) and (not L(j) or not L(k))
    minus_infinity = {"or": False, "in": eq3, "cr_pre": eq4, "cr": eq5}[kind]
    return eq2 and not minus_infinity


@given(prompts())
@settings(max_examples=60)
def test_every_mask_is_its_equation_between_real_tokens_and_padding_reads_and_is_read_by_itself_alone(drawn):
    rows, length = drawn
    made = masks(spans_of(rows, length), KINDS)
    for kind in KINDS:
        assert made[kind].shape == (len(rows), 1, length, length)
        for row, tokens in enumerate(rows):
            padding = length - len(tokens)
            all_tokens = [None] * padding + tokens
            for j in range(length):
                for k in range(length):
                    expected = j == k if j < padding or k < padding else equation(kind, all_tokens, j, k)
                    assert made[kind][row, 0, j, k] == expected, (kind, row, j, k)


@given(prompts())
@settings(max_examples=30)
def test_every_row_has_an_open_key(drawn):
    for mask in masks(spans_of(*drawn), KINDS).values():
        assert mask.any(dim=-1).all()


@given(prompts(), st.sampled_from(["in", "cr", "cr_pre"]))
@settings(max_examples=30)
def test_a_mask_closes_more_than_the_original_and_never_what_the_response_reads(drawn, kind):
    spans = spans_of(*drawn)
    assert not (masks(spans, [kind])[kind][:, 0] & ~original(spans)).any()
    others = spans.item_BT == 0
    assert not (closed(spans, kind) & others[:, :, None]).any()
    assert not (closed(spans, kind) & others[:, None, :]).any()


def test_with_one_item_the_intra_item_mask_is_the_original_and_with_items_of_one_token_the_cross_item_masks_are():
    one = spans_of([[(0, False), (1, False), (1, False), (1, True), (0, False)]], 6)
    made = masks(one, KINDS)
    assert made["in"].equal(made["or"])
    assert made["cr"].equal(made["cr_pre"])  # nothing to cross: both keep each token and what is of no item
    assert not made["cr"].equal(made["or"])
    single = spans_of([[(0, False), (1, True), (0, False), (2, True), (3, True), (0, False)]], 6)
    made = masks(single, KINDS)
    assert made["cr"].equal(made["or"])
    assert made["cr_pre"].equal(made["or"])


def test_masks_of_one_kind_are_made_once():
    spans = spans_of([[(1, True), (0, False)]], 2)
    assert set(masks(spans, ("in", "or", "or", "in"))) == {"in", "or"}


@given(prompts(), st.sampled_from(KINDS))
@settings(max_examples=60)
def test_the_rule_that_flex_attention_gets_says_the_same(drawn, kind):
    spans = spans_of(*drawn)
    batch, length = spans.item_BT.shape
    b, j, k = torch.meshgrid(torch.arange(batch), torch.arange(length), torch.arange(length), indexing="ij")
    assert rule(spans, kind)(b, torch.zeros_like(b), j, k).equal(masks(spans, [kind])[kind][:, 0])


@pytest.mark.slow
@given(prompts())
@settings(max_examples=5)
def test_block_masks_say_the_same(drawn):
    """On CPU, where FlexAttention makes masks but the trainable does not use them; evaluated as FlexAttention does."""
    from torch.nn.attention.flex_attention import create_mask

    spans = spans_of(*drawn)
    batch, length = spans.item_BT.shape
    dense = masks(spans, KINDS)
    for kind, block in block_masks(spans, KINDS).items():
        assert create_mask(block.mask_mod, batch, None, length, length, device="cpu").equal(dense[kind])
