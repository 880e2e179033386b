"""DisCo: parts, bounds and discriminators by hand, and which gradient reaches what."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from trainables.config import build
from trainables.data.batches import Batch
from trainables.pad.config import Config
from trainables.pad.disco import CLUB, DisCoItems, Discriminator, apart_and_sufficient
from trainables.pad.run import run
from trainables.seqrec.items import IdItems
from trainables.seqrec.losses import draw_negatives
from trainables.seqrec.text import TextItems
from trainables.storage.stages import Stages
from trainables.trial import LocalTrial

ITEMS, DIM = 30, 6


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def sample(seed: int, rows: int = 7) -> torch.Tensor:
    return torch.randn(rows, DIM, generator=seeded(seed))


def made() -> DisCoItems:
    ids = [IdItems(ITEMS, DIM, generator=seeded(0), initial_ID=sample(seed, ITEMS)) for seed in (1, 2)]
    text_IV = torch.randn(ITEMS, 9, generator=seeded(3))
    texts = [TextItems(text_IV, dim=DIM, scale=20, generator=seeded(seed)) for seed in (4, 5)]
    return DisCoItems([*ids, *texts], dropout=0.0, generator=seeded(6))


def batch() -> Batch:
    return Batch(torch.tensor([[0, 3, 4], [3, 5, 3], [0, 0, 9]]), torch.tensor([7, 4, 1]), torch.arange(3))


def test_an_item_is_fused_from_four_parts_each_through_a_layer_of_its_own() -> None:
    items = made()
    index_N = torch.tensor([3, 9, 3])
    gelu = nn.functional.gelu
    sources = [
        items.sources[0].table_ID[index_N],
        items.sources[1].table_ID[index_N],
        items.sources[2].project(items.sources[2].text_IV[index_N]),
        items.sources[3].project(items.sources[3].text_IV[index_N]),
    ]
    parts = [gelu(x @ layer.weight.T + layer.bias) for x, layer in zip(sources, items.dense, strict=True)]
    expected = gelu(torch.cat(parts, dim=1) @ items.fusion.weight.T + items.fusion.bias)
    torch.testing.assert_close(items.rows(index_N), expected)
    torch.testing.assert_close(items.rows()[index_N], expected)
    assert not torch.equal(parts[2], parts[3])


def test_the_bound_equals_the_double_loop_over_pairs() -> None:
    club, x, y = CLUB(DIM, generator=seeded(0)), sample(1), sample(2)
    with torch.no_grad():
        mean, log_variance = club(x)
        log_q = [
            [float((-((y[m] - mean[n]) ** 2) / (2 * log_variance[n].exp())).sum()) for m in range(7)] for n in range(7)
        ]
    expected = sum(log_q[n][n] - sum(log_q[n]) / 7 for n in range(7)) / 7
    assert club.bound(x, y).item() == pytest.approx(expected, rel=1e-4)


def test_the_learnt_bound_lies_above_the_information_of_two_gaussians_and_near_none_without_any() -> None:
    correlation = 0.8
    x, noise = torch.randn(2000, 1, generator=seeded(1)), torch.randn(2000, 1, generator=seeded(2))
    bounds = []
    for share in (correlation, 0.0):
        y = share * x + math.sqrt(1 - share**2) * noise
        club = CLUB(1, generator=seeded(3))
        with torch.no_grad():
            for layers in (club.mean, club.log_variance):  # a hidden unit that passes all of x, ahead of the ReLU
                layers[0].weight.fill_(1.0)
                layers[0].bias.fill_(5.0)
        adam = torch.optim.Adam(club.parameters(), lr=0.03)
        for _ in range(200):
            adam.zero_grad()
            club.unlikelihood(x, y).backward()
            adam.step()
        bounds.append(club.bound(x, y).item())
    assert bounds[0] > -0.5 * math.log(1 - correlation**2)
    assert abs(bounds[1]) < 0.05


def test_the_bound_moves_the_parts_and_the_likelihood_the_network_and_neither_the_other() -> None:
    club = CLUB(DIM, generator=seeded(0))
    x, y = sample(1).requires_grad_(), sample(2).requires_grad_()
    club.bound(x, y).backward()
    assert all(parameter.grad is None for parameter in club.parameters())
    assert x.grad is not None
    assert y.grad is not None
    assert x.grad.any()
    assert y.grad.any()
    x.grad = y.grad = None
    club.unlikelihood(x, y).backward()
    assert x.grad is None
    assert y.grad is None
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in club.parameters())


def test_the_likelihood_is_that_of_a_gaussian() -> None:
    club, x, y = CLUB(DIM, generator=seeded(0)), sample(1), sample(2)
    mean, log_variance = club(x)
    normal = torch.distributions.Normal(mean, (log_variance / 2).exp())
    expected = -2 * normal.log_prob(y).sum(dim=1).mean() - DIM * math.log(2 * math.pi)
    torch.testing.assert_close(club.unlikelihood(x, y), expected)


def by_hand(items: DisCoItems, rows: Batch, negatives: int, seed: int) -> tuple[float, float]:
    """Sum of the bounds, none below zero, and of the discriminators' losses, row by row."""
    met = torch.cat([rows.history_BL, rows.target_B[:, None]], dim=1)
    negative = draw_negatives(ITEMS, negatives, met, seeded(seed))
    parts = [part.detach() for part in items.parts()]
    distinct = sorted(set(met.flatten().tolist()) - {0})
    bound = 0.0
    for (a, b), club in zip([(0, 2), (1, 3), (0, 1), (2, 3)], items.bounds, strict=True):
        bound += max(0.0, float(club.bound(parts[a][distinct], parts[b][distinct])))
    telling = 0.0
    for part, teller in zip(parts, items.tellers, strict=True):
        right, wrong = [], []
        for history, target, others in zip(rows.history_BL, rows.target_B, negative, strict=True):
            summary = part[history[history != 0]].mean(dim=0)
            weight, bias = teller.weight_DD.detach(), teller.bias.detach()
            scores = [float(summary @ weight @ part[i] + bias) for i in [int(target), *others]]
            right.append(math.log1p(math.exp(-scores[0])))
            wrong += [math.log1p(math.exp(score)) for score in scores[1:]]
        telling += (sum(right) / len(right) + sum(wrong) / len(wrong)) / 2
    return bound, telling


@pytest.mark.parametrize(("disentanglement", "sufficiency"), [(0.2, 0.2), (0.5, 0.0), (0.0, 0.7)])
def test_the_penalty_is_the_weighted_sum_of_bounds_and_of_discriminators(
    disentanglement: float, sufficiency: float
) -> None:
    items = made()
    bound, telling = by_hand(items, batch(), 4, 8)
    penalty = apart_and_sufficient(items, disentanglement=disentanglement, sufficiency=sufficiency, negatives=4)
    expected = disentanglement * bound + sufficiency * telling
    assert penalty(batch(), seeded(8)).item() == pytest.approx(expected, rel=1e-4)


def reached(module: nn.Module) -> bool:
    return any(parameter.grad is not None and bool(parameter.grad.any()) for parameter in module.parameters())


def test_each_loss_reaches_what_it_should() -> None:
    items = made()
    apart_and_sufficient(items, disentanglement=0.2, sufficiency=0.0, negatives=4)(batch(), seeded(8)).backward()
    assert all(reached(part) for part in [*items.sources, *items.dense, *items.bounds])
    assert not reached(items.tellers)
    assert not reached(items.fusion)
    items = made()
    apart_and_sufficient(items, disentanglement=0.0, sufficiency=0.2, negatives=4)(batch(), seeded(8)).backward()
    assert all(reached(part) for part in [*items.sources, *items.dense, *items.tellers])
    assert not reached(items.bounds)
    assert not items.sources[0].table_ID.grad[0].any()  # padding


def test_the_networks_learn_at_one_pace_whatever_the_weight_of_the_bounds() -> None:
    gradients = []
    for weight in (0.2, 0.9):
        items = made()
        penalty = apart_and_sufficient(items, disentanglement=weight, sufficiency=0.0, negatives=4)
        penalty(batch(), seeded(8)).backward()
        gradients.append(torch.cat([p.grad.flatten() for p in items.bounds.parameters() if p.grad is not None]))
    assert torch.equal(*gradients)


def test_a_network_that_lags_behind_drives_no_parts_away() -> None:
    items = made()
    penalty = apart_and_sufficient(items, disentanglement=0.2, sufficiency=0.0, negatives=4)
    optimiser = torch.optim.SGD([*items.sources.parameters(), *items.dense.parameters()], lr=1.0)  # networks stay
    values = []
    for _ in range(200):
        optimiser.zero_grad()
        value = penalty(batch(), seeded(8))
        value.backward()
        optimiser.step()
        values.append(value.item())
    assert values[0] > 0
    assert min(values) >= 0
    assert values[-1] == 0
    assert max(float(part.detach().abs().max()) for part in items.parts()) < 50


def test_a_discriminator_is_bilinear() -> None:
    teller = Discriminator(DIM, generator=seeded(0))
    summary_BD, candidate_BSD = sample(1, 2), torch.randn(2, 3, DIM, generator=seeded(2))
    expected = nn.functional.bilinear(
        summary_BD[:, None].expand(2, 3, DIM).contiguous(), candidate_BSD, teller.weight_DD[None]
    )
    torch.testing.assert_close(teller(summary_BD, candidate_BSD), expected[:, :, 0])


def test_a_trial_learns(tmp_path: Path) -> None:
    small: dict[str, Any] = {
        "method.name": "disco",
        "dim": 16,
        "backbone.blocks": 1,
        "text.layers": 1,
        "data.text_width": 32,
        "fit.epochs": 3,
        "fit.learning_rate": 1e-3,
    }
    trial = LocalTrial(tmp_path, stages=Stages(tmp_path / "stages"))
    run(build(Config, small), trial)
    losses = [line["train/loss"] for _, line in trial.reports if "train/loss" in line]
    assert losses[0] > losses[1] > losses[2]
    assert losses[0] == pytest.approx(2 * math.log(2) + 0.8 * math.log(2), abs=0.15)  # of what knows nothing yet
    assert [step for step, _ in trial.reports[:3]] == [1, 2, 3]
