"""The mask of each layer."""

import itertools
from typing import get_args

import pytest

from trainables.hatllm.config import Order
from trainables.hatllm.plan import layer_plan


def test_shallow_layers_are_intra_item_deep_ones_cross_item_and_the_rest_original():
    assert layer_plan(8, shallow=4, deep=2) == ("in",) * 4 + ("or",) * 2 + ("cr",) * 2
    assert layer_plan(3, shallow=0, deep=0) == ("or",) * 3
    assert layer_plan(3, shallow=1, deep=2) == ("in", "cr", "cr")


def test_the_six_orders_move_blocks_that_keep_their_sizes():
    orders = get_args(Order)
    assert {tuple(order.split("_")) for order in orders} == set(itertools.permutations(("in", "or", "cr")))
    for order in orders:
        plan = layer_plan(6, shallow=3, deep=1, order=order)
        assert [kind for kind, _ in itertools.groupby(plan)] == order.split("_")
        assert (plan.count("in"), plan.count("or"), plan.count("cr")) == (3, 2, 1)


@pytest.mark.parametrize(
    ("options", "plan"),
    [
        ({"without": "in"}, "or or or cr"),
        ({"without": "cr"}, "in or or or"),
        ({"without": "or"}, "in in in cr"),
        ({"without": "or", "middle": "cr"}, "in cr cr cr"),
        ({"without": "or", "middle": "cr", "cross": "pre"}, "in cr_pre cr_pre cr_pre"),
        ({"cross": "pre"}, "in or or cr_pre"),
        ({"cross": "pre", "order": "cr_or_in"}, "cr_pre or or in"),
    ],
)
def test_ablations_replace_one_mask(options, plan):
    assert layer_plan(4, shallow=1, deep=1, **options) == tuple(plan.split())


def test_more_layers_than_the_model_has_are_refused():
    with pytest.raises(ValueError, match=r"at most the model's 8 layers, but got 6 \+ 3; lower one of them"):
        layer_plan(8, shallow=6, deep=3)
