"""The plan of masks: one per layer of the language model (§4.1, Figure 3, Table 5)."""

from typing import Literal

from trainables.hatllm.config import Order
from trainables.language.masks import Kind


def layer_plan(
    num_layers: int,
    *,
    shallow: int,
    deep: int,
    order: Order = "in_or_cr",
    without: Literal["none", "in", "or", "cr"] = "none",
    middle: Literal["in", "cr"] = "in",
    cross: Literal["last", "pre"] = "last",
) -> tuple[Kind, ...]:
    """The mask of each layer, the one next to the input first.

    The paper does not say what takes the place of a mask that is left out, nor how many layers the blocks of another
    order have: here layers without IN or CR see everything (OR), layers without OR get ``middle``, and blocks keep
    their sizes.

    Args:
        num_layers: of the model.
        shallow: layers of the block IN.
        deep: layers of the block CR.
        order: of the blocks.
        without: the mask that Table 5 leaves out.
        middle: the mask of the middle layers where OR is left out.
        cross: CR keeps an item's last token (equation 5), or lets every token see other items' (equation 4).

    Raises:
        ValueError: the blocks IN and CR have more layers than the model.
    """
    if shallow + deep > num_layers:
        raise ValueError(
            f"shallow_layers + deep_layers must be at most the model's {num_layers} layers, but got {shallow} + {deep}"
            "; lower one of them or take a deeper model"
        )
    deep_kind: Kind = "cr" if cross == "last" else "cr_pre"
    sizes = {"in": shallow, "or": num_layers - shallow - deep, "cr": deep}
    kinds: dict[str, Kind] = {"in": "in", "or": "or", "cr": deep_kind}
    if without == "or":
        kinds["or"] = deep_kind if middle == "cr" else "in"
    elif without != "none":
        kinds[without] = "or"
    return tuple(kinds[block] for block in order.split("_") for _ in range(sizes[block]))


def unmasked(num_layers: int) -> tuple[Kind, ...]:
    """OR in every layer: the language model as it is."""
    return layer_plan(num_layers, shallow=0, deep=0)
