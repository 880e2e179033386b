"""The composition of each method: experts, a gate over them, the phases behind them, a loss of its own."""

from dataclasses import dataclass, replace

from torch import nn

from trainables.data.sequences import Sequences
from trainables.data.splits import Splits
from trainables.data.text import text_stage
from trainables.pad import ctrl, phases
from trainables.pad.config import (
    ALIGNED,
    CHOSEN,
    CTRL,
    ID,
    MAKE,
    PAD,
    SMEM,
    TEXT,
    Config,
    DisCo,
    Hybrid,
    Id,
    MoRec,
    Single,
)
from trainables.pad.curve import steps
from trainables.pad.disco import DisCoItems, apart_and_sufficient
from trainables.pad.experts import FusedItems
from trainables.pad.gate import FrequencyGate, GlobalGate, NetworkGate
from trainables.pad.make import ComplementGate
from trainables.pad.training import Penalty
from trainables.seqrec.items import IdItems, Items
from trainables.seqrec.randomness import generator_for
from trainables.seqrec.text import TextItems
from trainables.storage.stages import StageResult
from trainables.trial import Trial

Expert = tuple[IdItems | TextItems | FusedItems | DisCoItems, nn.Module]
"""Item vectors, and the backbone that reads them."""


@dataclass(frozen=True)
class Ingredients:
    """The inputs that every part of a trial is made from."""

    config: Config
    trial: Trial
    sequences: Sequences
    splits: Splits


@dataclass(frozen=True)
class Method:
    """A model before its last phase."""

    experts: dict[str, Expert]
    """By name, in the order of the gate's columns."""
    gate: nn.Module | None = None
    """None for one expert."""
    steps: int = 0
    """Steps that the phases before took."""
    penalty: Penalty | None = None
    """A loss beside the recommendation loss of the last phase."""
    first: StageResult | None = None
    """Result of phase 1, for diagnostics. None for a method without one."""
    text: TextItems | None = None
    """Text vectors that no expert reads, for diagnostics: those that CTRL matched IDs with."""


def compose(ingredients: Ingredients) -> Method:
    """The model of ``ingredients.config.method``, its earlier phases trained or read."""
    config, num_items = ingredients.config, ingredients.sequences.num_items
    match config.method:
        case Id():
            return Method({ID: phases.id_expert(config, num_items)})
        case MoRec():
            return Method({TEXT: phases.text_expert(config, text_of(ingredients)["vectors"])})
        case Hybrid():
            return Method({ALIGNED: phases.aligned_expert(config, num_items, text_of(ingredients)["vectors"], None)})
        case CTRL():
            return contrasted(ingredients, config.method)
        case MAKE():
            return joined(ingredients, config.method)
        case DisCo():
            return disentangled(ingredients, config.method)
        case Single():
            return single(ingredients, config.method)
        case SMEM() | PAD():
            return triple(ingredients, config.method)


def contrasted(ingredients: Ingredients, method: CTRL) -> Method:
    """CTRL: one expert after matching IDs with text, or while (:mod:`trainables.pad.ctrl`)."""
    config, text = ingredients.config, text_of(ingredients)
    if method.joint:
        items, backbone = phases.aligned_expert(config, ingredients.sequences.num_items, text["vectors"], None)
        return Method({ALIGNED: (items, backbone)}, penalty=ctrl.beside(items, method))
    expert, first = ctrl.matching(config, ingredients.trial, ingredients.sequences, ingredients.splits, text)
    return Method({ID: expert}, steps=steps(first), first=first, text=ctrl.matched_text(config, text, first))


def joined(ingredients: Ingredients, method: MAKE) -> Method:
    """MAKE: a text expert from its own phase 1, beside a fresh ID expert (:mod:`trainables.pad.make`)."""
    config, text = ingredients.config, text_of(ingredients)
    expert = phases.text_expert(config, text["vectors"])
    first = phases.phase1(config, ingredients.trial, ingredients.sequences, ingredients.splits, text=text)
    phases.load(*expert, first)
    gate = ComplementGate(method.buckets) if method.complement else FrequencyGate((ID, TEXT), method.buckets)
    return Method({ID: phases.id_expert(config, ingredients.sequences.num_items), TEXT: expert}, gate, steps(first))


def disentangled(ingredients: Ingredients, method: DisCo) -> Method:
    """DisCo: one expert of four parts, and their losses (:mod:`trainables.pad.disco`)."""
    config, vectors_IV = ingredients.config, text_of(ingredients)["vectors"]
    kinds = ("inner", "inter")
    sources: list[Items] = [
        *(phases.id_items(config, ingredients.sequences.num_items, f"id {kind}") for kind in kinds),
        *(phases.text_items(config, vectors_IV, f"text {kind}") for kind in kinds),
    ]
    items = DisCoItems(sources, dropout=config.text.dropout, generator=generator_for(config.seed, "disco"))
    penalty = apart_and_sufficient(
        items,
        disentanglement=method.disentanglement,
        sufficiency=method.sufficiency,
        negatives=method.negatives,
    )
    return Method({ALIGNED: (items, phases.expert_backbone(config, "id backbone"))}, penalty=penalty)


def single(ingredients: Ingredients, method: Single) -> Method:
    """One expert of §4.6.1, with or without what comes before; its phases are those of SMEM and PAD."""
    if method.phases == "bce":
        return Method({ID: phases.id_expert(ingredients.config, ingredients.sequences.num_items)})
    same = SMEM(experts="id") if method.phases == "tune" else PAD(experts="aligned", gamma=method.gamma)
    return triple(replace(ingredients, config=replace(ingredients.config, method=same)), same)


def triple(ingredients: Ingredients, method: SMEM | PAD) -> Method:
    """Three experts behind a gate (§3.3), or those of them that take part."""
    config, num_items, text = ingredients.config, ingredients.sequences.num_items, text_of(ingredients)
    where = ingredients.trial, ingredients.sequences, ingredients.splits
    chosen = CHOSEN[method.experts]
    experts: dict[str, Expert] = {}
    offset, first = 0, None
    if ID in chosen or ALIGNED in chosen:
        first = phases.phase1(config, *where)
        offset = steps(first)
        if ID in chosen:
            experts[ID] = phases.id_expert(config, num_items)
            phases.load(*experts[ID], first)
        if ALIGNED in chosen:
            second = phases.phase2(config, *where, text, first)
            offset += steps(second)
            experts[ALIGNED] = phases.aligned_expert(config, num_items, text["vectors"], None)
            phases.load(*experts[ALIGNED], second)
    if TEXT in chosen:
        experts[TEXT] = phases.text_expert(config, text["vectors"])
        if method.pretrain_text:
            alone = phases.phase1(config, *where, text=text, name="phase1_text", before=offset)
            offset += steps(alone)
            phases.load(*experts[TEXT], alone)
    gate = make_gate(config, method, tuple(experts)) if len(experts) > 1 else None
    return Method(experts, gate, offset, first=first)


def make_gate(config: Config, method: SMEM | PAD, names: tuple[str, ...]) -> nn.Module:
    """The gate over experts of these names."""
    match method.gate:
        case "global":
            return GlobalGate(names)
        case "network":
            return NetworkGate(config.dim, len(names), method.buckets, generator=generator_for(config.seed, "gate"))
        case "frequency":
            return FrequencyGate(names, method.buckets)


def text_of(ingredients: Ingredients) -> StageResult:
    """The text vectors' stage."""
    return text_stage(ingredients.sequences, ingredients.config.data, ingredients.trial.stages)
