"""Type-I error of the paired tests, and how often p value and interval disagree, beside Wilcoxon's signed-rank test.

    python -m tests.benchmarks.pairs [--tests 3000] [--flips 1000]

Two methods of equal mean NDCG@20 and other shapes: the first puts many targets at middling ranks, the second few at the
top. Each test draws users anew, so that every rejection at .05 is a false one. Intervals of a share are Wilson's.
"""

import argparse
from collections.abc import Iterator

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.stats import binomtest

from platform.analysis import resampling
from platform.analysis.pairs import gain

LEVEL = 0.05
_AT_ONCE = 100


def draws(users: int, tests: int) -> Iterator[np.ndarray]:
    """Differences of NDCG@20 (users, tests at once) between two methods whose true means are equal."""
    generator = np.random.default_rng(0)
    rank_top, rank_middle = np.arange(1, 4), np.arange(8, 21)
    top, middle = gain(rank_top, 20).mean(), gain(rank_middle, 20).mean()
    share = 0.12  # of the users whose target the first method has among its twenty
    for start in range(0, tests, _AT_ONCE):
        shape = (users, min(_AT_ONCE, tests - start))
        first = np.where(generator.random(shape) < share, gain(generator.choice(rank_middle, shape), 20), 0.0)
        hit = generator.random(shape) < share * middle / top
        second = np.where(hit, gain(generator.choice(rank_top, shape), 20), 0.0)
        yield first - second


def main() -> None:
    """Print a line per number of users."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, nargs="+", default=[1000, 5000, 20_000])
    parser.add_argument("--tests", type=int, default=3000, help="a third of it above 10,000 users")
    parser.add_argument("--flips", type=int, default=1000)
    options = parser.parse_args()
    resampling.FLIPS = resampling.RESAMPLES = options.flips
    table = Table(title=f"share of false rejections at {LEVEL}, {options.flips} flips")
    for name in ("users", "tests", "sign flips", "interval", "Wilcoxon", "flips / interval disagree", "Wilcoxon"):
        table.add_column(name, justify="right")
    for users in options.users:
        tests = options.tests if users <= 10_000 else options.tests // 3
        p, w, outside = [], [], []
        for resampling.SEED, total_UC in enumerate(draws(users, tests)):  # signs of its own for each hundred tests
            means = resampling.resampled_means(total_UC, np.arange(users))
            low, high = np.percentile(means, [2.5, 97.5], axis=0)
            outside += list((low > 0) | (high < 0))
            for column, flips in zip(total_UC.T, resampling.flipped_sums(total_UC).T, strict=True):
                p.append(resampling.randomisation(flips, float(column.sum())))
                w.append(resampling.signed_rank(column))
        is_flipped, is_ranked = np.array(p) < LEVEL, np.array(w) < LEVEL
        interval = binomtest(int(is_flipped.sum()), tests).proportion_ci(method="wilson")
        table.add_row(
            f"{users}", f"{tests}", f"{is_flipped.mean():.4f}", f"{interval.low:.3f} to {interval.high:.3f}",
            f"{is_ranked.mean():.4f}", f"{np.mean(is_flipped != outside):.3f}", f"{np.mean(is_ranked != outside):.3f}",
        )  # fmt: skip
    Console().print(table)


if __name__ == "__main__":
    main()
