"""Settings of the adapters that SpecTran compares (§4.1.3), and what each asks of the text vectors.

The paper's baselines most likely come from AlphaFuse's repository, whose versions differ from the originals. Where they
do, both are settings; the default is AlphaFuse's unless the field says otherwise.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

from trainables.config import above, at_least, between
from trainables.data.config import Data


@dataclass(frozen=True, kw_only=True)
class NoAdapter:
    """Item vectors are free ID embeddings; no text ("Base" in Table 2)."""

    name: Literal["none"] = "none"


@dataclass(frozen=True, kw_only=True)
class MoRec:
    """Item vectors are a dense projection of frozen text; no IDs (Yuan et al., SIGIR 2023)."""

    name: Literal["morec"] = "morec"
    layers: Annotated[int, at_least(1)] = 1
    """Linear + GELU layers: AlphaFuse's 1; the original's frozen-feature variant has up to 10."""
    dropout: Annotated[float, between(0, 1, open_high=True)] = 0.0
    """Rate between the layers (AlphaFuse: none; the original .1)."""
    length: Annotated[float, above(0)] = 40.0
    """Mean length that text vectors are scaled to (AlphaFuse's 40 for vectors of unit length)."""


@dataclass(frozen=True, kw_only=True)
class UniSRec:
    """A mixture of parametric whitenings of frozen text (Hou et al., KDD 2022), without pre-training."""

    name: Literal["unisrec"] = "unisrec"
    experts: Annotated[int, at_least(1)] = 8
    """Whitenings that the gate mixes (the original's and AlphaFuse's)."""
    dropout: Annotated[float, between(0, 1, open_high=True)] = 0.2
    """Rate on the text vectors before the whitenings (the original's and AlphaFuse's)."""
    ids: bool = False
    """True adds free ID embeddings, as the original's transductive setting does (AlphaFuse's does not)."""
    length: Annotated[float, above(0)] = 40.0
    """Mean length that text vectors are scaled to (AlphaFuse's 40 for vectors of unit length)."""


@dataclass(frozen=True, kw_only=True)
class RLMRec:
    """Free ID embeddings, pulled towards the text by a second loss (Ren et al., WWW 2024)."""

    name: Literal["rlmrec"] = "rlmrec"
    objective: Literal["con", "gen"] = "con"
    """`con` compares the ID vectors with an MLP of the text, `gen` the text with an MLP of the ID vectors."""
    loss: Literal["cosine", "info_nce"] = "cosine"
    """`cosine`: 1 - mean cosine over all items (AlphaFuse); `info_nce`: against the batch's others (the original)."""
    weight: Annotated[float, at_least(0)] = 0.1
    """Of the second loss (AlphaFuse's; the original: .01 for con, .01 to .1 for gen)."""
    temperature: Annotated[float, above(0)] = 0.2
    """Divides the cosines of loss info_nce (the original's for con; .1 to .5 for gen)."""
    mask_ratio: Annotated[float, between(0, 1, open_low=True)] = 0.1
    """Share of the rows whose target gen with info_nce hides and restores (the original: .1 to .15 of the nodes)."""
    length: Annotated[float, above(0)] = 40.0
    """Mean length that text vectors are scaled to (AlphaFuse's 40 for vectors of unit length)."""


@dataclass(frozen=True, kw_only=True)
class LLMESR:
    """Two views of every item, text and ID, read by one encoder and joined (Liu et al., NeurIPS 2024)."""

    name: Literal["llm_esr"] = "llm_esr"
    alignment: Annotated[float, at_least(0)] = 0.1
    """Weight of the contrastive loss between an item's two views (AlphaFuse's; optional in the original, off there)."""
    distillation: Annotated[float, at_least(0)] = 0.0
    """Weight of the distance to the mean state of similar users. The original's is .1; AlphaFuse's has none, and the
    training time in the paper's Table 5, level with RLMRec's, leaves no room for the states of ten more users a row."""
    similar_users: Annotated[int, at_least(1)] = 10
    """N, users retrieved for the distillation (the original's)."""
    length: Annotated[float, above(0)] = 40.0
    """Mean length that text vectors are scaled to (AlphaFuse's 40 for vectors of unit length)."""


@dataclass(frozen=True, kw_only=True)
class WhitenRec:
    """A dense projection of whitened text; no IDs (Zhang et al., ICDE 2024)."""

    name: Literal["whitenrec"] = "whitenrec"
    rotation: Literal["pca", "zca"] = "pca"
    """`pca` keeps whitened text in its principal directions (AlphaFuse), `zca` turns it back (the original)."""
    groups: Annotated[int, at_least(1)] = 1
    """1: all dimensions are whitened together. More: averaged with a whitening of G groups of dimensions, each apart
    (the original's "+" variant, which needs rotation zca for one projection to serve both)."""
    floor: Annotated[float, between(0, 1, open_low=True)] = 1e-5
    """Least eigenvalue of the text's covariance, as a share of the largest (the original's 1e-5 is absolute)."""
    layers: Annotated[int, at_least(1)] = 1
    """Linear + GELU layers of the projection (AlphaFuse's 1)."""

    def __post_init__(self) -> None:
        if self.groups > 1 and self.rotation != "zca":
            raise ValueError(
                f"rotation must be zca where groups is above 1, but got {self.rotation} with groups {self.groups}; "
                "principal directions of different groups cannot share a projection: set rotation to zca"
            )


@dataclass(frozen=True, kw_only=True)
class LLMInit:
    """Free ID embeddings that start from columns of the text vectors (Zhang et al., 2025)."""

    name: Literal["llminit"] = "llminit"
    select: Literal["variance", "even", "random", "pca", "whitened"] = "variance"
    """Columns of largest variance (what the paper describes), evenly spaced or random ones (the original's others), or
    the first principal coordinates, as they are or each of unit variance (AlphaFuse)."""
    share: Annotated[float, between(0, 1, open_low=True)] = 0.2
    """Share of the items, those met most often in training, over which select variance measures it (the original's)."""
    std: Annotated[float, above(0)] | None = None
    """Standard deviation that the whole start table is scaled to; None leaves the text's own, as the original does
    (about .05 for vectors of unit length and 384 columns, where .02 ends far lower on validation)."""


@dataclass(frozen=True, kw_only=True)
class AlphaFuse:
    """Frozen whitened text, with ID embeddings learned in its weakest dimensions (Hu et al., SIGIR 2025)."""

    name: Literal["alphafuse"] = "alphafuse"
    null_width: Annotated[int, at_least(1)] = 64
    """Columns of the ID embeddings, at most dim (the original's 64 of 128)."""
    start: Literal["zeros", "normal"] = "zeros"
    """ID embeddings at the start; the original takes either, by data set (its normal ones have variance 1)."""
    cover: bool = False
    """True puts IDs in place of the last dimensions instead of adding them there (an option of the original)."""
    weighted: bool = False
    """True counts an item in mean and covariance as often as training met it (an option of the original)."""
    std: Annotated[float, above(0)] = 1.0
    """Standard deviation of each frozen dimension (the original's 1: vectors as long as sqrt(dim)). Training
    passes a low on validation on the way, so that patience must be above 15 epochs (the original's is 50)."""


@dataclass(frozen=True, kw_only=True)
class SpecTran:
    """Item vectors from the spectrum of the text vectors, fused with ID embeddings (equations 6-11)."""

    name: Literal["spectran"] = "spectran"
    attention: bool = True
    """True attends over all components, phi(Q K^T) in equation 7. False is "w/o phi(QK^T)" of Table 3."""
    inner_width: Annotated[int, at_least(1)] = 64
    """Columns of Q and K; not stated in the paper, Table 5's parameter count fits about 120."""
    threshold: Literal["scalar", "row"] = "scalar"
    """Thresholds of phi: one, or one per row of Q K^T. The paper does not say."""
    learn_threshold: bool = True
    """True trains the threshold, as the paper does. False leaves it where it starts."""
    threshold_start: Annotated[float, at_least(0)] = 0.0
    """First value of the threshold (the paper's 0)."""
    position: Literal["taylor", "singular_values", "identity", "none"] = "taylor"
    """Diagonal of A (equation 8): a learnable polynomial, Sigma_d, I_d, or nothing (Table 3)."""
    taylor_order: Annotated[int, at_least(0)] = 3
    """n of equation 10, used by position taylor; not stated in the paper."""
    coefficients: Literal["shared", "component"] = "shared"
    """`shared` has one polynomial for all components, as equation 10 is written. `component` has one for each."""
    fusion: Literal["add", "concat", "null_space", "init"] = "add"
    """Fusion of IDs (equation 6): added at full width, beside E_s, or added to the weakest dimensions only (AlphaFuse).
    `init` adds no IDs: the ID embeddings start from E_s."""
    null_width: Annotated[int, at_least(1)] = 64
    """Width of the ID embeddings under fusion null_space (AlphaFuse) and concat; the others ignore it."""
    center: bool = True
    """True subtracts the mean text vector before the decomposition. The paper does not say (README)."""
    normalise: bool = True
    """True then scales text vectors to unit length. The paper does not say; measured clearly better (README)."""


Adapter = NoAdapter | MoRec | UniSRec | RLMRec | LLMESR | WhitenRec | LLMInit | AlphaFuse | SpecTran


def refuse_widths(adapter: Adapter, dim: int) -> None:
    """Refuse a ``dim`` that cannot hold what ``adapter`` puts into it.

    Raises:
        ValueError: the ID embeddings are wider than the item vectors, or leave no room beside them; LLM-ESR's two
            attention heads do not divide ``dim``.
    """
    if isinstance(adapter, LLMESR) and dim % 2:
        raise ValueError(f"dim must be even for the two attention heads of llm_esr, but got {dim}; choose an even dim")
    match adapter:
        case AlphaFuse(cover=True) | SpecTran(fusion="concat"):
            rule, widest = "less than dim where IDs stand beside the text", dim - 1
        case AlphaFuse() | SpecTran(fusion="null_space"):
            rule, widest = "at most dim", dim
        case _:
            return
    if adapter.null_width > widest:
        raise ValueError(
            f"adapter.null_width must be {rule}, but got {adapter.null_width} with dim {dim}; "
            "lower adapter.null_width or raise dim"
        )


def adds_by_row(adapter: Adapter) -> bool:
    """Say whether a batch's loss is a mean over its rows, so that the batch may be trained in parts.

    Contrastive losses compare a batch's items. A trained threshold at zero takes a gradient only where that of the
    whole batch raises it.
    """
    match adapter:
        case RLMRec(loss="info_nce") | SpecTran(attention=True, learn_threshold=True):
            return False
        case LLMESR():
            return not adapter.alignment
    return True


def problems(adapter: Adapter, dim: int, data: Data) -> list[str]:
    """Requirements of ``adapter`` that the text vectors of ``data`` do not meet, [] where none.

    Reads no more than a file's header and imports no torch. The rank of the text vectors is only bounded, by their
    number and width. A trial finds the rest.

    Args:
        adapter: the chosen adapter.
        dim: D, columns of an item vector.
        data: where the text vectors come from.
    """
    from trainables.spectran.spectrum import largest_rank, text_width

    match adapter:
        case WhitenRec():
            width = text_width(data)
            if width is None or adapter.groups <= width:
                return []
            return [
                f"adapter.groups: must be at most the width of the text vectors, {width}, but got {adapter.groups}; "
                "lower adapter.groups"
            ]
        case LLMInit(select="variance" | "even" | "random"):
            width = text_width(data)
            if width is None or dim <= width:
                return []
            return [
                f"dim: must be at most the width of the text vectors, {width}, but got {dim}; "
                "lower dim or use wider text vectors (data.text, data.text_width)"
            ]
        case AlphaFuse(cover=True) | SpecTran(fusion="concat"):
            needed, note = dim - adapter.null_width, f" (dim {dim} without adapter.null_width)"
        case LLMESR() | LLMInit() | AlphaFuse() | SpecTran():
            needed, note = dim, ""
        case _:
            return []
    rank = largest_rank(data, center=adapter.center if isinstance(adapter, SpecTran) else True)
    if rank is None or needed <= rank:
        return []
    return [
        f"dim: must be at most the rank of the text vectors, which is {rank} or less, but got {needed}{note}; "
        "lower dim or use wider text vectors (data.text, data.text_width)"
    ]
