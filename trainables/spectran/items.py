"""The item vectors that a config asks for: its adapter, and the inputs that the adapter builds on."""

from trainables.data.sequences import Sequences
from trainables.data.splits import Rows
from trainables.data.text import text_stage
from trainables.seqrec.items import IdItems
from trainables.seqrec.randomness import generator_for
from trainables.seqrec.text import TextItems
from trainables.spectran.adapters import alphafuse, llm_esr, llminit, morec, rlmrec, spectran, unisrec, whitenrec
from trainables.spectran.adapters import config as adapters
from trainables.spectran.adapters.ingredients import Ingredients
from trainables.spectran.config import Config
from trainables.trial import Trial

Made = (
    IdItems
    | TextItems
    | unisrec.UniSRecItems
    | rlmrec.RLMRecItems
    | llm_esr.LLMESRItems
    | whitenrec.WhitenRecItems
    | alphafuse.AlphaFuseItems
    | spectran.SpectralItems
)
"""All of them `Items` and `nn.Module`, which no one type says."""


def make_items(config: Config, sequences: Sequences, train: Rows, trial: Trial) -> Made:
    """The items that ``config.adapter`` asks for.

    Args:
        config: ``dim``, ``data`` and ``adapter`` are read.
        sequences: all interactions.
        train: the training rows, for adapters that count items or compare users.
        trial: seed and stages.

    Raises:
        ValueError: the text has too few dimensions for ``dim``.
    """
    settings, generator = config.adapter, generator_for(trial.seed, "items")
    if isinstance(settings, adapters.NoAdapter):
        return IdItems(sequences.num_items, config.dim, generator=generator)
    on = Ingredients(
        dim=config.dim,
        text=text_stage(sequences, config.data, trial.stages),
        sequences=sequences,
        train=train,
        stages=trial.stages,
        generator=generator,
    )
    match settings:
        case adapters.MoRec():
            return morec.make(settings, on)
        case adapters.UniSRec():
            return unisrec.make(settings, on)
        case adapters.RLMRec():
            return rlmrec.make(settings, on)
        case adapters.LLMESR():
            return llm_esr.make(settings, on)
        case adapters.WhitenRec():
            return whitenrec.make(settings, on)
        case adapters.LLMInit():
            return llminit.make(settings, on)
        case adapters.AlphaFuse():
            return alphafuse.make(settings, on)
        case adapters.SpecTran():
            return spectran.make(settings, on)
