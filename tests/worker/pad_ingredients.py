"""Inputs of a PAD trial's parts, for tests of single parts."""

from pathlib import Path

from trainables.data.sequences import load
from trainables.data.splits import split
from trainables.pad.compose import Ingredients
from trainables.pad.config import Config
from trainables.storage.stages import Stages
from trainables.trial import LocalTrial


def ingredients(config: Config, folder: Path, stages: Stages) -> Ingredients:
    sequences = load(config.data, stages)
    return Ingredients(config, LocalTrial(folder, stages=stages), sequences, split(sequences, config.data))
