"""GRU4Rec: against the cell written as a loop; what all causal backbones must do is in test_backbones.py."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.worker.histories import DIM, LENGTH, ROWS, histories, shaken
from trainables.backbones.gru4rec import GRU4Rec


def backbone(
    hidden: int | None = None,
    layers: int = 1,
    dense: bool = True,
    final_norm: bool = False,
    dropout: float = 0.0,
) -> GRU4Rec:
    generator = torch.Generator().manual_seed(0)
    made = GRU4Rec(
        DIM, hidden=hidden, layers=layers, dense=dense, final_norm=final_norm, dropout=dropout, generator=generator
    )
    return shaken(made, generator)


def states_by_loops(model: GRU4Rec, x_TD: torch.Tensor) -> torch.Tensor:
    """The states of one history's T items: one layer and one step at a time (Cho et al. 2014, as torch has it)."""
    for gru in model.layers:
        assert isinstance(gru, torch.nn.GRU)
        into, across, bias_into, bias_across = gru.all_weights[0]
        state, after = torch.zeros(gru.hidden_size), []
        for x in x_TD:
            (r_x, z_x, n_x), (r_h, z_h, n_h) = (
                (weight @ what + bias).chunk(3)
                for weight, what, bias in ((into, x, bias_into), (across, state, bias_across))
            )
            reset, update = torch.sigmoid(r_x + r_h), torch.sigmoid(z_x + z_h)
            state = (1 - update) * torch.tanh(n_x + reset * n_h) + update * state
            after.append(state)
        x_TD = torch.stack(after)
    return model.norm(model.dense(x_TD))


@pytest.mark.parametrize(
    ("hidden", "layers", "dense", "final_norm"),
    [(None, 1, True, False), (None, 1, False, False), (5, 2, True, True), (20, 3, True, False)],
)
def test_equals_the_cell_written_as_a_loop(hidden: int | None, layers: int, dense: bool, final_norm: bool) -> None:
    model, (vectors_BLD, mask_BL) = backbone(hidden, layers, dense, final_norm), histories()
    with torch.no_grad():
        states_BLD = model(vectors_BLD, mask_BL)
        for row in range(ROWS):
            held_L = mask_BL[row]
            expected_TD = states_by_loops(model, vectors_BLD[row, held_L])
            torch.testing.assert_close(states_BLD[row, held_L], expected_TD, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("hidden", "dense", "final_norm", "count"),
    [(None, True, False, 115_584), (None, False, False, 99_072), (256, True, True, 329_600)],
)
def test_parameters_at_width_128(hidden: int | None, dense: bool, final_norm: bool, count: int) -> None:
    generator = torch.Generator().manual_seed(0)
    model = GRU4Rec(128, hidden=hidden, dense=dense, final_norm=final_norm, generator=generator)
    wide = hidden or 128
    assert sum(parameter.numel() for parameter in model.parameters()) == count
    assert count == 3 * wide * (128 + wide + 2) + dense * (wide + 1) * 128 + final_norm * 2 * 128


def test_a_state_of_another_width_needs_the_dense_layer() -> None:
    with pytest.raises(ValueError, match=r"hidden must be dim without a dense layer, but got hidden 5 and dim 12"):
        backbone(hidden=5, dense=False)


@given(held=st.lists(st.integers(1, LENGTH), min_size=ROWS, max_size=ROWS), more=st.integers(0, 4))
@settings(max_examples=12)
def test_padding_beyond_the_longest_history_and_the_other_rows_change_no_state(held: list[int], more: int) -> None:
    model, (vectors_BLD, _) = backbone(layers=2), histories()
    wide_BLD = torch.cat([torch.full((ROWS, more, DIM), 9.0), vectors_BLD], dim=1)
    mask_BL = torch.arange(more + LENGTH) >= more + LENGTH - torch.tensor(held)[:, None]
    long_BLD = model(wide_BLD, mask_BL)
    for row, count in enumerate(held):
        alone_1TD = model(vectors_BLD[row : row + 1, -count:], torch.ones(1, count, dtype=torch.bool))
        torch.testing.assert_close(long_BLD[row, -count:], alone_1TD[0], atol=1e-5, rtol=1e-5)


def test_a_final_norm_leaves_states_of_length_sqrt_dim_from_the_start() -> None:
    model = GRU4Rec(64, final_norm=True, generator=torch.Generator().manual_seed(0))
    vectors_BLD = 0.02 * torch.randn(5, LENGTH, 64, generator=torch.Generator().manual_seed(1))
    states_BD = model.last(vectors_BLD, torch.ones(5, LENGTH, dtype=torch.bool))
    torch.testing.assert_close(states_BD.norm(dim=1), torch.full((5,), 8.0), atol=0.1, rtol=0)


def test_initial_weights_follow_the_generator_alone_and_are_as_wide_as_torchs() -> None:
    def made(seed: int) -> GRU4Rec:
        return GRU4Rec(48, layers=2, generator=torch.Generator().manual_seed(seed))

    torch.manual_seed(123)
    before = torch.get_rng_state()
    first, again, other = (list(made(seed).parameters()) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert [torch.equal(a, b) for a, b in zip(first, other, strict=True)] == [False] * 9 + [
        True
    ]  # the dense bias: zero
    for ours, theirs in zip(made(0).layers[0].parameters(), torch.nn.GRU(48, 48).parameters(), strict=True):
        assert ours.shape == theirs.shape
        if ours.dim() > 1:
            assert ours.std().item() == pytest.approx(theirs.std().item(), rel=0.05)
