"""Encoders agree with scikit-learn where it has the same, know what training rows did not have, and come back bit for bit from a file."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import MinMaxScaler, OneHotEncoder, QuantileTransformer, RobustScaler, StandardScaler
from torch import Tensor

from dnnlab.data import Category, Dataset, Encoder, Recipe, Source, Vocabulary, encode, prepare
from dnnlab.data.encoding import fit_encoder
from dnnlab.data.saved import encoder_facts, restore_encoder
from dnnlab.data.scaling import LANDMARKS, PORTION, blank, fit
from dnnlab.errors import ArtifactError, DataError, ResourceError
from tests.support import differences

F64 = torch.float64
NAN = float("nan")
SCALES: tuple[Any, ...] = ("standardise", "robust", "minmax", "quantile", "log", "none")


def random(*shape: int, seed: int = 0) -> Tensor:
    """Normal numbers of float64."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


def skewed(rows: int, seed: int = 0) -> Tensor:
    """Three columns without doubles: normal, of a heavy tail, far from zero."""
    x = random(rows, 3, seed=seed)
    return torch.stack([x[:, 0], x[:, 1].mul(2).exp(), 1e6 + x[:, 2]], 1)


# scalers


@pytest.mark.parametrize("rows", [2, 7, 500])
def test_scalers_are_scikit_learns_on_later_rows_too(rows: int) -> None:
    x, later = skewed(rows), skewed(50, seed=1)
    for kind, theirs in (("standardise", StandardScaler()), ("minmax", MinMaxScaler())):
        scaler = fit(x, kind)  # type: ignore[arg-type]
        theirs.fit(x.numpy())
        for part in (x, later):
            np.testing.assert_allclose(scaler(part).numpy(), theirs.transform(part.numpy()), rtol=1e-7, atol=1e-8)


def test_the_robust_scaler_is_scikit_learns_before_its_smooth_clip() -> None:
    x, later = skewed(301), 5 * skewed(50, seed=1)
    scaler = fit(x, "robust")
    for part in (x, later):
        z = RobustScaler().fit(x.numpy()).transform(part.numpy())
        np.testing.assert_allclose(scaler(part).numpy(), z / np.sqrt(1 + (z / 3) ** 2), rtol=1e-9, atol=1e-9)
        assert scaler(part).abs().max() <= 3


def test_the_robust_scaler_goes_by_half_the_range_where_most_rows_are_alike() -> None:
    x = torch.tensor([[0.0]] * 8 + [[-1.0], [4.0]], dtype=F64)
    z = x / 2.5
    torch.testing.assert_close(fit(x, "robust")(x), z / (1 + (z / 3).square()).sqrt())


@pytest.mark.parametrize("rows", [5, 200, LANDMARKS, 3456])
def test_the_quantile_scaler_is_scikit_learns(rows: int) -> None:
    x, later = skewed(rows), torch.cat([skewed(200, seed=1), 100 * skewed(10, seed=2), -skewed(10, seed=3)])
    theirs = QuantileTransformer(output_distribution="normal", n_quantiles=min(rows, LANDMARKS), subsample=None).fit(x.numpy())
    scaler = fit(x, "quantile")
    for part in (x, later):
        np.testing.assert_allclose(scaler(part).numpy(), theirs.transform(part.numpy()), rtol=0, atol=1e-9)


def test_numbers_that_rows_share_have_the_middle_of_their_places_inside_and_at_the_ends() -> None:
    inside = torch.tensor([0.0, 1, 2, 2, 2, 2, 3, 4, 5, 6], dtype=F64).unsqueeze(1)
    theirs = QuantileTransformer(output_distribution="normal", n_quantiles=10, subsample=None).fit(inside.numpy())
    np.testing.assert_allclose(fit(inside, "quantile")(inside).numpy(), theirs.transform(inside.numpy()), atol=1e-9)
    mostly = torch.cat([torch.zeros(60, 1, dtype=F64), torch.arange(1.0, 42, dtype=F64).unsqueeze(1)])  # 0 is the low end of 60 rows
    found = fit(mostly, "quantile")(mostly)
    place = 59 / 100 / 2
    torch.testing.assert_close(found[:60], torch.special.ndtri(torch.full((60, 1), place, dtype=F64)))
    far = QuantileTransformer(output_distribution="normal", n_quantiles=101, subsample=None).fit(mostly.numpy()).transform(mostly.numpy())
    assert far[0, 0] < -5 < -1 < float(found[0])  # scikit-learn puts them at the end itself
    np.testing.assert_allclose(found[60:].numpy(), far[60:], atol=1e-9)
    below = fit(mostly, "quantile")(torch.tensor([[-1.0], [99.0]], dtype=F64))
    assert below.tolist() == [[pytest.approx(-5.1993, abs=1e-4)], [pytest.approx(5.1993, abs=1e-4)]]


def test_the_log_scaler_is_a_standardised_signed_logarithm() -> None:
    x = skewed(200) * torch.tensor([10.0, -1.0, 1.0], dtype=F64)
    logs = np.sign(x.numpy()) * np.log1p(np.abs(x.numpy()))
    np.testing.assert_allclose(fit(x, "log")(x).numpy(), StandardScaler().fit_transform(logs), rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("kind", SCALES)
@pytest.mark.parametrize("value", [0.0, 0.1, -3.0, 1e30, 1e-300])
def test_d23_a_column_without_variation_divides_nothing_by_zero(kind: Any, value: float) -> None:
    x = torch.full((50, 1), value, dtype=F64)
    scaler = fit(x, kind)
    for part in (x, x + 1, x - 1, 0 * x):
        found = scaler(part)
        assert found.isfinite().all()
        assert kind == "none" or kind == "quantile" or not found.any()
    assert kind == "none" or not scaler(x).any()


@settings(max_examples=60, deadline=None)
@example([0.0, 0.0, 2e-311], [1e200])
@example([0.0, 1.0], [2.1e154])
@given(st.lists(st.floats(-1e12, 1e12), min_size=1, max_size=30), st.lists(st.floats(-1e200, 1e200), min_size=1, max_size=5))
def test_every_scaler_keeps_the_order_and_stays_finite(train: list[float], later: list[float]) -> None:
    x = torch.tensor(train, dtype=F64).unsqueeze(1)
    asked = torch.tensor(sorted([*train, *later]), dtype=F64).unsqueeze(1)
    for kind in SCALES:
        found = fit(x, kind)(asked)
        if kind in ("quantile", "robust"):
            assert found.abs().max() < 6
        assert not found.isnan().any()
        step = found.diff(dim=0)
        assert (step >= -1e-9 * found.abs().max()).all() or found.isinf().any()


@pytest.mark.parametrize("kind", SCALES)
def test_a_blank_scaler_has_the_shapes_of_a_fitted_one(kind: Any) -> None:
    x = skewed(30)
    fitted, empty = fit(x, kind), blank(kind, 3, 30)
    assert {name: tensor.shape for name, tensor in fitted.state_dict().items()} == {
        name: tensor.shape for name, tensor in empty.state_dict().items()
    }
    empty.load_state_dict(fitted.state_dict())
    assert torch.equal(empty(x), fitted(x))


# tables


LEVELS = [["blue", "green", "red", "violet"], ["no", "yes"]]
NAMES, KINDS = ("age", "flat", "gone", "height"), ("colour", "paid")


def rows_of_a_table() -> tuple[Tensor, Tensor]:
    """12 rows: numbers with holes, one column without variation, one without numbers; violet is no training row's, one paid is missing."""
    numbers = torch.stack([torch.arange(12.0), torch.full((12,), 7.0), torch.full((12,), NAN), torch.arange(12.0) ** 2], 1).double()
    numbers[[2, 5], 0] = NAN
    numbers[4, 3] = NAN
    codes = torch.tensor(
        [[0, 1], [0, 0], [1, 1], [1, 0], [0, 1], [0, -1], [0, 0], [1, 1], [2, 0], [0, 1], [1, 0], [1, 1]], dtype=torch.int32
    )
    return numbers, codes


def encoder_of(**asked: Any) -> Encoder:
    """The encoder of these rows, numbers as they are unless a scale is asked for."""
    numbers, codes = rows_of_a_table()
    recipe = Recipe(**{"scale": "none", "table": True, **asked})
    return fit_encoder(numbers, codes, LEVELS, recipe, names=NAMES, category_names=KINDS)


def own(encoder: Encoder, codes: Tensor) -> Tensor:
    """Places among LEVELS as the encoder's codes."""
    tables = [words.table(levels) for words, levels in zip(encoder.vocabularies, LEVELS, strict=True)]
    return torch.stack([table[column.long()] for table, column in zip(tables, codes.unbind(1), strict=True)], 1)


def test_a_row_is_numbers_then_holes_then_categories() -> None:
    encoder = encoder_of()
    assert encoder.names == (
        "age", "height", "age is missing", "height is missing", "colour=blue", "colour=green", "colour=red", "paid=no", "paid=yes",
        "paid=(missing)",
    )  # fmt: skip
    numbers, codes = rows_of_a_table()
    x = encoder(numbers, own(encoder, codes))
    assert x.shape == (12, encoder.width)
    assert x.dtype == F64
    assert x[4].tolist() == [4, 36, 0, 1, 1, 0, 0, 0, 1, 0]
    assert x[5].tolist() == [6.5, 25, 1, 0, 1, 0, 0, 0, 0, 1]
    assert (encoder.numbers, encoder.plain, encoder.cardinalities) == (2, 8, ())


@pytest.mark.parametrize("impute", ["median", "mean", "most_frequent", "constant"])
def test_imputation_is_scikit_learns(impute: Any) -> None:
    numbers = torch.tensor([[1.0, 5], [NAN, 2], [3, NAN], [3, 2], [10, 5], [NAN, 2.5]], dtype=F64)
    codes = torch.zeros(6, 0, dtype=torch.int32)
    recipe = Recipe("none", impute=impute, constant=-2.5, table=True)
    encoder = fit_encoder(numbers, codes, [], recipe, names=("a", "b"))
    theirs = SimpleImputer(strategy=impute, fill_value=-2.5, add_indicator=True).fit(numbers.numpy())
    later = torch.tensor([[NAN, NAN], [7, NAN], [NAN, 8]], dtype=F64)
    for part in (numbers, later):
        np.testing.assert_allclose(encoder(part).numpy(), theirs.transform(part.numpy()))


def test_without_an_indicator_there_is_no_column_of_holes() -> None:
    assert encoder_of(indicator=False).names[:3] == ("age", "height", "colour=blue")


def test_d11_missing_numbers_can_be_refused() -> None:
    with pytest.raises(DataError, match="2 of 12 training rows have none") as caught:
        encoder_of(impute="refuse")
    assert (caught.value.exit_code, caught.value.where, caught.value.fix) == (3, "column 'age'", "Try data.impute=median")
    numbers, codes = rows_of_a_table()
    whole = numbers.nan_to_num(1.0)
    recipe = Recipe("none", impute="refuse", table=True)
    assert fit_encoder(whole, codes, LEVELS, recipe, names=NAMES, category_names=KINDS).names[:2] == ("age", "height")


def test_one_hot_is_scikit_learns() -> None:
    words = np.array([["b", "x"], ["a", "y"], ["c", "x"], ["a", "x"]], dtype=object)
    later = np.array([["c", "y"], ["z", "x"], ["a", "z"]], dtype=object)
    theirs = OneHotEncoder(handle_unknown="ignore", sparse_output=False).fit(words)
    levels = [["a", "b", "c", "z"], ["x", "y", "z"]]

    def coded(cells: Any) -> Tensor:
        return torch.tensor([[levels[place].index(word) for place, word in enumerate(row)] for row in cells], dtype=torch.int32)

    recipe = Recipe("none", table=True)
    encoder = fit_encoder(torch.zeros(4, 0, dtype=F64), coded(words), levels, recipe, names=(), category_names=("k", "l"))
    tables = [vocabulary.table(level) for vocabulary, level in zip(encoder.vocabularies, levels, strict=True)]
    for cells in (words, later):
        codes = torch.stack([table[column.long()] for table, column in zip(tables, coded(cells).unbind(1), strict=True)], 1)
        found = encode(encoder, torch.zeros(len(cells), 0, dtype=F64), codes, F64)
        np.testing.assert_array_equal(found.numpy(), theirs.transform(cells))
    assert encoder.names == tuple(theirs.get_feature_names_out(["k", "l"])[place].replace("_", "=") for place in range(5))


def test_d18_unseen_rare_and_missing_words_have_codes_of_their_own() -> None:
    encoder = encoder_of(rare=2)
    colour, paid = encoder.vocabularies
    assert colour == Vocabulary(("blue", "green"), missing=False, rare=True)
    assert colour.table(LEVELS[0]).tolist() == [1, 2, 0, 0, 0]  # blue, green, rare red, unseen violet, missing where none was
    assert paid == Vocabulary(("no", "yes"), missing=True, rare=False)
    assert paid.table(LEVELS[1]).tolist() == [1, 2, 3]
    assert (colour.cardinality, paid.cardinality, colour.missing_code, paid.missing_code) == (3, 4, 0, 3)
    assert encoder.names[4:] == ("colour=(other)", "colour=blue", "colour=green", "paid=no", "paid=yes", "paid=(missing)")
    numbers, _ = rows_of_a_table()
    codes = own(encoder, torch.tensor([[2, 0], [3, 1], [-1, -1]], dtype=torch.int32))
    assert encoder(numbers[:3], codes)[:, 4:].tolist() == [[1, 0, 0, 1, 0, 0], [1, 0, 0, 0, 1, 0], [1, 0, 0, 0, 0, 1]]
    plain = encoder_of()  # no training row had another word: it has no column, and an unseen word none of the columns
    assert plain(numbers[:1], own(plain, torch.tensor([[3, 0]], dtype=torch.int32)))[0, 4:].tolist() == [0, 0, 0, 1, 0, 0]


@pytest.mark.parametrize(
    ("spread", "one_hot", "kept"), [("embedding", 50, ()), ("auto", 2, ("paid",)), ("auto", 1, ()), ("one_hot", 1, KINDS)]
)
def test_large_vocabularies_are_left_to_an_embedding(spread: Any, one_hot: int, kept: tuple[str, ...]) -> None:
    encoder = encoder_of(spread=spread, one_hot=one_hot)
    rest = tuple(name for name in KINDS if name not in kept)
    assert tuple(name for name, hot in zip(KINDS, encoder.spread, strict=True) if hot) == kept
    assert encoder.cardinalities == tuple(4 for _ in rest)  # others, three colours; others, no, yes, missing
    assert encoder.names[len(encoder.names) - len(rest) :] == rest
    numbers, codes = rows_of_a_table()
    coded = own(encoder, codes)
    x = encoder(numbers, coded)
    assert x.shape[1] == encoder.width == len(encoder.names) == encoder.numbers + encoder.plain + len(rest)
    for place, name in enumerate(KINDS):
        if name in rest:
            assert torch.equal(x[:, encoder.names.index(name)], coded[:, place].double())
    assert (
        fit_encoder(numbers, codes, LEVELS, Recipe(spread=spread, table=True), names=NAMES, category_names=KINDS, hot=True).cardinalities
        == ()
    )


@pytest.mark.parametrize("scale", [*SCALES, "auto"])
def test_a_table_of_categories_alone_is_encoded(scale: Any) -> None:
    codes = torch.arange(40).reshape(-1, 1).int() % 4
    source = Source(
        "k", torch.zeros(40, 0, dtype=F64), torch.arange(40) % 2, (), ("a", "b"), codes=codes, categories=(Category("k", tuple("pqrs")),)
    )
    data = prepare(source, recipe=Recipe(scale=scale, table=True))
    assert data.features == ("k=p", "k=q", "k=r", "k=s")
    assert data.train.x.tolist() == torch.nn.functional.one_hot(codes[data.train.index, 0].long(), 4).tolist()


def test_d23_a_category_that_all_training_rows_share_is_left_out() -> None:
    numbers, codes = rows_of_a_table()
    same = torch.stack([torch.zeros(12, dtype=torch.int32), codes[:, 1]], 1)
    encoder = fit_encoder(numbers, same, LEVELS, Recipe("none", table=True), names=NAMES, category_names=KINDS)
    assert [name for name in encoder.names if "colour" in name] == []
    assert encoder(numbers, own(encoder, same)).shape == (12, encoder.width)
    half = torch.stack([torch.tensor([0, -1] * 6, dtype=torch.int32), codes[:, 1]], 1)
    kept = fit_encoder(numbers, half, LEVELS, Recipe("none", table=True), names=NAMES, category_names=KINDS)
    assert [name for name in kept.names if "colour" in name] == ["colour=blue", "colour=(missing)"]


def test_d30_an_encoder_without_columns_is_refused() -> None:
    numbers = torch.stack([torch.full((5,), 3.0), torch.full((5,), NAN)], 1).double()
    with pytest.raises(DataError, match="none of 2 does") as caught:
        fit_encoder(numbers, torch.zeros(5, 0, dtype=torch.int32), [], Recipe(table=True), names=("a", "b"))
    assert caught.value.where == "columns 'a', 'b'"


def test_scale_auto_goes_by_the_number_of_training_rows() -> None:
    for rows, scale in ((999, "standardise"), (1000, "quantile")):
        encoder = fit_encoder(random(rows, 2), torch.zeros(rows, 0, dtype=torch.int32), [], Recipe("auto", table=True), names=("a", "b"))
        assert encoder.scale == scale


def test_encoding_is_the_same_in_one_piece_or_in_many() -> None:
    numbers = random(PORTION + 100, 4)
    numbers[::7, 2] = NAN
    codes = torch.arange(len(numbers)).reshape(-1, 1).int() % 5
    encoder = fit_encoder(numbers, codes, [list("abcde")], Recipe("quantile", table=True), names=tuple("wxyz"), category_names=("k",))
    assert torch.equal(encode(encoder, numbers, codes + 1, F64), encoder(numbers, codes + 1))
    assert torch.equal(encode(encoder, numbers, codes + 1, torch.float32), encoder(numbers, codes + 1).float())


def test_rows_that_would_not_fit_are_refused_before_they_are_encoded() -> None:
    source = Source("k", random(40, 3), torch.arange(40) % 2, ("a", "b", "c"), ("p", "q"))
    with pytest.raises(ResourceError, match="40 rows of 3 numbers") as caught:
        prepare(source, memory=40 * 3 * 4 - 1)
    assert (caught.value.exit_code, caught.value.where) == (5, "data")
    assert prepare(source, memory=40 * 3 * 4).train.x.shape == (24, 3)


# saved


def saved(encoder: Encoder) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """What is written of an encoder."""
    return deepcopy(encoder_facts(encoder)), {name: tensor.clone() for name, tensor in encoder.state_dict().items()}


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("asked", [{}, {"rare": 2, "one_hot": 2}, {"spread": "embedding", "indicator": False}])
def test_an_encoder_comes_back_bit_for_bit(scale: Any, asked: dict[str, Any]) -> None:
    encoder = encoder_of(scale=scale, **asked)
    numbers, codes = rows_of_a_table()
    later = torch.cat([numbers, 100 * random(20, 4)])
    coded = own(encoder, torch.cat([codes, codes[[0] * 20]]))
    other = restore_encoder(*saved(encoder))
    assert not differences(encoder.state_dict(), other.state_dict())
    assert torch.equal(encoder(later, coded), other(later, coded))
    for fact in ("names", "features", "category_names", "vocabularies", "spread", "scale", "width", "cardinalities", "plain", "numbers"):
        assert getattr(other, fact) == getattr(encoder, fact), fact
    assert encoder_facts(other) == encoder_facts(encoder)


def test_the_encoder_of_a_source_without_holes_comes_back() -> None:
    data: Dataset = prepare(Source("s", random(40, 3), random(40, 1), ("a", "b", "c")), recipe=Recipe("robust"))
    other = restore_encoder(*saved(data.encoder))
    assert torch.equal(other(random(9, 3)), data.encoder(random(9, 3)))


TENSORS = ["fill", "kept", "flagged", "scaler.landmarks"]


@pytest.mark.parametrize("name", TENSORS)
@pytest.mark.parametrize("damage", ["missing", "long", "flat", "infinite", "renamed"])
def test_a_damaged_tensor_is_refused(name: str, damage: str) -> None:
    facts, tensors = saved(encoder_of(scale="quantile"))
    tensor = tensors.pop(name)
    match damage:
        case "long":
            tensors[name] = torch.cat([tensor, tensor[:1]])
        case "flat":
            tensors[name] = tensor[0]
        case "infinite":
            tensors[name] = torch.full_like(tensor, 10**9) if not tensor.is_floating_point() else tensor / 0
        case "renamed":
            tensors[name + "s"] = tensor
    with pytest.raises(ArtifactError) as caught:
        restore_encoder(facts, tensors)
    assert (caught.value.exit_code, caught.value.where) == (6, "checkpoints/encoder")


@pytest.mark.parametrize("value", [NAN, float("inf")])
@pytest.mark.parametrize("scale", SCALES)
def test_u09_a_number_that_is_none_is_named_with_its_tensor(scale: str, value: float) -> None:
    facts, tensors = saved(encoder_of(scale=scale))
    for name in (name for name, tensor in tensors.items() if tensor.is_floating_point()):
        damaged = {**tensors, name: tensors[name].clone()}
        damaged[name].view(-1)[0] = value
        with pytest.raises(ArtifactError, match=f"{name} is not finite"):
            restore_encoder(facts, damaged)


@pytest.mark.parametrize("places", [[-1, 0], [0, 4], [0, 10**12]])
@pytest.mark.parametrize("name", ["kept", "flagged"])
def test_a_place_beyond_the_columns_is_refused(name: str, places: list[int]) -> None:
    facts, tensors = saved(encoder_of())
    with pytest.raises(ArtifactError, match=f"{name} names a column beyond 4"):
        restore_encoder(facts, {**tensors, name: torch.tensor(places)})


def change(facts: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """The facts with another value at a path of keys; ... takes it away."""
    place: Any = facts
    *keys, last = [int(key) if key.isdigit() else key for key in path.split(".")]
    for key in keys:
        place = place[key]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return facts


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("scale", "magic"), ("scale", ...), ("scale", None), ("scale", ["none"]), ("scale", "quantile"), ("scale", "robust"),
        ("features", ...), ("features", "abcd"), ("features", [1, 2, 3, 4]), ("features", ["age"]), ("features", None),
        ("categories", ...), ("categories", None), ("categories", "colour"), ("categories", [5]),
        ("categories.0.words", "blue"), ("categories.0.words", ...), ("categories.0.words", [1]), ("categories.0.words", None),
        ("categories.0.name", ...), ("categories.0.name", 7), ("categories.0.missing", ...), ("categories.0.rare", ...),
        ("categories.0.one_hot", ...), ("categories.0.missing", "yes"), ("categories.0.one_hot", 1),
    ],
)  # fmt: skip
def test_a_damaged_fact_is_refused(path: str, value: Any) -> None:
    facts, tensors = saved(encoder_of())
    with pytest.raises(ArtifactError) as caught:
        restore_encoder(change(facts, path, value), tensors)
    assert caught.value.exit_code == 6
    assert "encoder" in str(caught.value)
