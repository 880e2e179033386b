"""InfoNCE between two views of the same items (PAD eq. 16): CTRL's alignment, and one arm of Figure 5(a)."""

import torch
from torch.nn import functional


def info_nce(
    source_ND: torch.Tensor,
    target_ND: torch.Tensor,
    *,
    temperature: float = 0.1,
    item_N: torch.Tensor | None = None,
) -> torch.Tensor:
    """Mean of -log softmax over the targets of each source's cosine with its own, divided by ``temperature``.

    The paper sums over the examples; the mean, as in the released code, keeps the weight of the loss apart from the
    number of rows. One direction only: sources look for targets.

    Args:
        source_ND: N vectors; row n belongs with row n of ``target_ND`` (text, in PAD).
        target_ND: N vectors; each is a negative of all other sources (IDs).
        temperature: τ; the paper does not say, .1 is the default of the package that the released code uses.
        item_N: int64, whose vectors the rows are: rows of the same item are then no negatives of each other. None
            keeps them, as the released code does.

    Raises:
        ValueError: the two samples differ in shape, or the temperature is not positive.
    """
    if source_ND.shape != target_ND.shape:
        raise ValueError(
            f"info_nce pairs vectors row by row, but got shapes {tuple(source_ND.shape)} and {tuple(target_ND.shape)}; "
            "bring both to one shape"
        )
    if not temperature > 0:
        raise ValueError(f"a temperature must be positive, but got {temperature}; raise it")
    score_NN = functional.normalize(source_ND, dim=1) @ functional.normalize(target_ND, dim=1).T / temperature
    own_N = torch.arange(len(source_ND), device=source_ND.device)
    if item_N is not None:
        same_NN = item_N[:, None] == item_N
        same_NN[own_N, own_N] = False
        score_NN = score_NN.masked_fill(same_NN, -torch.inf)
    return functional.cross_entropy(score_NN, own_N)
