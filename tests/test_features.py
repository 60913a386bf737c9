"""Embeddings are what the paper says, begin as the seed says, and stand in front of every network."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import pairwise
from math import cos, pi, sin
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dnnlab import features
from dnnlab.app import train
from dnnlab.backprop import Autograd, written_out
from dnnlab.build import build
from dnnlab.build.network import build_network, fit_to_data, hidden_matrices
from dnnlab.config.request import Request
from dnnlab.errors import ConfigError
from dnnlab.features import CategoryEmbedding, Front, Layout, Periodic, PiecewiseLinear, encode_piecewise, quantile_edges, table_size
from dnnlab.flat import FlatParameters
from dnnlab.health import Health
from dnnlab.loggers.graph import network_graph
from dnnlab.losses import SquaredError
from dnnlab.runfolder import RunFolder
from dnnlab.seeding import Noise, generator
from tests.samples import closely, exactly
from tests.support import differences, last_state, parts, settings, state

CPU, DOUBLE = torch.device("cpu"), torch.float64
NUMERIC: dict[str, dict[str, Any]] = {
    "piecewise_linear": {"kind": "piecewise_linear", "bins": 5, "size": 3},
    "piecewise_linear without relu": {"kind": "piecewise_linear", "bins": 5, "size": 3, "activation": False},
    "periodic": {"kind": "periodic", "frequencies": 4, "size": 3},
    "periodic lite": {"kind": "periodic", "frequencies": 4, "size": 3, "lite": True},
}
every_numeric = pytest.mark.parametrize("name", NUMERIC)
MIXED = Layout(numbers=3, plain=2, cardinalities=(4, 7))


def rows_of(layout: Layout, count: int = 40, dtype: torch.dtype = torch.float32) -> Tensor:
    """Random inputs of a layout; a column of few values among the numbers."""
    numbers = torch.randn(count, layout.numbers, dtype=dtype)
    if layout.numbers > 1:
        numbers[:, 1] = numbers[:, 1].round()
    codes = [torch.randint(0, cardinality, (count, 1)).to(dtype) for cardinality in layout.cardinalities]
    return torch.cat([numbers, torch.rand(count, layout.plain, dtype=dtype).round(), *codes], 1)


def network_of(layout: Layout, embedding: dict[str, Any] | None = None, **changes: Any) -> nn.Module:
    """A network with its first weights, as `build` makes it."""
    config = settings({"embedding": embedding or {"kind": "none"}, **changes})
    return build_network(config, layout, 2, noise=Noise(0, rows=8), dtype=torch.float32, device=CPU, trusted={"nets_for_features"})


def front_of(network: nn.Module) -> Front:
    front = network.get_submodule("features")
    assert isinstance(front, Front)
    return front


# --- bins


def by_the_paper(x: float, edges: list[float]) -> list[float]:
    """Equation 1 of Gorishniy et al. 2022, for one number: distinct edges b_0 < … < b_T."""
    encoded = []
    bins = len(edges) - 1
    for t in range(1, bins + 1):
        if x < edges[t - 1] and t > 1:
            encoded.append(0.0)
        elif x >= edges[t] and t < bins:
            encoded.append(1.0)
        else:
            encoded.append((x - edges[t - 1]) / (edges[t] - edges[t - 1]))
    return encoded


@pytest.mark.parametrize(
    "edges",
    [[-2.0, -0.5, 0.25, 3.0], [0.0, 1.0], [0.0, 0.0, 1.0, 2.5], [0.0, 1.0, 1.0, 1.0, 2.5], [0.0, 1.0, 2.0, 2.0], [1.0, 1.0, 4.0, 4.0, 4.0]],
)
def test_piecewise_linear_encoding_is_the_papers(edges: list[float]) -> None:
    values = [-7.0, -2.0, -0.6, 0.0, 0.1, 0.25, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 9.0]  # outside, on edges and between
    got = encode_piecewise(torch.tensor(values, dtype=DOUBLE)[:, None], torch.tensor([edges], dtype=DOUBLE))[:, 0]
    used = [place for place, (a, b) in enumerate(pairwise(edges)) if a < b]
    wanted = torch.zeros(len(values), len(edges) - 1, dtype=DOUBLE)
    for row, value in enumerate(values):
        wanted[row, used] = torch.tensor(by_the_paper(value, sorted(set(edges))), dtype=DOUBLE)
    closely(got, wanted)


def test_each_feature_has_its_own_bins() -> None:
    edges = torch.tensor([[0.0, 1.0, 2.0], [5.0, 5.0, 9.0]])
    exactly(encode_piecewise(torch.tensor([[1.5, 7.0]]), edges)[0], torch.tensor([[1.0, 0.5], [0.0, 0.5]]))


def test_a_constant_feature_says_nothing() -> None:
    exactly(encode_piecewise(torch.tensor([[-3.0], [1.0], [8.0]]), torch.ones(1, 5)), torch.zeros(3, 1, 4))


def test_an_outermost_bin_of_almost_no_width_reaches_only_so_far() -> None:
    edges = torch.tensor([[0.0, 1e-30, 1.0, 1.0 + 1e-6]])
    encoded = encode_piecewise(torch.tensor([[-5.0], [5.0]]), edges)
    exactly(encoded[:, 0], torch.tensor([[-features.REACH, 0.0, 0.0], [1.0, 1.0, features.REACH]]))


@pytest.mark.parametrize("rows", [1, 2, 7, 100])
def test_edges_are_torchs_quantiles(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "SORTED", 2 * rows)  # two columns at a time
    x = torch.randn(rows, 5, dtype=DOUBLE)
    closely(quantile_edges(x, 6), torch.quantile(x, torch.linspace(0, 1, 7, dtype=DOUBLE), dim=0).T)


def test_edges_of_few_values_are_these_values() -> None:
    x = torch.tensor([0.1, 0.1, 0.1, 0.1, 0.1, 0.7, 0.7, 0.7, 2.3])[:, None].expand(-1, 2) * torch.tensor([1.0, 0.0])
    edges = quantile_edges(x, 8)
    assert edges.shape == (2, 9)
    assert edges[0].unique().tolist() == pytest.approx([0.1, 0.7, 2.3])
    assert not edges[1].any()
    assert (edges.diff(dim=1) >= 0).all()


def test_edges_do_not_fall_where_interpolation_rounds() -> None:
    x = torch.full((1000, 50), 0.1) * (1 + torch.randint(0, 2, (1000, 50)) * 2e-7)
    assert (quantile_edges(x, 48).diff(dim=1) >= 0).all()


# --- modules


def test_piecewise_linear_is_encoding_map_and_relu() -> None:
    for relu in (False, True):
        module = PiecewiseLinear(3, bins=4, size=2, relu=relu).double()
        module.draw(generator(0, "init"))
        x = rows_of(Layout(3), dtype=DOUBLE)
        module.fit(x)
        encoded, bias = encode_piecewise(x, module.edges), module.linear.bias.view(3, 2)
        wanted = torch.stack([encoded[:, feature] @ module.linear.weight[feature] + bias[feature] for feature in range(3)], 1).flatten(1)
        closely(module(x), wanted.clamp_min(0) if relu else wanted)
        assert bool((module(x) < 0).any()) is not relu


@pytest.mark.parametrize("lite", [False, True])
def test_periodic_is_the_papers_formula(lite: bool) -> None:
    module = Periodic(2, frequencies=3, size=4, sigma=0.7, lite=lite).double()
    module.draw(generator(0, "init"))
    x = rows_of(Layout(2), 5, dtype=DOUBLE)
    c, w, b = module.frequency.view(2, 3).tolist(), module.linear.weight.tolist(), module.linear.bias.view(-1, 4).tolist()
    got = module(x).view(5, 2, 4).tolist()
    for row in range(5):
        for feature in range(2):
            angles = [2 * pi * c[feature][k] * float(x[row, feature]) for k in range(3)]
            v = [sin(angle) for angle in angles] + [cos(angle) for angle in angles]
            own_w, own_b = (w, b[0]) if lite else (w[feature], b[feature])
            wanted = [max(0.0, sum(v[k] * own_w[k][s] for k in range(6)) + own_b[s]) for s in range(4)]
            assert got[row][feature] == pytest.approx(wanted, rel=1e-12, abs=1e-12)


def test_first_numbers_are_spread_as_said() -> None:
    module = Periodic(200, frequencies=50, size=8, sigma=0.3)
    module.draw(generator(0, "init"))
    assert float(module.frequency.detach().std()) == pytest.approx(0.3, rel=0.03)
    for parameter in (module.linear.weight, module.linear.bias):
        assert 0.095 < float(parameter.detach().abs().max()) <= 0.1  # 1 / sqrt(2 · 50)
    table = CategoryEmbedding([2000], 25)
    table.draw(0, "here")
    assert float(table.tables[0].detach().std()) == pytest.approx(0.2, rel=0.03)


def test_a_code_is_answered_by_its_row() -> None:
    module = CategoryEmbedding([3, 5], 2)
    module.draw(0, "here")
    first, second = module.tables
    wanted = [torch.cat([first[2], second[0]]), torch.cat([first[0], second[4]])]
    exactly(module(torch.tensor([[2.0, 0.0], [0.0, 4.0]])), torch.stack(wanted))
    nearest = [torch.cat([first[0], second[4]]), torch.cat([first[2], second[1]])]
    exactly(module(torch.tensor([[-0.7, 11.0], [1.6, 1.4]])), torch.stack(nearest))  # between and beside codes, as on a picture's grid


def test_tables_of_one_size_begin_differently() -> None:
    module = CategoryEmbedding([3, 3], 2)
    module.draw(0, "here")
    first, second = module.tables
    assert not (first[1:] == second[1:]).any()


def test_a_category_that_no_training_row_has_begins_amid_the_others() -> None:
    module = CategoryEmbedding([3, 3], 2)
    module.draw(0, "here")
    assert not module(torch.zeros(1, 2)).any()
    assert module(torch.ones(1, 2)).all()


def test_only_the_rows_of_a_batch_have_a_gradient() -> None:
    module = CategoryEmbedding([4], 2)
    module(torch.tensor([[1.0], [3.0], [3.0]])).sum().backward()
    exactly(module.tables[0].grad, torch.tensor([[0.0, 0.0], [1.0, 1.0], [0.0, 0.0], [2.0, 2.0]]))


@pytest.mark.parametrize(("cardinality", "size"), [(1, 2), (2, 2), (3, 3), (12, 6), (100, 21), (467, 50), (10**6, 50)])
def test_tables_are_sized_by_the_rule(cardinality: int, size: int) -> None:
    assert table_size(cardinality) == size
    if cardinality < 1000:
        assert CategoryEmbedding([cardinality]).width == size


def test_a_front_keeps_the_order_of_the_layout() -> None:
    front, x = Front(MIXED, None, category_size=2), rows_of(MIXED)
    front.draw(0)
    out = front(x)
    assert out.shape == (40, front.width) == (40, 3 + 2 + 4)
    exactly(out[:, :5], x[:, :5])
    assert front.codes is not None
    exactly(out[:, 5:], front.codes(x[:, 5:]))


@every_numeric
def test_rows_are_embedded_alike_in_portions(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    front, x = front_of(network_of(MIXED, NUMERIC[name])).double(), rows_of(MIXED, dtype=DOUBLE)
    whole = front(x)
    monkeypatch.setattr(features, "PORTION", 7 * front.between)
    with torch.no_grad():
        closely(front(x), whole)


@every_numeric
def test_gradients_are_right_and_finite(name: str) -> None:
    network, layout = network_of(Layout(3), NUMERIC[name]), Layout(3)
    x = rows_of(layout)
    x[:, 2] = 0.5  # constant
    fit_to_data(network, settings(), x)
    far = torch.cat([x, 100 * x, torch.zeros_like(x)])
    network(far).square().sum().backward()
    found = {parameter: values.grad for parameter, values in network.named_parameters()}
    assert all(gradient is not None and gradient.isfinite().all() for gradient in found.values())
    front = front_of(network).double()
    assert torch.autograd.gradcheck(front, torch.randn(6, 3, dtype=DOUBLE, requires_grad=True))  # no number is an edge, where it bends


# --- the network as it is built


@every_numeric
def test_first_weights_are_a_function_of_the_seed(name: str) -> None:
    one, same, other = (network_of(MIXED, NUMERIC[name], seed=seed).state_dict() for seed in (3, 3, 4))
    assert differences(one, same) == []
    zero_or_fitted = {"features.numbers.edges", "hidden1.linear.bias", "hidden2.linear.bias", "output.linear.bias"}
    assert set(differences(one, other)) == one.keys() - zero_or_fitted


def test_another_columns_table_leaves_the_first_ones_as_they_are() -> None:
    few, more = (network_of(Layout(3, 0, codes), NUMERIC["periodic"]).state_dict() for codes in ((4,), (4, 9)))
    changed = {name for name in differences(few, more) if name.startswith("features")}
    assert changed == {"features.codes.tables.1"}


@every_numeric
def test_a_saved_network_goes_into_one_that_saw_no_data(name: str) -> None:
    x = rows_of(MIXED)
    trained = network_of(MIXED, NUMERIC[name], seed=1)
    fit_to_data(trained, settings(), x)
    fresh = network_of(MIXED, NUMERIC[name], seed=2)
    fresh.load_state_dict({key: value.clone() for key, value in trained.state_dict().items()})
    exactly(fresh(x), trained(x))
    assert all(tensor.isfinite().all() for tensor in trained.state_dict().values())


def test_edges_come_from_the_numbers_of_the_training_rows() -> None:
    x, network = rows_of(MIXED), network_of(MIXED, NUMERIC["piecewise_linear"])
    fit_to_data(network, settings(), x)
    exactly(network.get_buffer("features.numbers.edges"), quantile_edges(x[:, :3], 5))


def test_the_front_is_the_first_block_and_the_others_keep_their_names() -> None:
    plain = network_of(Layout(3), regularization={"input_noise": 0.1})
    network = network_of(Layout(3), NUMERIC["periodic"], regularization={"input_noise": 0.1})
    assert [name for name, _ in network.named_children()] == ["features", *(name for name, _ in plain.named_children())]
    assert network.get_parameter("hidden1.linear.weight").shape == (8, front_of(network).width)
    assert hidden_matrices(network) == hidden_matrices(plain) == ["hidden2.linear.weight"]


def test_without_anything_to_embed_there_is_no_front() -> None:
    for layout, embedding in ((Layout(3, 2), {"kind": "none"}), (Layout(0, 2), NUMERIC["periodic"])):
        assert "features" not in dict(network_of(layout, embedding).named_children())


def test_a_front_of_codes_alone() -> None:
    layout = Layout(0, 0, (4, 30))
    network = network_of(layout, NUMERIC["piecewise_linear"])
    front = front_of(network)
    assert front.numbers is None
    assert front.width == table_size(4) + table_size(30)
    assert network(rows_of(layout)).shape == (40, 2)
    assert front_of(network_of(layout, {"kind": "none", "category_size": 3})).width == 6


def test_decay_acts_on_maps_and_tables_but_not_on_biases_and_frequencies() -> None:
    names = [name for name in FlatParameters(network_of(MIXED, NUMERIC["periodic"])).weight_names if name.startswith("features")]
    assert names == ["features.numbers.linear.weight", "features.codes.tables.0", "features.codes.tables.1"]


@every_numeric
def test_health_and_graph_know_the_front(name: str) -> None:
    network, x = network_of(MIXED, NUMERIC[name]), rows_of(MIXED)
    flat = FlatParameters(network)
    figures = Health(network, flat).figures(x)
    assert {"features.numbers/weight_norm", "features.codes.tables.1/zeros", "hidden1/weight_norm"} <= figures.keys()
    nodes = {node.name for node in network_graph(network, x[:1]).node}
    assert {"features/numbers/linear/weight", "features/codes/embedding", "hidden1/linear/linear"} <= nodes


def test_its_gradients_are_left_to_autograd() -> None:
    network = network_of(Layout(3), NUMERIC["periodic"])
    FlatParameters(network)
    assert written_out(network, SquaredError()) is None
    assert isinstance(build(settings({"embedding": NUMERIC["periodic"]})).gradients, Autograd)


@pytest.fixture
def nets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A user's own network, on the path."""
    (tmp_path / "nets_for_features.py").write_text("from torch import nn\n\nclass Net(nn.Linear):\n    pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "nets_for_features.Net"
    sys.modules.pop("nets_for_features", None)


def test_a_custom_network_stands_behind_its_front(nets: str) -> None:
    model = {"kind": "custom", "target": nets}
    network = network_of(MIXED, NUMERIC["piecewise_linear"], model=model)
    assert [name for name, _ in network.named_children()] == ["features", "model"]
    assert network.get_parameter("model.weight").shape == (2, front_of(network).width)
    assert network(rows_of(MIXED)).shape == (40, 2)
    exactly(network.get_parameter("features.codes.tables.0"), network_of(MIXED).get_parameter("features.codes.tables.0"))
    assert isinstance(network_of(Layout(3), model=model), nn.Linear)


# --- refusals


def test_an_autoencoder_has_no_embedding() -> None:
    with pytest.raises(ConfigError, match=r"embedding\.kind must be none with model=autoencoder.*however: periodic") as caught:
        build(settings({"embedding": NUMERIC["periodic"], "model": {"kind": "autoencoder"}}))
    assert caught.value.where == "embedding.kind, model.kind"


def test_a_batch_that_becomes_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dnnlab.build.network.LARGEST_BATCH", 8 * 3 * 48)
    network_of(Layout(3), {"kind": "piecewise_linear"})
    with pytest.raises(ConfigError, match=r"at most 1,152 numbers, however: 8 rows with 192 numbers each, of 4 features") as caught:
        network_of(Layout(4), {"kind": "piecewise_linear"})
    assert caught.value.fix == "Try trainer.batch_size=6, or embedding=none"


def test_a_table_that_does_not_fit_is_refused_before_it_is_made(nets: str) -> None:
    layout, embedding = Layout(0, 0, (2**40,)), {"kind": "none", "category_size": 10_000}
    with pytest.raises(ConfigError, match=r"largest is features\.codes\.tables\.0"):
        network_of(layout, embedding)
    with pytest.raises(ConfigError, match=r"largest is codes\.tables\.0"):
        network_of(layout, embedding, model={"kind": "custom", "target": nets})


@pytest.mark.parametrize("wrong", [{"bins": 0}, {"size": 0}, {"category_size": 0}, {"category_size": "all"}, {"frequencies": 3}])
def test_settings_have_their_bounds(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        settings({"embedding": {"kind": "piecewise_linear", **wrong}})


# --- training


@every_numeric
@pytest.mark.parametrize("changes", [{}, {"optimizer": {"kind": "muon", "lr": 0.01}}, {"initialization": {"kind": "lsuv"}}])
def test_it_trains_and_is_the_same_again(name: str, changes: dict[str, Any]) -> None:
    made, again = (parts({"embedding": NUMERIC[name], "trainer.epochs": 2, **changes}) for _ in range(2))
    before = made.learner.state()
    first, last = list(made.trainer)
    list(again.trainer)
    assert last.metrics["train/loss"] < first.metrics["train/loss"]
    after = made.learner.state()
    moved = {key for key in differences(before, after) if key.startswith("model.features")}
    assert moved == {key for key in before if key.startswith("model.features") and not key.endswith("edges")}
    assert differences(state(made), state(again)) == []


@every_numeric
@pytest.mark.parametrize("data", [{"kind": "friedman", "rows": 200}, {"kind": "moons", "rows": 200}], ids=["friedman", "moons"])
def test_a_run_leaves_its_edges_and_pictures(name: str, data: dict[str, Any], tmp_path: Path) -> None:
    config = settings({"data": data, "embedding": NUMERIC[name], "logger": {"progress": False, "pictures": True}})
    summary = train(Request(config, "name: test\n", config.model_dump(mode="json"), root=tmp_path, folder=None, brief=True))
    folder = RunFolder(Path(summary.folder))
    tensors = last_state(folder.path)
    assert summary.status == "finished"
    assert ("model.features.numbers.edges" in tensors) is name.startswith("piecewise")
    assert (folder.path / "plots" / f"{'decision_regions' if data['kind'] == 'moons' else 'predicted_against_actual'}.png").exists()
    assert "could not be drawn" not in (folder.path / "train.log").read_text(encoding="utf-8")
