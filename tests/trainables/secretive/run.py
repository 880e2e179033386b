"""Report once, or fail loudly; see config.py."""

import os
from typing import Any

from trainables.trial import Trial


def run(config: Any, trial: Trial) -> None:
    """Report 0.5, then fail with the config's text and what an environment variable holds, if there is a text."""
    trial.tag("said", config.text or "nothing")
    trial.report(1, {"valid/ndcg_10": 0.5})
    if config.text:
        raise OSError(f"{config.text}: {config.hub.api_key} {os.environ.get('HUB_TOKEN')}")
