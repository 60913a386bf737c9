"""A user's own class is imported from trusted packages only, and whatever is wrong with its name is said."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dnnlab.custom import load
from dnnlab.errors import ConfigError, UntrustedError


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A package on the path, with a module that has a class and one that cannot be imported."""
    folder = tmp_path / "mine_for_tests"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "parts.py").write_text(
        "import json\nfrom collections import OrderedDict\n\nclass Network:\n    pass\n\ndef _hidden():\n    pass\n"
    )
    (folder / "broken.py").write_text("import a_package_that_is_not_there\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "mine_for_tests"
    for name in [name for name in sys.modules if name.startswith("mine_for_tests")]:
        del sys.modules[name]


def test_a_trusted_class_is_found(package: str) -> None:
    assert load(f"{package}.parts.Network", {package, "other"}, "model.target").__name__ == "Network"


@pytest.mark.parametrize("trusted", [set(), {"mine"}, {"mine_for_tests.parts"}, {"mine_for_tests_too"}])
def test_what_nobody_trusts_is_not_even_imported(package: str, trusted: set[str]) -> None:
    with pytest.raises(UntrustedError, match="must name a class of a trusted package") as caught:
        load(f"{package}.parts.Network", trusted, "model.target")
    assert f"--trust {package}" in caught.value.fix
    assert caught.value.exit_code == 7
    assert not any(name.startswith(package) for name in sys.modules)


@pytest.mark.parametrize("target", ["os.system", "builtins.eval", "subprocess.Popen", "torch.load", "dnnlab.custom.load"])
def test_nothing_is_trusted_by_itself(target: str) -> None:
    with pytest.raises(UntrustedError):
        load(target, (), "model.target")


def test_a_missing_name_is_answered_with_the_nearest(package: str) -> None:
    with pytest.raises(ConfigError, match="Did you mean Network") as caught:
        load(f"{package}.parts.Netwerk", {package}, "model.target")
    assert caught.value.where == "model.target"
    assert caught.value.fix.endswith("Choose one of: Network")  # nothing private, nothing that was only imported


@pytest.mark.parametrize("target", ["mine_for_tests.absent.Network", "mine_for_tests.broken.Network"])
def test_a_module_that_cannot_be_imported_says_why(package: str, target: str) -> None:
    with pytest.raises(ConfigError, match="can be imported, however: ModuleNotFoundError: No module named") as caught:
        load(target, {package}, "loss.target")
    assert caught.value.exit_code == 2
    assert isinstance(caught.value.__cause__, ImportError)
