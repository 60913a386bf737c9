"""Law 11: opening a run folder or reading settings runs none of their code, as far as there are files to open."""

from __future__ import annotations

import ast
import os
import pickle
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from dnnlab.checkpoints import Checkpoints
from dnnlab.errors import ArtifactError, DnnlabError, UntrustedError
from dnnlab.runfolder import RunFolder
from dnnlab.runfolder.manifest import Fingerprint
from dnnlab.runfolder.sealed import sealed
from dnnlab.stopping import Best
from dnnlab.tally import Tally
from tests.support import parts

SOURCES = Path(__file__).parents[2] / "src" / "dnnlab"
FORBIDDEN_MODULES = {"pickle", "cPickle", "marshal", "shelve", "dill", "cloudpickle", "joblib"}
FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__"}
FORBIDDEN_METHODS = {("torch", "load"), ("torch", "save"), ("yaml", "load"), ("yaml", "unsafe_load"), ("numpy", "load"), ("np", "load")}


@pytest.mark.parametrize("path", sorted(SOURCES.rglob("*.py")), ids=lambda path: path.relative_to(SOURCES).as_posix())
def test_no_source_can_unpickle_or_evaluate(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            assert not {alias.name.split(".")[0] for alias in node.names} & FORBIDDEN_MODULES
        elif isinstance(node, ast.ImportFrom):
            assert (node.module or "").split(".")[0] not in FORBIDDEN_MODULES
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in FORBIDDEN_CALLS, f"line {node.lineno}"
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Name):
            assert (node.func.value.id, node.func.attr) not in FORBIDDEN_METHODS, f"line {node.lineno}"


class Hostile:
    """What a pickle of this runs when it is opened."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("fits", [False, True], ids=["as it is", "with a hash that fits"])
@pytest.mark.parametrize("name", ["state.safetensors", "best.safetensors", "checkpoint.json"])
def test_u03_a_pickle_in_a_run_folder_is_refused_and_not_run(name: str, fits: bool, tmp_path: Path) -> None:
    made, folder, trace = parts(), RunFolder.create(tmp_path, "run", {}), tmp_path / "executed"
    Checkpoints(folder, made, {}).write(Tally(Best("valid/loss", "min")))
    (generation,) = folder.generations()
    (generation.folder / "best.safetensors").write_bytes((generation.folder / "state.safetensors").read_bytes())
    (generation.folder / name).write_bytes(pickle.dumps(Hostile(trace)))
    if fits and name != "checkpoint.json":
        document = {key: value for key, value in generation.document.items() if key != "seal"}
        files = {of: asdict(Fingerprint.of_file(generation.folder, of)) for of in ("state.safetensors", "best.safetensors")}
        (generation.folder / "checkpoint.json").write_bytes(sealed({**document, "files": files}))
    (damaged,) = folder.generations()
    for read in (damaged.read_state, damaged.read_best) if name == "checkpoint.json" else (getattr(damaged, f"read_{name.split('.')[0]}"),):
        with pytest.raises(ArtifactError):
            read()
    folder.close()
    assert not trace.exists()


@pytest.mark.parametrize("target", ["os.system", "torch.load", "builtins.open", "dnnlab.custom.import_module", "evil.Net"])
@pytest.mark.parametrize("group", ["model", "loss", "optimizer"])
def test_a_name_in_the_settings_is_not_imported_without_trust(group: str, target: str) -> None:
    with pytest.raises(UntrustedError) as caught:
        parts({group: {"kind": "custom", "target": target}})
    assert caught.value.exit_code == 7


GLOBAL = "# @package _global_\nhydra:\n"
HANDLER = "handlers: {{a: {{(): os.system, command: touch {trace}}}}}"
HOSTILE = {
    "model.yaml": ("model", "kind: mlp\nhidden: [4]\n_target_: os.system\n_args_: [touch {trace}]\n"),
    "resolver.yaml": ("model", "kind: mlp\nhidden: [4]\noutput: ${{oc.create:os.system}}\n"),
    "callback.yaml": ("experiment", GLOBAL + "  callbacks:\n    mine: {{_target_: os.system, command: touch {trace}}}\n"),
    "logging.yaml": ("experiment", GLOBAL + "  job_logging: {{version: 1, root: {{handlers: [a]}}, " + HANDLER + "}}\n"),
    "python.yaml": ("model", "kind: mlp\nhidden: !!python/object/apply:os.system ['touch {trace}']\n"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_settings_are_refused_and_run_nothing(name: str, tmp_path: Path) -> None:
    group, text = HOSTILE[name]
    trace = tmp_path / "executed"
    (tmp_path / "configs" / group).mkdir(parents=True)
    (tmp_path / "configs" / group / name).write_text(text.format(trace=trace))
    code = f"""
import sys
ran = []
sys.addaudithook(lambda event, args: ran.append(event) if event in ("os.system", "subprocess.Popen", "os.exec", "pty.spawn") else None)
sys.argv = ["train.py", "--config-dir", {str(tmp_path / "configs")!r}, "{group}={name.removesuffix(".yaml")}", "trainer.epochs=1"]
from dnnlab.cli import run, guarded
code = guarded(lambda: run(sys.argv[1:]))
print("ran", [event for event in ran if event == "os.system"])
sys.exit(code)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "ran []" in done.stdout, done.stderr
    assert done.returncode in (2, 7), done.stderr
    assert "Traceback" not in done.stderr
    assert not trace.exists()


def test_the_errors_are_our_own() -> None:
    assert issubclass(UntrustedError, DnnlabError)


GOLDEN = Path(__file__).parents[1] / "golden_runs" / "format_1"
WATCHED = """
import os, sys
from pathlib import Path
import polars as pl
from dnnlab.predictor import load
from dnnlab.verify import verify
rows = pl.read_csv("rows.csv")
load("run").predict(rows, proba=True), verify(Path("run"), files_only=True)  # whatever is imported late is imported now
told = []
system = (sys.prefix, sys.base_prefix, "/proc/meminfo", "/sys/fs/cgroup")
def hook(event, args):
    if event in ("import", "exec", "compile", "os.system", "subprocess.Popen", "os.exec", "os.fork", "os.posix_spawn", "socket.connect",
                 "pickle.find_class", "ctypes.dlopen", "os.remove", "os.rename", "os.mkdir"):
        told.append((event, str(args[:1])))
    if event == "open" and isinstance(args[0], str) and not os.path.abspath(args[0]).startswith((os.path.abspath("run"), *system)):
        told.append((event, args[0]))
sys.addaudithook(hook)
load("run").predict(rows, proba=True), verify(Path("run"), files_only=True)
print(told, [name for name in ("yaml", "hydra", "omegaconf", "cloudpickle", "joblib") if name in sys.modules])
"""


def test_opening_a_run_imports_runs_and_touches_nothing_and_knows_no_yaml(tmp_path: Path) -> None:
    shutil.copytree(GOLDEN, tmp_path, dirs_exist_ok=True)
    done = subprocess.run([sys.executable, "-c", WATCHED], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[] []", done.stdout + done.stderr
