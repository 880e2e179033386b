"""SpecTran's adapter against its equations (the numbers in the names are the paper's)."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trainables.seqrec.items import TableLookup
from trainables.spectran.adapters.spectran import SpectralItems, SpectralLookup, nonnegative, softshrink, taylor
from trainables.spectran.spectrum import decompose

ITEMS, WIDTH, DIM = 30, 12, 5


def vectors(seed: int = 0) -> np.ndarray:
    table_IV = np.random.default_rng(seed).normal(size=(ITEMS + 1, WIDTH)).astype(np.float32)
    table_IV[0] = 0
    return table_IV


def items(id_width: int = DIM, **settings: object) -> SpectralItems:
    left_IR, singular_R = decompose(vectors(), center=False, normalise=False)
    made = SpectralItems(
        torch.from_numpy(left_IR), torch.from_numpy(singular_R), dim=DIM, inner_width=7, id_width=id_width,
        generator=torch.Generator().manual_seed(0), **settings,  # type: ignore[arg-type]
    )  # fmt: skip
    return made


def test_eq_5_identity_without_attention_is_the_first_d_left_singular_vectors() -> None:
    left, _, _ = np.linalg.svd(vectors()[1:].astype(np.float64), full_matrices=False)
    semantic_ID = items(attention=False, position="identity").semantic().numpy()
    sign_D = np.sign((semantic_ID[1:] * left[:, :DIM]).sum(axis=0))
    np.testing.assert_allclose(semantic_ID[1:], left[:, :DIM] * sign_D, atol=1e-5)


def test_eq_4_singular_values_without_attention_is_the_text_in_its_principal_directions() -> None:
    _, _, right = np.linalg.svd(vectors()[1:].astype(np.float64), full_matrices=False)
    expected = vectors() @ right[:DIM].T
    semantic_ID = items(attention=False, position="singular_values").semantic().numpy()
    sign_D = np.sign((semantic_ID * expected).sum(axis=0))
    np.testing.assert_allclose(semantic_ID, expected * sign_D, atol=1e-4)


def test_eq_7_attention_alone_mixes_all_components() -> None:
    made = items(position="none")
    weights_DR = made.query_DK.detach().numpy() @ made.key_RK.detach().numpy().T
    np.testing.assert_allclose(made.semantic().detach().numpy(), made.left_IR.numpy() @ weights_DR.T, atol=1e-6)


def test_eqs_8_to_11_attention_and_position_add_up_inside_the_mixture() -> None:
    made = items(taylor_order=2)
    with torch.no_grad():
        made.threshold.fill_(0.02)
        made.taylor_N.copy_(torch.tensor([0.5, -1.0, 2.0]))
    score_DR = made.query_DK.detach().numpy() @ made.key_RK.detach().numpy().T
    mixture_DR = np.sign(score_DR) * np.maximum(np.abs(score_DR) - 0.02, 0)
    singular_R = made.singular_R.numpy()
    for i in range(DIM):
        ratio = singular_R[i] / singular_R[0]
        mixture_DR[i, i] += singular_R[0] * (0.5 - 1.0 * ratio + 2.0 * ratio**2)
    expected_ID = made.left_IR.numpy() @ mixture_DR.T
    np.testing.assert_allclose(made.semantic().detach().numpy(), expected_ID, atol=1e-4)


def test_eq_10_starts_at_the_sum_of_powers() -> None:
    singular_D = torch.tensor([4.0, 2.0])
    torch.testing.assert_close(taylor(singular_D, torch.ones(4)), torch.tensor([16.0, 4 * (1 + 0.5 + 0.25 + 0.125)]))
    torch.testing.assert_close(taylor(singular_D, torch.ones(1)), torch.tensor([4.0, 4.0]))


def test_gradients_reach_every_part_from_the_start() -> None:
    made = items(taylor_order=3)
    made.rows()[1:].square().sum().backward()
    for name in ("query_DK", "key_RK", "taylor_N", "id_IC"):
        assert (getattr(made, name).grad.flatten() != 0).any(), name
    assert (made.taylor_N.grad != 0).all()
    made.zero_grad()
    (-made.rows()[1:].square().sum()).backward()  # the sign that a larger threshold would serve
    assert made.threshold.item() == 0
    assert made.threshold.grad is not None
    assert made.threshold.grad.item() < 0


def test_queries_and_keys_start_at_std_one_tenth_and_coefficients_at_one() -> None:
    left_IR, singular_R = torch.zeros(3, 400), torch.arange(400, 0, -1.0)
    generator = torch.Generator().manual_seed(0)
    made = SpectralItems(left_IR, singular_R, dim=128, id_width=128, generator=generator)
    assert made.query_DK.shape == (128, 64)
    assert made.key_RK.shape == (400, 64)
    assert made.query_DK.std().item() == pytest.approx(0.1, rel=0.05)
    assert made.key_RK.std().item() == pytest.approx(0.1, rel=0.05)
    assert made.taylor_N.tolist() == [1, 1, 1, 1]


@settings(max_examples=50)
@given(st.lists(st.floats(-3, 3, width=32), min_size=1, max_size=10), st.floats(0, 2, width=32))
def test_softshrink_equals_torchs_with_a_fixed_threshold(values: list[float], threshold: float) -> None:
    x = torch.tensor(values)
    torch.testing.assert_close(softshrink(x, torch.tensor(threshold)), torch.nn.functional.softshrink(x, threshold))


def test_softshrinks_gradients_are_those_of_its_formula() -> None:
    x = torch.tensor([-2.0, -0.3, 0.2, 1.0], requires_grad=True)
    threshold = torch.tensor(0.5, requires_grad=True)
    softshrink(x, threshold).backward(torch.tensor([1.0, 10.0, 10.0, 3.0]))
    assert x.grad.tolist() == [1, 0, 0, 3]
    assert threshold.grad.item() == 1 - 3  # minus the sum of sign(x) * gradient where |x| exceeds it


@pytest.mark.parametrize(
    ("value", "slope", "passed"), [(0.5, 1.0, 1.0), (0.5, -1.0, -1.0), (0.0, -2.0, -2.0), (0.0, 2.0, 0.0), (-1, 2, 0)]
)
def test_the_threshold_stays_at_zero_but_can_leave_it(value: float, slope: float, passed: float) -> None:
    parameter = torch.tensor(float(value), requires_grad=True)
    clamped = nonnegative(parameter)
    clamped.backward(torch.tensor(float(slope)))
    assert clamped.item() == max(value, 0)
    assert parameter.grad.item() == passed


def test_a_threshold_pushed_down_comes_back_when_pulled_up() -> None:
    parameter = torch.nn.Parameter(torch.zeros(()))
    optimiser = torch.optim.Adam([parameter], lr=0.01)
    for step in range(60):
        optimiser.zero_grad()
        loss = nonnegative(parameter) if step < 30 else -nonnegative(parameter)
        loss.backward()
        optimiser.step()
    assert parameter.item() > 0.05


def test_ids_are_added_at_full_width_or_onto_the_weakest_dimensions() -> None:
    for width in (DIM, 2):
        made = items(width)
        difference_ID = (made.rows() - made.semantic()).detach()
        assert made.id_IC.shape == (ITEMS + 1, width)
        torch.testing.assert_close(difference_ID[:, DIM - width :], made.id_IC.detach(), atol=1e-5, rtol=0)
        assert difference_ID[:, : DIM - width].abs().max() < 1e-6 if width < DIM else True


def test_concatenated_ids_are_the_last_columns_and_leave_the_rest_to_the_text() -> None:
    made = items(2, beside=True)
    table_ID = made.rows().detach()
    assert made.semantic().shape == (ITEMS + 1, DIM - 2)
    torch.testing.assert_close(table_ID[:, : DIM - 2], made.semantic().detach())
    torch.testing.assert_close(table_ID[:, DIM - 2 :], made.id_IC.detach())


def test_each_component_can_have_coefficients_of_its_own() -> None:
    singular_D = torch.tensor([4.0, 2.0])
    own = torch.tensor([[1.0, 0.0], [0.5, 3.0]])
    torch.testing.assert_close(taylor(singular_D, own), torch.tensor([4.0, 4 * (0.5 + 3 * 0.5)]))
    made = items(taylor_order=2, coefficients="component")
    torch.testing.assert_close(made.rows(), items(taylor_order=2).rows())  # all ones: the same at the start
    assert made.taylor_N.shape == (DIM, 3)


def test_each_row_can_have_a_threshold_of_its_own() -> None:
    made = items(threshold="row", threshold_start=0.01, position="none")
    with torch.no_grad():
        made.threshold[1] = 100
    mixture_DR = made.mixture()
    assert not mixture_DR[1].any()
    assert mixture_DR[0].any()
    made.rows().square().sum().backward()
    assert made.threshold.grad.shape == (DIM, 1)
    assert made.threshold.grad[0] != 0


def test_a_fixed_threshold_is_kept_but_not_trained() -> None:
    made = items(threshold_start=0.05, learn_threshold=False)
    assert "threshold" in made.state_dict()
    made.rows().sum().backward()
    assert made.threshold.grad is None
    assert made.threshold.item() == pytest.approx(0.05)


@pytest.mark.parametrize("cosine", [False, True])
@pytest.mark.parametrize(
    "settings", [{}, {"id_width": 2}, {"id_width": 2, "beside": True}], ids=["add", "null", "concat"]
)
def test_reading_single_rows_of_u_gives_the_scores_and_gradients_of_the_whole_table(
    cosine: bool, settings: dict[str, object]
) -> None:
    generator = torch.Generator().manual_seed(1)
    index_BL = torch.randint(0, ITEMS + 1, (4, 6), generator=generator)
    candidate_NS = torch.randint(1, ITEMS + 1, (4, 3), generator=generator)
    results = []
    for kind in ("table", "lookup"):
        made = items(**settings)  # type: ignore[arg-type]
        lookup = TableLookup(made.rows()) if kind == "table" else SpectralLookup(made)
        vectors_BLD = lookup.vectors(index_BL) * (index_BL != 0)[:, :, None]
        scores = lookup.scores(vectors_BLD.sum(dim=1), candidate_NS, cosine=cosine)
        scores.square().sum().backward()
        results.append([vectors_BLD, scores, *(parameter.grad for parameter in made.parameters())])
    for table, lookup_ in zip(*results, strict=True):
        torch.testing.assert_close(table, lookup_, atol=1e-4, rtol=1e-4)


def test_a_step_reads_single_rows_only_where_that_is_cheaper() -> None:
    made = items()
    assert isinstance(made.lookup(torch.ones(5, dtype=torch.long)), SpectralLookup)
    assert isinstance(made.lookup(torch.ones(5000, dtype=torch.long)), TableLookup)
    assert isinstance(made.lookup(), TableLookup)
    assert isinstance(items(attention=False).lookup(torch.ones(5, dtype=torch.long)), TableLookup)


def test_padding_is_zero_and_the_spectrum_is_no_weight() -> None:
    made = items()
    assert not made.rows()[0].any()
    assert set(made.state_dict()) == {"id_IC", "query_DK", "key_RK", "threshold", "taylor_N"}
    assert set(items(attention=False, position="none").state_dict()) == {"id_IC"}


def test_more_dimensions_than_components_are_refused() -> None:
    with pytest.raises(ValueError, match=r"dim must be at most the rank .* but got dim 13 and rank 12; lower dim"):
        SpectralItems(torch.zeros(5, 12), torch.ones(12), dim=13, id_width=13, generator=torch.Generator())
