"""Law 8. Imports point down, there is no cycle, Hydra is known to the doors alone, and the doors open without torch."""

from __future__ import annotations

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "src" / "dnnlab"

# The floor of every room; the digit after the point orders the rooms of one floor where one knows another.
# A package is one room: its files may know each other, as long as there is no cycle.
FLOORS = {
    # ground
    "dnnlab": 0.0, "errors": 0.0, "records": 0.0, "seeding": 0.0, "tasks": 0.0,
    # what may be asked, and where it is kept
    "config": 1.0, "files": 1.0, "limits": 1.0, "provenance": 1.0, "runfolder": 1.5, "exactness": 1.5, "runlog": 1.5,
    # ingredients: plain arguments in, never a config
    "flat": 1.9, "activations": 2.0, "batches": 2.0, "custom": 2.0, "data": 2.0, "initialization": 2.0, "layers": 2.0, "losses": 2.2,
    "loss_scale": 2.0, "metrics": 2.0, "schedules": 2.0, "backprop": 2.5, "health": 2.5, "models": 2.5, "optimizers": 2.5,
    "regularization": 2.5, "tables": 2.5, "features": 2.5, "thresholds": 2.5,
    # settings become ingredients
    "build": 3.5, "build.device": 3.0, "build.figures": 3.0, "build.network": 3.0, "build.schedule": 3.0, "build.tables": 3.0,
    "build.training": 3.0, "build.rows": 3.2,
    # learning
    "diagnostics": 4.0, "halving": 4.0, "tally": 4.3, "learner": 4.0, "stopping": 4.0, "lr_finder": 4.5, "trainer": 4.5,
    "population": 4.7,
    # runs
    "assembly": 5.0, "checkpoints": 5.2, "loggers": 5.0, "plots": 5.0, "description": 5.3, "signals": 5.0,
    "continuing": 5.5, "pictures": 5.3, "preflight": 5.3,
    "find_rate": 5.6, "running": 5.6, "run": 5.7, "standings": 5.7, "crossval": 5.8, "stack": 5.8, "resume": 5.9, "sweep": 5.95,
    # afterwards
    "predictor": 6.0, "sweeptable": 6.0, "compare": 6.3, "predict": 6.3, "evaluate": 6.6, "ensemble": 6.7, "verify": 6.8,
    # doors
    "app": 7.0, "door": 7.3, "api": 7.6, "cli": 7.6,
}  # fmt: skip
DOORS = ("door", "cli")  # may know Hydra


def module_of(path: Path) -> str:
    """The name below dnnlab: `config.model`; a package's own file has the package's name."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    parts = parts[:-1] if parts[-1] == "__init__" else parts
    return ".".join(parts) or "dnnlab"


SOURCES = {module_of(path): ast.parse(path.read_text(encoding="utf-8")) for path in PACKAGE.rglob("*.py")}


def room_of(module: str) -> str:
    """The longest entry of FLOORS that a module falls under."""
    while module not in FLOORS and "." in module:
        module = module.rpartition(".")[0]
    return module


def imported(tree: ast.AST) -> set[str]:
    """Full names of all that is imported anywhere in a file, also inside functions."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            module = node.module or ""
            found = {f"{module}.{alias.name}" for alias in node.names}
            names |= {name if name.removeprefix("dnnlab.") in SOURCES else module for name in found}
    return names


def known(module: str) -> set[str]:
    """The modules of dnnlab that a module imports."""
    names = {name.removeprefix("dnnlab.") for name in imported(SOURCES[module]) if name.split(".")[0] == "dnnlab"}
    return names - {module}


def at_once(tree: ast.Module) -> set[str]:
    """What is imported when the file is: outside functions and `if TYPE_CHECKING`."""
    top = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    return {name.split(".")[0] for node in top for name in imported(ast.Module([node], []))}


def test_every_module_has_a_floor_and_every_floor_a_module() -> None:
    assert {module for module in SOURCES if room_of(module) not in FLOORS} == set()
    assert {room for room in FLOORS if room not in SOURCES} == set()


@pytest.mark.parametrize("module", sorted(SOURCES))
def test_imports_point_down(module: str) -> None:
    room = room_of(module)
    wrong = {other for other in known(module) if room_of(other) != room and FLOORS[room_of(other)] >= FLOORS[room]}
    assert wrong == set()


def test_there_is_no_cycle() -> None:
    assert list(TopologicalSorter({module: known(module) for module in SOURCES}).static_order())


def test_only_the_doors_know_hydra() -> None:
    knowing = {module for module, tree in SOURCES.items() if {"hydra", "omegaconf"} & {name.split(".")[0] for name in imported(tree)}}
    assert {room_of(module) for module in knowing} <= set(DOORS)


def test_only_build_and_what_stands_above_it_knows_the_settings() -> None:
    knowing = {room_of(module) for module in SOURCES if any(room_of(other) == "config" for other in known(module))}
    assert {room for room in knowing if room != "config" and FLOORS[room] < 3.0} == set()


def test_settings_and_doors_load_no_torch_by_themselves() -> None:
    assert {
        module for module, tree in SOURCES.items() if room_of(module) in ("config", "door", "cli") and "torch" in at_once(tree)
    } == set()


def test_the_doors_open_without_torch() -> None:
    rooms = ("config", "door", "runfolder", "runlog")
    settings = sorted(f"dnnlab.{module}" for module in SOURCES if room_of(module) in rooms and module != "runfolder.tensorfile")
    code = (
        f"import sys, dnnlab.cli, {', '.join(settings)}; print(*({{'torch', 'sklearn', 'matplotlib', 'tensorboard'}} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
