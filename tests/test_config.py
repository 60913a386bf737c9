"""The settings as they may be asked: the YAML that ships, the reader's answers to everything wrong, the schema's own words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

import dnnlab
from dnnlab.config.base import Settings, Span
from dnnlab.config.reader import name_fault, read
from dnnlab.config.run import RunConfig
from dnnlab.config.schema import all_keys, group_schema, groups, json_schema, keys, lookup, nearest, settings_of, variants
from dnnlab.config.yamlfile import inspect, lines
from dnnlab.errors import ConfigError

CONFIGS = Path(dnnlab.__file__).parents[2] / "configs"
CHOICES = {
    "data": "digits", "model": "mlp", "activation": "relu", "initialization": "auto", "loss": "auto", "optimizer": "adam",
    "embedding": "none", "scheduler": "constant", "regularization": "none", "trainer": "default", "metrics": "default", "sweep": "default",
    "logger": "default",
}  # fmt: skip
OPTIONS = sorted(path for group in CHOICES for path in (CONFIGS / group).glob("*.yaml"))

# Where an option's file deliberately says something else than the schema's default.
PRESETS = {
    "data/digits": {"valid", "scale"}, "data/mnist": {"labels"}, "data/fashion_mnist": {"labels"},
    "regularization/l1": {"l1"}, "regularization/l1_proximal": {"l1", "l1_mode"}, "regularization/l2": {"l2"},
    "regularization/elastic_net": {"l1", "l2"}, "regularization/dropout": {"dropout"}, "regularization/max_norm": {"max_norm"},
    "regularization/noise": {"input_noise"}, "regularization/sparsity": {"sparsity"},
}  # fmt: skip
REQUIRED = {"root": "somewhere", "target": "package.Name", "path": "rows.csv", "name": "adult"}  # for keys without a default


def named(path: Path) -> str:
    """data/digits"""
    return f"{path.parent.name}/{path.stem}"


def load(path: Path) -> dict[str, Any]:
    """The keys of a group's file, with something in place of ???."""
    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    return {key: REQUIRED[key] if value == "???" else value for key, value in values.items()}


def settings(changes: dict[str, Any] | None = None, **choices: str) -> dict[str, Any]:
    """What composition gives for some choices, with changes by dotted keys."""
    document: dict[str, Any] = {group: load(CONFIGS / group / f"{choices.get(group, option)}.yaml") for group, option in CHOICES.items()}
    document |= {"name": "test", "seed": 0, "config_version": 1}
    for key, value in (changes or {}).items():
        *path, last = key.split(".")
        place = document
        for part in path:
            place = place[part]
        place[last] = value
    return document


def refusal(changes: dict[str, Any] | None = None, **choices: str) -> ConfigError:
    """The error that these settings give."""
    with pytest.raises(ConfigError) as caught:
        read(settings(changes, **choices))
    return caught.value


# The YAML that ships


@pytest.mark.parametrize("path", OPTIONS, ids=named)
def test_an_options_file_names_every_key_and_the_schemas_defaults(path: Path) -> None:
    values = load(path)
    group = path.parent.name
    owner = settings_of(group, {group: str(values.get("kind"))})
    assert owner is not None, f"{named(path)}: no such kind"
    assert set(values) == set(owner.model_fields)
    typed = owner.model_validate(values)
    plain = owner.model_validate({key: value for key, value in values.items() if key == "kind" or key in REQUIRED})
    differing = {key for key in owner.model_fields if getattr(typed, key) != getattr(plain, key)}
    assert differing == PRESETS.get(named(path), set())


@pytest.mark.parametrize("path", OPTIONS, ids=named)
def test_an_options_file_spells_out_nested_keys_and_begins_with_a_comment(path: Path) -> None:
    assert path.read_text(encoding="utf-8").startswith("# ")
    for key, value in load(path).items():
        if isinstance(value, dict) and key not in ("args", "columns", "relabel"):
            assert set(value) == {name.rpartition(".")[2] for name in all_keys() if name.rpartition(".")[0] == f"{path.parent.name}.{key}"}


def test_every_kind_has_a_file_of_its_name() -> None:
    for group in groups():
        files = {path.stem: load(path).get("kind") for path in OPTIONS if path.parent.name == group}
        assert set(variants(group)) <= set(files)
        assert all(files[kind] == kind for kind in variants(group))


def test_the_main_file_says_the_schemas_defaults_and_chooses_from_every_group() -> None:
    values = yaml.safe_load((CONFIGS / "train.yaml").read_text(encoding="utf-8"))
    chosen = {key: option for item in values.pop("defaults") if isinstance(item, dict) for key, option in item.items()}
    assert {group: chosen[group] for group in CHOICES} == CHOICES
    assert list(chosen)[len(CHOICES) : len(CHOICES) + 3] == ["experiment", "debug", "optional local"]
    values.pop("hydra")
    assert values.pop("name") == "${model.kind}_${data.kind}"
    typed = read(settings(values))
    assert {key: getattr(typed, key) for key in values} == {key: RunConfig.model_fields[key].default for key in values}
    assert set(values) | {"name"} == set(RunConfig.model_fields) - set(CHOICES)


@pytest.mark.parametrize("path", sorted(CONFIGS.rglob("*.yaml")), ids=lambda path: str(path.relative_to(CONFIGS)))
def test_a_file_that_ships_has_no_fault(path: Path) -> None:
    inspect(path)


# The reader


def test_the_defaults_are_read() -> None:
    config = read(settings())
    assert (config.model.kind, config.optimizer.lr, config.trainer.validate_every) == ("mlp", 0.001, Span(1, "epochs"))


def test_c01_unknown_key_is_answered_with_the_nearest() -> None:
    error = refusal({"model.hiden": 3})
    assert error.what == "model.hiden must be a known setting, however: model=mlp has no hiden"
    assert error.fix == "Did you mean model.hidden? model=mlp has: hidden, output"


def test_c01_a_key_of_another_kind_names_the_kinds_that_have_it() -> None:
    assert "optimizer=momentum, muon, nesterov, rmsprop would have it" in refusal({"optimizer.momentum": 0.9}).fix


def test_c01_an_unknown_group_is_answered_with_the_nearest() -> None:
    assert "Did you mean optimizer?" in refusal({"optimzer": {"lr": 1}}).fix


def test_c01_the_place_of_the_key_and_of_its_neighbour_are_told() -> None:
    places = {"model.hiden": "mine.yaml:3", "model.hidden": "mlp.yaml:2"}
    with pytest.raises(ConfigError) as caught:
        read(settings({"model.hiden": 3}), origin=lambda key: places.get(key, ""))
    assert caught.value.where == "mine.yaml:3:model.hiden"
    assert "model.hidden (mlp.yaml:2)?" in caught.value.fix


@pytest.mark.parametrize(
    ("key", "value", "wanted", "got"),
    [
        ("trainer.epochs", "ten", "a whole number of at least 1", "'ten'"),
        ("trainer.epochs", 1.5, "a whole number of at least 1", "1.5"),
        ("trainer.epochs", True, "a whole number of at least 1", "true"),
        ("trainer.batch_size", "half", "a whole number of at least 1, or one of: auto, full", "'half'"),
        ("trainer.shuffle", "yes", "true or false", "'yes'"),
        ("optimizer.lr", None, "a number above 0", "null"),
        ("optimizer.betas", [0.9], "a list of 2 values, each a number in [0, 1)", "[0.9]"),
        ("model.hidden", ["a"], "a list of 1 to 1000 values, each a whole number of at least 1", "['a']"),
        ("model.hidden", 64, "a list of 1 to 1000 values, each a whole number of at least 1", "64"),
        ("scheduler.warmup", "soon", "a length such as 500steps, 3epochs or 10%", "'soon'"),
        ("scheduler.warmup", "200%", "at most 100%", "'200%'"),
        ("name", 3, "text of 1 to 100 characters", "3"),
        ("device", "gpu", "auto, cpu, mps, cuda or cuda:1", "'gpu'"),
        ("trainer.monitor", "accuracy", "the logged name of a metric, as valid/loss, or auto", "'accuracy'"),
        ("regularization", 3, "a group of settings", "3"),
        ("trainer", None, "a group of settings", "null"),
    ],
)
def test_c02_wrong_type_names_key_got_and_wanted(key: str, value: Any, wanted: str, got: str) -> None:
    error = refusal({key: value})
    assert error.what == f"{key} must be {wanted}, however: {got}"
    assert error.where == key


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        ("optimizer.lr", -1, "a number above 0"),
        ("regularization.dropout", 1.0, "a number in [0, 1)"),
        ("trainer.batch_size", 0, "a whole number of at least 1, or one of: auto, full"),
        ("trainer.epochs", 0, "a whole number of at least 1"),
        ("regularization.max_norm", 0.0, "a number above 0, or null"),
        ("seed", -1, "a whole number in [0, 9223372036854775807]"),
    ],
)
def test_c03_out_of_range_names_key_value_and_range(key: str, value: Any, allowed: str) -> None:
    error = refusal({key: value})
    assert error.what == f"{key} must be {allowed}, however: {value}"
    assert error.fix.startswith(f"Try {key}=")


def test_several_errors_are_told_together_each_once() -> None:
    error = refusal({"trainer.epochs": "x", "trainer.batch_size": "y", "model.hiden": 3})
    told = [error.what, *error.__notes__]
    assert len(told) == 3
    assert [any(key in line for line in told) for key in ("trainer.epochs", "trainer.batch_size", "model.hiden")] == [True] * 3


def test_c04_all_missing_values_are_listed_at_once() -> None:
    error = refusal({"data.root": "???", "model.target": "???"}, data="idx", model="custom")
    assert error.what == "every setting must have a value, however: 2 keys need one"
    assert error.where == "data.root, model.target"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_c08_a_number_that_is_not_finite_is_refused_by_its_key(value: float) -> None:
    assert refusal({"optimizer.lr": value}).what == f"optimizer.lr must be a number above 0 and finite, however: {value}"
    assert refusal({"model.args": {"a": [value]}}, model="custom").what == f"model.args.a must be a finite number, however: {value}"


def test_a_wrong_kind_is_answered_with_the_nearest() -> None:
    error = refusal({"optimizer.kind": "adem"})
    assert (error.what, error.where) == ("optimizer.kind must be a known kind, however: 'adem'", "optimizer.kind")
    assert error.fix.startswith("Did you mean adam? Choose one of: adadelta")
    assert refusal({"model": {}}).what == "model.kind must be a known kind, however: it names none"


@pytest.mark.parametrize(
    ("choices", "changes", "both"),
    [
        ({"optimizer": "gd"}, {"trainer.batch_size": 3}, ("trainer.batch_size", "optimizer.kind")),
        ({"optimizer": "lbfgs"}, {"trainer.accumulate": 2}, ("trainer.accumulate", "optimizer.kind")),
        ({"model": "perceptron", "loss": "bce"}, {}, ("loss.kind", "model.kind")),
        ({"model": "autoencoder", "loss": "cross_entropy"}, {}, ("loss.kind", "model.kind")),
        ({}, {"data.valid": 0.0, "trainer.monitor": "valid/loss"}, ("trainer.monitor", "data.valid")),
        ({}, {"trainer.monitor": "valid/nonsense"}, ("trainer.monitor", "metrics.epoch")),
        ({}, {"trainer.stop_at.metric": "train/nonsense"}, ("trainer.stop_at.metric", "metrics.epoch")),
        ({}, {"scheduler.warmup": "40epochs"}, ("scheduler.warmup", "trainer.epochs")),
        ({"scheduler": "warmup_cosine"}, {"scheduler.warmup": "100%"}, ("scheduler.warmup", "trainer.epochs")),
        ({"scheduler": "warmup_stable_decay"}, {"scheduler.warmup": "90%"}, ("scheduler.decay", "scheduler.warmup")),
        ({"scheduler": "step"}, {"scheduler.every": 0}, ("scheduler.every", "scheduler.kind")),
        ({"regularization": "sparsity"}, {"regularization.sparsity.begin": "60%"}, ("sparsity.begin", "sparsity.end")),
        ({}, {"data.valid": 0.6, "data.test": 0.6}, ("data.valid", "data.test")),
        ({"data": "linear_regression"}, {"data.features": 3}, ("data.informative", "data.features")),
        ({"initialization": "uniform"}, {"initialization.low": 2.0}, ("initialization.low", "initialization.high")),
        ({}, {"lr_range": {"low": 1.0, "high": 0.1}}, ("lr_range.low", "lr_range.high")),
        ({}, {"precision": "bf16", "device": "cpu"}, ("precision", "device")),
    ],
)
def test_c12_contradictory_settings_are_both_named(choices: dict[str, str], changes: dict[str, Any], both: tuple[str, str]) -> None:
    error = refusal(changes, **choices)
    assert all(key in error.where for key in both), error.where
    assert " must " in error.what
    assert "however: " in error.what
    assert error.fix


@pytest.mark.parametrize("kind", ["auto", "perceptron", "hinge", "squared_hinge"])
def test_a_perceptron_takes_margin_losses(kind: str) -> None:
    assert read(settings(model="perceptron", loss=kind)).loss.kind == kind


def test_c14_depth_length_and_layers_are_limited() -> None:
    deep: dict[str, Any] = {}
    for _ in range(10_000):
        deep = {"a": deep}
    assert refusal({"model.args": deep}, model="custom").what == "settings must be nested at most 50 levels deep, however: deeper"
    assert refusal({"model.args": {"a": "x" * 1_000_001}}, model="custom").what == "settings must be at most 1 MB, however: more"
    assert "1 to 1000 values" in refusal({"model.hidden": [1] * 1001}).what
    assert "in [1, 1000]" in refusal({"model.depth": 10_000}, model="deep").what


def test_c19_another_version_names_who_can_read_it() -> None:
    error = refusal({"config_version": 7})
    assert error.what == f"config_version must be 1, which dnnlab {dnnlab.__version__} reads, however: 7"
    assert error.fix.startswith(f"A later release than {dnnlab.__version__} reads version 7")
    assert "No release reads another version" in refusal({"config_version": "one"}).fix


@pytest.mark.parametrize("name", ["größe 'x' 3", "実験", "a.b-c_d", "it's “so”"])
def test_c20_names_of_any_script_with_blanks_and_quotes_are_fit(name: str) -> None:
    assert read(settings({"name": name})).name == name


@pytest.mark.parametrize(
    "name", ["", " ", "a/b", "a\\b", "../up", ".hidden", "-rf", "two\nlines", "bell\x07", "rtl\u202eend", " x", "x ", "x.", "é" * 101]
)
def test_c20_names_that_make_no_folder_are_refused(name: str) -> None:
    error = refusal({"name": name})
    assert error.what.startswith("name must be")
    assert error.what.isprintable()


def test_a_name_is_limited_in_bytes() -> None:
    assert "more than 200" in name_fault("日" * 99)


def test_c10_a_value_from_the_environment_is_shown_as_its_reference() -> None:
    with pytest.raises(ConfigError) as caught:
        read(settings({"optimizer.lr": "s3cret"}), references={"optimizer.lr": "${oc.env:LR}"})
    assert caught.value.what.endswith("however: ${oc.env:LR}")
    assert "s3cret" not in str(caught.value)


# One YAML file


@pytest.fixture
def file(tmp_path: Path) -> Callable[[str | bytes], Path]:
    """Write a file of settings."""

    def write(text: str | bytes) -> Path:
        path = tmp_path / "mine.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def fault(path: Path, wants: Callable[[str], str] = lambda key: "") -> ConfigError:
    """The error that a file gives."""
    with pytest.raises(ConfigError) as caught:
        inspect(path, wants)
    return caught.value


def test_c05_a_double_key_names_both_lines(file: Callable[[str], Path]) -> None:
    path = file("trainer:\n  epochs: 3\n  shuffle: true\n  epochs: 4\n")
    error = fault(path)
    assert error.what == "a key must stand once, however: 'epochs' stands in lines 2 and 4"
    assert error.where == f"{path}:4:3:trainer.epochs"


@pytest.mark.parametrize(
    ("text", "place", "fact"),
    [
        ("trainer:\n\tepochs: 3\n", "2:1", "a tab as indentation"),
        ("a: [1, 2\nb: 3\n", "2:2", ""),
        (b"name: \xe9t\xe9\n", "1:7", "byte 0xe9 at offset 6"),
        ("", "1:1", "it is empty"),
        (" \n\n", "1:1", "it is empty"),
        ("- a\n- b\n", "1:1", "a list"),
        ("just words\n", "1:1", "a single value"),
        ("? [a]\n: b\n", "1:3", "a list or mapping"),
        ("# words\n# @package _global_\nseed: 1\n", "2:1", "it stands below others"),
    ],
)
def test_c06_a_file_that_is_no_settings_is_refused_by_its_place(
    file: Callable[[str | bytes], Path], text: str | bytes, place: str, fact: str
) -> None:
    path = file(text)
    error = fault(path)
    assert fact in error.what
    assert error.where.startswith(f"{path}:{place}")


def test_a_file_of_comments_alone_and_one_with_a_byte_order_mark_are_fit(file: Callable[[str | bytes], Path]) -> None:
    inspect(file("# nothing yet\n"))
    inspect(file(b"\xef\xbb\xbfseed: 3\n"))


@pytest.mark.parametrize("word", ["yes", "No", "off", "ON", "010", "-012", "0b11", "12:30:45", "1:30.5", "1_000", "1_0.5", "0x_ff"])
def test_c07_words_that_yaml_changes_are_refused_unless_quoted(file: Callable[[str], Path], word: str) -> None:
    path = file(f"trainer:\n  epochs: {word}\n")
    error = fault(path, lambda key: "a whole number" if key == "trainer.epochs" else "")
    assert error.what.startswith(f"trainer.epochs must be a whole number, however: YAML reads {word} as ")
    assert error.where == f"{path}:2:11:trainer.epochs"
    assert f"Quote it: '{word}'" in error.fix
    for quoted in (f"'{word}'", f'"{word}"'):
        inspect(file(f"trainer:\n  epochs: {quoted}\n"))


@pytest.mark.parametrize("word", ["12", "1e3", "1.5", "true", "0x1f"])
def test_c07_where_text_is_wanted_a_number_must_be_quoted(file: Callable[[str], Path], word: str) -> None:
    error = fault(file(f"name: {word}\n"), lambda key: "text of 1 to 100 characters")
    assert error.what.startswith(f"name must be text of 1 to 100 characters, however: YAML reads {word} as ")
    inspect(file(f"name: {word}\n"))  # where a number is wanted it is one


def test_c07_yes_and_no_are_words_for_true_and_false_where_these_are_wanted(file: Callable[[str], Path]) -> None:
    inspect(file("trainer:\n  shuffle: no\n"), lambda key: "true or false" if key == "trainer.shuffle" else "")


def test_c07_keys_and_items_of_lists_are_watched_too(file: Callable[[str], Path]) -> None:
    assert "YAML reads on as true or false" in fault(file("on: 3\n")).what
    assert "data.labels must be a list, each text" in fault(file("data:\n  labels: [a, 010]\n"), lambda key: "a list, each text").what


@pytest.mark.parametrize("word", ["3", "0.1", "1e-3", "-5", "null", "true", "2024-01-01", "100epochs", "30%", "y", "0"])
def test_plain_words_are_left_alone(file: Callable[[str], Path], word: str) -> None:
    inspect(file(f"a: {word}\n"))


def test_c14_large_and_deep_files_are_refused_and_aliases_read_once(file: Callable[[str], Path]) -> None:
    assert "at most 1 MB, however: 1.1 MB" in fault(file("# " + "x" * 1_100_000 + "\nseed: 3\n")).what
    error = fault(file("a: " + "[" * 3000 + "]" * 3000 + "\n"))
    assert error.what == "settings must be nested at most 50 levels deep, however: deeper"
    bomb = "a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 8)}]\n" for n in range(1, 40))
    inspect(file(bomb))  # takes 8^40 visits where each alias is followed
    inspect(file("a: &a [*a]\n"))


def test_every_key_knows_its_line(file: Callable[[str], Path]) -> None:
    path = file("lr: 0.1\nbetas: [0.9,\n  0.99]\nnested: {a: 1,\n  b: 2}\n")
    places = {key: place.rpartition(":")[2] for key, place in lines(path, "optimizer").items()}
    assert places == {
        "optimizer.lr": "1",
        "optimizer.betas": "2",
        "optimizer.nested": "4",
        "optimizer.nested.a": "4",
        "optimizer.nested.b": "5",
    }
    assert lines(file("- a\n")) == {}


# The schema


KINDS = {group: option for group, option in CHOICES.items() if variants(group)}


def test_every_key_is_documented_and_has_words() -> None:
    for group in groups():
        for kind in variants(group) or ("",):
            for key in keys({**KINDS, group: kind}):
                fact = lookup(key, {**KINDS, group: kind})
                assert fact is not None
                assert fact.doc, key
                assert fact.words, key


def test_the_keys_are_those_of_the_settings() -> None:
    def dotted(value: Settings, prefix: str = "") -> set[str]:
        found: set[str] = set()
        for name in type(value).model_fields:
            found.add(prefix + name)
            inner = getattr(value, name)
            if isinstance(inner, Settings):
                found |= dotted(inner, f"{prefix}{name}.")
        return found

    assert set(keys(KINDS)) == dotted(read(settings()))


def test_a_place_inside_a_list_belongs_to_its_setting() -> None:
    fact = lookup("model.hidden.0", KINDS)
    assert fact is not None
    assert fact.key == "model.hidden"


@pytest.mark.parametrize(
    ("typo", "meant"),
    [
        ("model.hiden", "model.hidden"),
        ("lr", "optimizer.lr"),
        ("optimiser.lr", "optimizer.lr"),
        ("trainer.early_stoping", "trainer.early_stopping"),
        ("trainer.early_stopping.patiense", "trainer.early_stopping.patience"),
        ("dropout", "regularization.dropout"),
        ("epochs", "trainer.epochs"),
        ("qqqq", ""),
        ("optimizer.foo", ""),
    ],
)
def test_the_nearest_key_is_the_one_that_was_meant(typo: str, meant: str) -> None:
    assert nearest(typo, KINDS) == meant


def test_the_json_schema_completes_partial_files_and_refuses_unknown_keys() -> None:
    schema = json_schema()
    adam = schema["$defs"]["Adam"]
    assert adam["properties"]["lr"] == {
        "default": 0.001,
        "description": "Learning rate.",
        "exclusiveMinimum": 0,
        "title": "Lr",
        "type": "number",
    }
    assert adam["additionalProperties"] is False
    assert "required" not in str({name: list(part) for name, part in schema["$defs"].items()})
    assert "anyOf" in schema["properties"]["optimizer"]
    assert {"defaults", "hydra"} <= set(schema["properties"])
    assert {part["$ref"].rpartition("/")[2] for part in group_schema("model")["anyOf"]} >= {"Mlp", "Deep"}
