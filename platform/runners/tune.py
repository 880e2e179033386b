"""Runs the trials of a sweep on Ray: one object stands behind Tune's searcher and scheduler and asks the ledger.

Tune starts trials, reuses their actors and carries reports. It gets no metric, and nothing relies on its state. A trial
that must be started again comes back through the ledger under its own number.
"""

from __future__ import annotations

import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from platform.errors import SweepError
from platform.runners.ledger import Ledger
from platform.runners.placement import Capacity
from platform.runners.watchdog import is_listening, watch_head
from trainables.exceptions import first_line
from trainables.trial import WORKER_LOST

# Read by Ray when it is imported or when a worker starts.
ENVIRONMENT = {
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # `./data` means the same folder on a worker
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # sweep.py handles signals
    "TUNE_FUNCTION_THREAD_TIMEOUT_S": "60",  # a reset that times out would lose the next trial
    "TUNE_GLOBAL_CHECKPOINT_S": "86400",  # Tune's own snapshot is not used
    "TUNE_WARN_THRESHOLD_S": "60",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
}

# The same, where Ray is started here: its servers then take this machine's loopback for their address, as they do by
# default on systems that Ray makes no clusters of, and listen nowhere else.
ALONE = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}

_EMPTY_HANDED_ROUNDS = 3
_ANSWER_S = 10.0

logger = logging.getLogger(__name__)


def joining(address: str | None) -> str:
    """The words for what `connect` does, which takes seconds."""
    return f"joins Ray at {address}" if address else "starts Ray"


def connect(address: str | None) -> None:
    """Start Ray on this machine, or join the cluster at `address`; Ray's own messages are logged.

    Raises:
        SweepError: the address cannot be joined, or is a Ray Client one.
    """
    if address and address.startswith("ray://"):
        raise SweepError(
            f"--address: must be a cluster that the driver itself joins (auto, host:port), but got {address!r}; "
            "Ray Client would move the driver's callbacks: use platform.submit, or run this command on the head node"
        )
    if address and not is_listening(address, _ANSWER_S):  # what is no host:port is left to Ray, which tries for minutes
        raise SweepError(f"--address: must be a Ray cluster that answers, but nothing does at {address!r}; start it")
    os.environ.update(ENVIRONMENT)
    if not address:
        os.environ.update(ALONE)
    import ray

    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR, "configure_logging": False}
    try:
        if address:
            ray.init(address=address, runtime_env={"env_vars": ENVIRONMENT}, **options)
        else:
            _start(options)
    except (ConnectionError, OSError, RuntimeError, ValueError) as error:
        raise SweepError(f"--address: must be a Ray cluster that answers, but got {address!r}: {error}") from error
    finally:
        for name in ALONE:  # what was started has it; a cluster that is joined later is none of its business
            os.environ.pop(name, None)


def _start(options: dict[str, Any]) -> None:
    """Start Ray on this machine; once more where its processes did not come up in time, of which Ray says `Exception`.

    Raises:
        SweepError: it does not start.
    """
    import ray

    for is_last in (False, True):
        try:
            ray.init(address="local", include_dashboard=False, **options)
            return
        except Exception as error:
            ray.shutdown()
            logger.warning("Ray does not start: %s", error)
            if is_last:
                what = f"Ray must start on this machine, but did not: {first_line(error)}"
                raise SweepError(f"{what}; free some CPU and memory, the same command carries on") from error


def disconnect() -> None:
    """End the local Ray, or leave the cluster; nothing where none was joined."""
    if "ray" in sys.modules:
        import ray

        ray.shutdown()


def run(
    ledger: Ledger,
    capacity: Capacity,
    check: Callable[[], None] = lambda: None,
    on_head_lost: Callable[[], None] = lambda: None,
) -> None:
    """Run every trial that `ledger` hands out on the connected cluster; returns when nothing is left.

    Args:
        ledger: the sweep's.
        capacity: what a trial takes and how many run at once.
        check: called again and again where it may raise to end the run.
        on_head_lost: called from another thread if Ray itself is gone; this function may never return then.

    Raises:
        SweepError: Tune gives up several times without a trial having come any further.
    """
    import ray

    with watch_head(ray.get_runtime_context().gcs_address, on_head_lost):
        _rounds(ledger, capacity, check)


def _rounds(ledger: Ledger, capacity: Capacity, check: Callable[[], None]) -> None:
    """One Tune run after another, until nothing is left."""
    empty_handed = 0
    while ledger.left or ledger.running:
        ended_before = _ended(ledger)
        for number in list(ledger.running):  # Tune dropped them; they are started again under their own number
            ledger.fail(number, WORKER_LOST, "Tune ended without it")
        error = _tune(ledger, capacity, check)
        empty_handed = 0 if _ended(ledger) > ended_before else empty_handed + 1
        if error or empty_handed:
            logger.warning("Tune ended early: %s", error)
        if empty_handed == _EMPTY_HANDED_ROUNDS:
            raise SweepError(f"Ray Tune must bring trials to their end, but it gave up {empty_handed} times: {error}")


def _ended(ledger: Ledger) -> int:
    return sum(trial.state.is_finished() for trial in ledger.study.trials())


def _tune(ledger: Ledger, capacity: Capacity, check: Callable[[], None]) -> Exception | None:
    """One Tune run over what is left; returns the error that ended it, if one did."""
    from ray import tune
    from ray.exceptions import RayError
    from ray.tune.error import TuneError

    from platform.runners.bridge import Bridge, LedgerScheduler, LedgerSearcher, SweepStopper
    from trainables.runtime.on_ray import train

    bridge = Bridge(ledger, capacity.cpu, capacity.gpu)
    scratch = Path(tempfile.mkdtemp(prefix="sweep-tune-"))
    bundles = [capacity.bundle] * capacity.nodes
    strategy = "PACK" if capacity.nodes == 1 else "STRICT_SPREAD"
    selector = {"bundle_label_selector": [dict(capacity.label)] * capacity.nodes} if capacity.label else {}
    tuner = tune.Tuner(
        tune.with_resources(train, tune.PlacementGroupFactory(bundles, strategy, **selector)),
        tune_config=tune.TuneConfig(
            search_alg=LedgerSearcher(bridge, check),
            scheduler=LedgerScheduler(bridge),
            num_samples=-1,
            max_concurrent_trials=capacity.at_once,
            reuse_actors=True,
            trial_dirname_creator=lambda trial: trial.trial_id,
        ),
        run_config=tune.RunConfig(
            name="sweep",
            storage_path=str(scratch),
            stop=SweepStopper(bridge, check),
            failure_config=tune.FailureConfig(max_failures=0),
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            verbose=0,
        ),
    )
    # Tune looks for its own tables of every trial in the end and names each that has none; none has, ours are journals
    logging.getLogger("ray.tune.analysis.experiment_analysis").setLevel(logging.ERROR)
    gave_up: Exception | None = None
    try:
        tuner.fit()
    except (TuneError, RayError) as error:
        gave_up = error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return gave_up
