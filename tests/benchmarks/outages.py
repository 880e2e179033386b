"""The cost of MLflow's outages to a sweep, and what is lost or double: `python tests/benchmarks/outages.py`.

A sweep on Ray, tracked by a real server on PostgreSQL. It is frozen, loses its database and is killed, 20 s each.
"""

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tests.outages import Outage, differences, gaps, play, servers  # noqa: E402
from tests.servers import pg_binaries  # noqa: E402


def main() -> None:
    """Print what was lost or double, and how much longer a report took during an outage than outside."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0, help="of each outage")
    parser.add_argument("--sleep", type=float, default=0.2, help="seconds of work before each report")
    parser.add_argument("--address", default=None, help="inline: without Ray")
    options = parser.parse_args()
    binaries = pg_binaries()
    if binaries is None:
        sys.exit("PostgreSQL must be installed, but there is no initdb below /usr/lib/postgresql; see .ci/run")
    trials = 6
    steps = int((3 * (options.seconds + 10) + 40) * 2 / trials / options.sleep)
    with tempfile.TemporaryDirectory(dir="/tmp") as name, servers(binaries, Path(name)) as (database, mlflow, url):
        outages = [
            Outage("server frozen", mlflow.freeze, mlflow.thaw),
            Outage("database killed", database.kill, database.begin),
            Outage("server killed", mlflow.kill, mlflow.begin),
        ]
        arguments = ("--address", options.address) if options.address else ()
        how = {"trials": trials, "steps": steps, "sleep": options.sleep, "arguments": arguments}
        played = play(Path(name), mlflow.uri, outages, seconds=options.seconds, pause=10, **how)
        found = differences(played, url)
        inside, outside = gaps(played, options.sleep)
    print("outages: " + ", ".join(f"{span.name} {span.ended - span.began:.0f} s" for span in played.spans))
    print(f"{trials} trials, {trials * steps} reports, {played.starts} start(s) of the command")
    print(f"lost, double or RUNNING: {len(found)}" + "".join(f"\n  {line}" for line in found[:20]))
    for what, seconds in (("during outages", inside), ("outside", outside)):
        print(
            f"a report beyond its own work, {what:14}: median {1000 * statistics.median(seconds):.1f} ms, "
            f"99th percentile {1000 * statistics.quantiles(seconds, n=100)[98]:.1f} ms, longest "
            f"{1000 * max(seconds):.1f} ms ({len(seconds)} reports)"
        )
    print(f"ratio of the medians: {statistics.median(inside) / statistics.median(outside):.2f}")


if __name__ == "__main__":
    main()
