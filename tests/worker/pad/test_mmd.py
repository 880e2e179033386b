"""MMD against loops over pairs, a reference value and finite differences; no table of all pairs where it is large."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trainables.pad import mmd as module
from trainables.pad.mmd import EXPONENTS, Kernel, mean_distance, mmd

KERNELS: tuple[Kernel, ...] = ("gaussian", "laplacian", "linear", "cosine", "cosine_distance")
SOURCE = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 2.0]])
TARGET = torch.tensor([[1.0, 1.0], [2.0, 2.0], [0.0, 3.0]])


def sample(rows: int, width: int, seed: int, shift: float = 0.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, width, generator=generator, dtype=torch.float64) + shift


def looped(
    source: torch.Tensor,
    target: torch.Tensor,
    kernel: Kernel,
    exponents: tuple[float, ...] = EXPONENTS,
    bandwidths: tuple[float, ...] | None = None,
    biased: bool = False,
) -> float:
    """The definition, one pair at a time."""
    rows = [*source.tolist(), *target.tolist()]
    power = 1 if kernel == "laplacian" else 2

    def distance(x: list[float], y: list[float]) -> float:
        return sum(abs(a - b) ** power for a, b in zip(x, y, strict=True))

    mean = sum(distance(x, y) for x in rows for y in rows) / len(rows) ** 2
    squares = [2.0**k * mean for k in exponents] if bandwidths is None else [s**2 for s in bandwidths]

    def alike(x: list[float], y: list[float]) -> float:
        if kernel in ("gaussian", "laplacian"):
            factor = 2 if kernel == "gaussian" else 1
            return sum(math.exp(-distance(x, y) / (factor * square)) for square in squares)
        dot = sum(a * b for a, b in zip(x, y, strict=True))
        if kernel == "linear":
            return dot
        cosine = dot / math.sqrt(sum(a * a for a in x) * sum(b * b for b in y))
        return cosine if kernel == "cosine" else 1 - cosine

    def within(members: list[list[float]]) -> float:
        pairs = [*itertools.product(members, repeat=2)] if biased else [*itertools.permutations(members, 2)]
        return sum(alike(x, y) for x, y in pairs) / len(pairs)

    cross = [alike(x, y) for x in source.tolist() for y in target.tolist()]
    return within(source.tolist()) + within(target.tolist()) - 2 * sum(cross) / len(cross)


def test_the_reference_value_of_the_released_statistic() -> None:
    assert mmd(SOURCE, TARGET).item() == pytest.approx(0.0906298, abs=1e-6)
    assert mmd(SOURCE, TARGET, constant=True).item() == pytest.approx(1.0906298, abs=1e-6)
    assert mean_distance(torch.cat([SOURCE, TARGET]), squared=True).item() == pytest.approx(3.5556, abs=1e-4)


@pytest.mark.parametrize("kernel", KERNELS)
@settings(max_examples=20)
@given(st.integers(2, 7), st.integers(2, 7), st.integers(1, 5), st.integers(0, 10_000), st.booleans())
def test_every_kernel_equals_a_loop_over_pairs(
    kernel: Kernel, source_rows: int, target_rows: int, width: int, seed: int, biased: bool
) -> None:
    source, target = sample(source_rows, width, seed), sample(target_rows, width, seed + 1, shift=0.5)
    value = mmd(source, target, kernel=kernel, biased=biased).item()
    assert value == pytest.approx(looped(source, target, kernel, biased=biased), abs=1e-9)


@pytest.mark.parametrize("kernel", ["gaussian", "laplacian"])
@pytest.mark.parametrize("exponents", [(0,), (1, -2), (0.5, 1, 3), (-3, -3)])
def test_any_exponents_equal_a_loop_over_pairs(kernel: Kernel, exponents: tuple[float, ...]) -> None:
    source, target = sample(5, 3, 0), sample(6, 3, 1, shift=1)
    value = mmd(source, target, kernel=kernel, exponents=exponents).item()
    assert value == pytest.approx(looped(source, target, kernel, exponents), abs=1e-9)


@pytest.mark.parametrize("kernel", ["gaussian", "laplacian"])
def test_literal_bandwidths_are_used_as_they_are(kernel: Kernel) -> None:
    source, target = sample(5, 3, 0), sample(6, 3, 1, shift=1)
    value = mmd(source, target, kernel=kernel, bandwidths=(2, 0.5, -3)).item()
    assert value == pytest.approx(looped(source, target, kernel, bandwidths=(2, 0.5, 3)), abs=1e-9)
    assert value != pytest.approx(mmd(source, target, kernel=kernel).item(), abs=1e-3)


@pytest.mark.parametrize("kernel", KERNELS)
def test_equal_samples_are_zero_apart_up_to_each_vectors_pair_with_itself(kernel: Kernel) -> None:
    same = sample(20, 4, 0)
    assert mmd(same, same.clone(), kernel=kernel, biased=True).item() == pytest.approx(0, abs=1e-12)
    if kernel in ("gaussian", "laplacian"):
        offs = [mmd(same, same.clone(), kernel=kernel, exponents=(k,)).item() for k in EXPONENTS]
        assert all(-2 / 20 < value < 0 for value in offs)
        value = mmd(same, same.clone(), kernel=kernel).item()
        assert value == pytest.approx(sum(offs))
        far = mmd(same, same + 1e6, kernel=kernel, bandwidths=(1.5,)).item()  # twice the mean within, nothing across
        off = mmd(same, same.clone(), kernel=kernel, bandwidths=(1.5,)).item()
        assert off == pytest.approx(-2 / 20 * (1 - far / 2))
        assert mmd(same, sample(20, 4, 1, shift=2), kernel=kernel).item() > 0.5


@pytest.mark.parametrize("kernel", ["gaussian", "laplacian"])
def test_without_bias_samples_of_one_distribution_are_zero_apart_on_average(kernel: Kernel) -> None:
    values = torch.tensor([mmd(sample(20, 3, 2 * n), sample(20, 3, 2 * n + 1), kernel=kernel) for n in range(200)])
    assert abs(values.mean()) < 4 * values.std() / math.sqrt(200)
    assert values.min() < 0 < values.max()


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("biased", [False, True])
def test_gradients_of_both_sides_equal_finite_differences(kernel: Kernel, biased: bool) -> None:
    source, target = sample(4, 3, 0).requires_grad_(), sample(5, 3, 1, shift=1).requires_grad_()
    frozen = None
    if kernel in ("gaussian", "laplacian"):  # the mean distance takes no part in the gradient: hold it
        factor = mean_distance(torch.cat([source, target]).detach(), squared=kernel == "gaussian").item()
        frozen = tuple(math.sqrt(2.0**k * factor) for k in EXPONENTS)

    def loss(s: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return mmd(s, t, kernel=kernel, bandwidths=frozen, biased=biased)

    assert torch.autograd.gradcheck(loss, (source, target))
    fixed = torch.autograd.grad(loss(source, target), (source, target))
    adaptive = torch.autograd.grad(mmd(source, target, kernel=kernel, biased=biased), (source, target))
    for a, b in zip(adaptive, fixed, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_detached_side_leaves_the_other_sides_gradient_as_it_is(kernel: Kernel) -> None:
    text, ids = sample(6, 3, 0).requires_grad_(), sample(6, 3, 1, shift=1).requires_grad_()
    both, other = torch.autograd.grad(mmd(text, ids, kernel=kernel), (text, ids))
    (alone,) = torch.autograd.grad(mmd(text, ids.detach(), kernel=kernel), (text,))
    torch.testing.assert_close(alone, both)
    assert both.abs().max() > 0
    assert other.abs().max() > 0
    loss = mmd(text, ids.detach(), kernel=kernel)
    loss.backward()
    assert ids.grad is None
    assert text.grad is not None


@pytest.mark.parametrize("kernel", ["gaussian", "laplacian"])
def test_blocks_change_neither_value_nor_gradient(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = sample(70, 3, 0).requires_grad_(), sample(53, 3, 1, shift=1).requires_grad_()
    whole = mmd(source, target, kernel=kernel)
    whole_gradients = torch.autograd.grad(whole, (source, target))
    monkeypatch.setattr(module, "_PAIRS_AT_ONCE", {"cpu": 1, "other": 1})
    parts = mmd(source, target, kernel=kernel)
    torch.testing.assert_close(parts, whole)
    for a, b in zip(torch.autograd.grad(parts, (source, target)), whole_gradients, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("kernel", KERNELS)
def test_no_tensor_grows_with_pairs_times_columns_nor_with_all_pairs(kernel: Kernel) -> None:
    rows, width = 800, 16
    source, target = sample(rows, width, 0).float().requires_grad_(), sample(rows, width, 1).float().requires_grad_()
    with torch.profiler.profile(profile_memory=True, activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        mmd(source, target, kernel=kernel).backward()
    largest = max(event.cpu_memory_usage for event in profile.events())
    assert 0 < largest < rows * rows * 4  # bytes of one side's table of pairs


def test_vectors_far_from_the_origin_lose_nothing_to_rounding() -> None:
    source, target = sample(50, 8, 0), sample(50, 8, 1, shift=0.5)
    far = mmd((source + 300).float(), (target + 300).float()).item()
    assert far == pytest.approx(mmd(source, target).item(), abs=1e-3)


@pytest.mark.parametrize("kernel", KERNELS)
def test_collapsed_vectors_give_numbers(kernel: Kernel) -> None:
    source, target = torch.ones(5, 3, requires_grad=True), torch.ones(5, 3, requires_grad=True)
    value = mmd(source, target, kernel=kernel)
    value.backward()
    assert value.item() == pytest.approx(0, abs=1e-5)
    assert source.grad is not None
    assert source.grad.isfinite().all()


@given(st.integers(1, 9), st.integers(1, 4), st.integers(0, 1000))
@settings(max_examples=20)
def test_mean_distances_need_no_pairs(rows: int, width: int, seed: int) -> None:
    vectors = sample(rows, width, seed)
    pairs = vectors[:, None] - vectors
    assert mean_distance(vectors, squared=True).item() == pytest.approx(pairs.square().sum(2).mean().item(), abs=1e-12)
    assert mean_distance(vectors, squared=False).item() == pytest.approx(pairs.abs().sum(2).mean().item(), abs=1e-12)


@pytest.mark.parametrize(
    ("source", "target", "settings", "message"),
    [
        (SOURCE[:1], TARGET, {}, r"samples of 2 vectors or more, but got 1 and 3; raise fit.batch_size"),
        (SOURCE, TARGET[:, :1], {}, r"vectors of one width, but got 2 and 1; bring both"),
        (SOURCE, TARGET, {"exponents": ()}, r"needs a kernel, but got neither exponents nor bandwidths"),
        (
            SOURCE,
            TARGET,
            {"bandwidths": (-1.0, 0.0)},
            r"must not be zero, .*, but got \(-1.0, 0.0\); drop it, or leave",
        ),
    ],
)
def test_what_cannot_be_compared_is_refused(
    source: torch.Tensor, target: torch.Tensor, settings: dict[str, tuple[float, ...]], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        mmd(source, target, **settings)  # type: ignore[arg-type]
