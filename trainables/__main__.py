"""``python -m trainables spectran fit.epochs=2``: one trial in this process, no Ray, no MLflow."""

import argparse
import hashlib
import json
import sys
from pathlib import Path

from trainables import config as configs
from trainables import registry
from trainables.on_ray import device
from trainables.trial import LocalTrial
from trainables.worker import run_trial, training_seed


def main(arguments: list[str] | None = None) -> int:
    """Run one trial and print one JSON line a report; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m trainables", description=__doc__)
    parser.add_argument("trainable", help="a built-in name, or a dotted path of a package of your own")
    parser.add_argument("values", nargs="*", metavar="field=value", help="dotted fields of its Config")
    parser.add_argument(
        "--folder", type=Path, help="checkpoints and artifacts go here; default: one in runs/single for each setting"
    )
    parser.add_argument("--gpu", action="store_true", help="train on the first GPU")
    options = parser.parse_args(arguments)
    if wrong := [pair for pair in options.values if "=" not in pair]:
        parser.error(f"a value must be written field=value, but got {wrong[0]!r}")
    values = {key: _scalar(text) for key, _, text in (pair.partition("=") for pair in options.values)}
    setting = hashlib.sha256(json.dumps([options.trainable, values], sort_keys=True).encode()).hexdigest()[:8]
    folder = options.folder or Path("runs/single") / f"{options.trainable}-{setting}"

    def show(step: int, metrics: dict[str, float]) -> None:
        sys.stdout.write(json.dumps({"step": step, **metrics}) + "\n")

    trial = LocalTrial(folder, seed=training_seed(values), device=device(float(options.gpu)), send=show)
    try:
        run_trial(options.trainable, values, trial)
    except (configs.ConfigError, registry.UnknownTrainable) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


def _scalar(text: str) -> object:
    """``2`` a number, ``true`` a truth value, ``null`` nothing, anything else the text itself."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


if __name__ == "__main__":
    sys.exit(main())
