"""What a newcomer installs: the pinned versions, the Makefile, and a wheel that carries all that the checkout has."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
README = ROOT / "README.md"
needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")


def pins() -> dict[str, Version]:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and not line.startswith("#")]
    return {canonicalize_name(line.split("==")[0]): Version(line.split("==")[1]) for line in lines}


def make(*arguments: str) -> str:
    done = subprocess.run(["make", "--dry-run", "--no-print-directory", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout


# --- versions


def test_everything_that_is_required_is_pinned_inside_its_range() -> None:
    pinned = pins()
    for text in [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["dev"]]:
        requirement = Requirement(text)
        assert requirement.specifier.contains(pinned[canonicalize_name(requirement.name)], prereleases=True), text
    assert {"torch": Version("2.13.0"), "hydra-core": Version("1.4.0rc3")}.items() <= pinned.items()


def test_pins_name_no_build_of_one_machine() -> None:
    assert {name: version for name, version in pins().items() if version.local} == {}


def test_the_range_of_torch_stays_wide() -> None:
    torch = next(Requirement(text) for text in PROJECT["dependencies"] if text.startswith("torch>"))
    assert torch.specifier.contains("2.10.0")
    assert torch.specifier.contains("3.0")


@pytest.mark.parametrize("name", ["pyproject.toml", "constraints.txt", "Makefile", ".ci/run"])
def test_no_registry_is_named(name: str) -> None:
    assert re.findall(r"https?://|index-url|find-links|pypi\.|pytorch\.org", (ROOT / name).read_text()) == []


# --- make and continuous integration


@needs_make
def test_make_train_runs_the_readmes_first_command() -> None:
    assert make("train", "VENV=somewhere").splitlines()[-1] == "somewhere/bin/python train.py model=mlp optimizer=adam"


@needs_make
def test_the_set_up_installs_the_pinned_versions_and_is_done_once(tmp_path: Path) -> None:
    commands = make("setup", f"VENV={tmp_path}")
    assert f"-m venv {tmp_path}" in commands
    assert "--editable '.[dev]' --constraint constraints.txt" in commands
    (tmp_path / ".installed").touch()
    assert "pip install" not in make("test", f"VENV={tmp_path}")


@needs_make
def test_a_machine_without_a_recent_python_is_told_so() -> None:
    done = subprocess.run(["make", "setup", "PYTHON=", "VENV=nowhere"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "needs Python 3.11 or later; try: make setup PYTHON=" in done.stderr
    assert not (ROOT / "nowhere").exists()


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_ci_calls_the_readmes_test_command() -> None:
    script = ROOT / ".ci" / "run"
    subprocess.run(["bash", "-n", str(script)], check=True)
    text = script.read_text()
    assert "set -euo pipefail" in text
    assert [line for line in text.splitlines() if line.strip()][-1] == 'make test VENV="$work/venv"'


@pytest.mark.skipif(not README.exists(), reason="the README is still to be written")
def test_the_readme_tells_how_to_test() -> None:
    assert "make test" in README.read_text(encoding="utf-8")


# --- the wheel


def built(folder: Path) -> zipfile.ZipFile:
    """A wheel of the checkout as it is, built in a copy: a build folder of old would add what is long gone."""
    for name in ("src", "configs"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("pyproject.toml", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    (folder / "README.md").write_bytes(README.read_bytes() if README.exists() else b"")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", "dist"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return zipfile.ZipFile(next((folder / "dist").glob("*.whl")))


@pytest.mark.slow
def test_the_wheel_carries_every_module_and_every_setting_and_nothing_else(tmp_path: Path) -> None:
    with built(tmp_path) as wheel:
        found = {name for name in wheel.namelist() if ".dist-info/" not in name}
        told = wheel.read(next(name for name in wheel.namelist() if name.endswith("entry_points.txt"))).decode()
    code = {str(path.relative_to(ROOT / "src")) for path in (ROOT / "src" / "dnnlab").rglob("*.py")}
    settings = {str(Path("dnnlab") / path.relative_to(ROOT)) for path in (ROOT / "configs").rglob("*.yaml")}
    expected = code | settings | {"dnnlab/py.typed", "dnnlab/configs/__init__.py"}
    assert settings
    assert found == expected
    assert "dnnlab = dnnlab.cli:main" in told


def test_u20_the_lock_has_the_tested_versions_with_hashes() -> None:
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    locked = dict(re.findall(r"^([\w.-]+)==(\S+) --hash=sha256:[0-9a-f]{64}$", text, flags=re.MULTILINE))
    pinned = dict(re.findall(r"^([\w.-]+)==([^\s;]+)", (ROOT / "constraints.txt").read_text(encoding="utf-8"), flags=re.MULTILINE))
    plain = {name.lower().replace("_", "-"): version for name, version in locked.items()}
    others = {name for name, version in pinned.items() if plain.get(name.lower().replace("_", "-")) != version}
    assert others <= {"torch"}
    assert len(locked) == sum(not line.startswith("#") for line in text.splitlines())
    assert "://" not in text
