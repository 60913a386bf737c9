"""The door: what is typed in a shell, the line that answers it, and the exit code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

from dnnlab import __version__, cli
from dnnlab.config.request import Request
from dnnlab.door import jobs
from dnnlab.door.arguments import Arguments
from dnnlab.errors import DataError, DivergedError
from dnnlab.records import Summary

ROOT = Path(__file__).parents[1]
HEADER = "# @package _global_\n"


@dataclass
class Door:
    """Calls the door as a shell does; training itself is left out, unless a test asks for it."""

    folder: Path
    capture: pytest.CaptureFixture[str]
    patch: pytest.MonkeyPatch
    requests: list[Request] = field(default_factory=list)
    out: str = ""
    err: str = ""

    def __call__(self, *words: str, script: str = "train.py") -> int:
        """-> the exit code; what was said stands in `out` and `err`."""
        self.requests.clear()
        self.patch.setattr(sys, "argv", [script, *words])
        with pytest.raises(SystemExit) as caught:
            (cli.train if script.endswith(".py") else cli.main)()
        self.out, self.err = self.capture.readouterr()
        return int(caught.value.code or 0)

    def line(self) -> str:
        """The one line on stderr, without its head."""
        lines = self.err.splitlines()
        assert len(lines) == 1, self.err
        head = "dnnlab: error[config]: "
        assert lines[0].startswith(head), lines[0]
        return lines[0].removeprefix(head)

    def refuses(self, *words: str) -> str:
        """What a command line that is refused is told; no run begins, and nothing is left behind."""
        before = sorted(self.folder.rglob("*"))
        assert self(*words) == 2, self.err
        assert not self.requests
        assert sorted(self.folder.rglob("*")) == before
        return self.line()

    def accepts(self, *words: str) -> Request:
        """The one request that a command line becomes."""
        assert self(*words) == 0, self.err
        (request,) = self.requests
        return request

    def experiment(self, text: str | bytes, name: str = "mine") -> tuple[str, ...]:
        """Write an experiment into a folder of the user's own; -> the words that choose it."""
        path = self.folder / "conf" / "experiment" / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return ("--config-dir", "conf", f"experiment={name}")


def ended(status: str = "finished", signal: str = "") -> Summary:
    """How a run ended that nobody ran."""
    return Summary(status, "folder", {}, 1, 1, 0.1, signal=signal)


@pytest.fixture
def door(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Door:
    """The door in an empty folder."""
    made = Door(tmp_path, capsys, monkeypatch)

    def note(request: Request, arguments: Arguments) -> Summary:
        made.requests.append(request)
        return ended()

    monkeypatch.setattr(jobs, "train", note)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DNNLAB_TRUST", raising=False)
    return made


def test_choices_and_overrides_become_a_typed_request(door: Door) -> None:
    request = door.accepts("model=deep", "model.depth=3", "optimizer=sgd", "seed=7")
    assert (request.config.model.kind, request.config.optimizer.kind, request.config.seed) == ("deep", "sgd", 7)
    assert (request.config.name, request.folder, request.root) == ("deep_digits", None, Path("outputs"))
    assert request.argv == ("model=deep", "model.depth=3", "optimizer=sgd", "seed=7")
    assert request.document["model"]["depth"] == 3
    written = yaml.safe_load(request.written)
    assert written["name"] == "${model.kind}_${data.kind}"
    assert "hydra" not in written
    assert json.loads(json.dumps(request.document)) == request.document


def test_an_experiment_overrides_choices_and_the_command_line_overrides_it(door: Door) -> None:
    assert door.accepts("experiment=xor").config.trainer.epochs == 2000
    request = door.accepts("experiment=xor", "trainer.epochs=3", "optimizer=sgd")
    assert (request.config.trainer.epochs, request.config.optimizer.kind, request.config.data.kind) == (3, "sgd", "xor")


@pytest.mark.parametrize("preset", sorted(path.stem for path in (ROOT / "configs" / "debug").glob("*.yaml")))
def test_debug_presets_compose_over_an_experiment(door: Door, preset: str) -> None:
    assert door.accepts("experiment=xor", f"debug={preset}").config.name == f"debug_{preset}"


def test_a_run_makes_its_own_folder_unless_the_user_names_one(door: Door) -> None:
    door.accepts()
    assert list(door.folder.iterdir()) == []
    assert door.accepts("hydra.run.dir=here/it").folder == Path("here/it")
    assert list(door.folder.iterdir()) == []  # the run makes it, not Hydra


def test_own_options_are_kept_from_hydra(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DNNLAB_TRUST", "theirs, third")
    assert door.accepts("--trust", "mine", "--debug", "--trust=other").trusted == {"mine", "other", "theirs", "third"}
    assert "must name a top-level package" in door.refuses("--trust", "a.b")
    assert "must be followed by a value" in door.refuses("--trust")


def test_an_option_that_nobody_knows_is_answered(door: Door) -> None:
    assert "Did you mean --multirun?" in door.refuses("--multrun")
    assert "Settings are written without dashes: lr=0.1" in door.refuses("--lr=0.1")


def test_options_that_show_are_checked(door: Door) -> None:
    assert "Did you mean job?" in door.refuses("--cfg", "jobs")
    assert "one of --multirun, --cfg must be enough" in door.refuses("--cfg", "job", "-m")
    assert door("--cfg", "job", "-p", "optimizer") == 0
    assert "kind: adam" in door.out
    assert door("--cfg", "job", "-p", "nothing") == 2


# The catalogue of faults, section a


def test_c01_unknown_key_on_the_command_line(door: Door) -> None:
    told = door.refuses("model.hiden=3")
    assert told.startswith("model.hiden must be a known setting, however: model=mlp has no hiden - command line:model.hiden - Did you mean")
    assert f"model.hidden ({ROOT / 'configs/model/mlp.yaml'}:3)" in told


def test_c01_several_unknown_keys_are_told_at_once(door: Door) -> None:
    assert door("model.hiden=3", "optimizer.momentum=1", "-m", "seed=1,2") == 2
    first, second = door.err.splitlines()
    assert "model.hiden" in first
    assert "optimizer=momentum, muon, nesterov, rmsprop would have it" in second


@pytest.mark.parametrize("words", [("+model.hiden=3",), ("model={hiden: 3}",), ("optimzer=adam",), ("lr=0.1",), ("foo/bar=1",)])
def test_c01_however_it_is_written(door: Door, words: tuple[str, ...]) -> None:
    told = door.refuses(*words)
    assert "must be a known setting" in told
    assert "command line:" in told


def test_c01_unknown_key_in_a_file_names_file_and_line(door: Door) -> None:
    told = door.refuses(*door.experiment(HEADER + "model:\n  hiden: [3]\n"))
    assert " - conf/experiment/mine.yaml:3:model.hiden - Did you mean model.hidden (" in told


def test_c01_unknown_setting_of_hydra(door: Door) -> None:
    assert "Did you mean hydra.run.dir?" in door.refuses("hydra.run.dirr=3")


def test_c01_a_kind_without_its_settings_is_explained(door: Door) -> None:
    assert "Choose a kind with all its settings, by model=deep, not by model.kind (command line)" in door.refuses("model.kind=deep")
    assert "Choose a kind" not in door.refuses("model=deep", "+model.hidden=[3]")


def test_c02_c03_wrong_types_and_ranges_say_where_they_were_set(door: Door) -> None:
    assert door.refuses("trainer.epochs=ten").startswith(
        "trainer.epochs must be a whole number of at least 1, however: 'ten' - command line:trainer.epochs - Try"
    )
    told = door.refuses(*door.experiment(HEADER + "optimizer:\n  lr: -1\n"))
    assert told.startswith("optimizer.lr must be a number above 0, however: -1 - conf/experiment/mine.yaml:3:optimizer.lr - Try")


def test_c04_missing_values(door: Door) -> None:
    told = door.refuses("data=idx", "model=custom")
    assert "2 keys need one" in told
    assert "Give data.root=VALUE model.target=VALUE" in told


def test_c05_double_key(door: Door) -> None:
    told = door.refuses(*door.experiment(HEADER + "trainer:\n  epochs: 3\n  epochs: 4\n"))
    assert "'epochs' stands in lines 3 and 4 - conf/experiment/mine.yaml:4:3:trainer.epochs" in told


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (HEADER + "trainer:\n\tepochs: 3\n", "3:1 - Indent with spaces"),
        (HEADER + "trainer: [1, 2\nseed: 3\n", "3:"),
        ((HEADER + "name: \xe9\n").encode("latin-1"), "2:7 - Save it as UTF-8"),
        ("", "1:1"),
        ("- a\n", "1:1"),
        ("words\n", "1:1"),
        (HEADER + "a: !!python/name:os.system x\n", ""),
    ],
)
def test_c06_files_that_are_no_settings(door: Door, text: str | bytes, place: str) -> None:
    told = door.refuses(*door.experiment(text))
    assert told.startswith("a file of settings must ")
    assert f"conf/experiment/mine.yaml:{place}" in told or not place


@pytest.mark.parametrize(
    ("key", "word"), [("name", "yes"), ("name", "12"), ("seed", "010"), ("seed", "12:30:45"), ("seed", "1_000"), ("device", "off")]
)
def test_c07_words_that_yaml_changes(door: Door, key: str, word: str) -> None:
    told = door.refuses(*door.experiment(f"{HEADER}{key}: {word}\n"))
    assert f"YAML reads {word} as " in told
    assert f"conf/experiment/mine.yaml:2:{len(key) + 3}:{key} - Quote it: '{word}'" in told


def test_c07_on_the_command_line_text_stays_text(door: Door) -> None:
    assert door.accepts("name=yes").config.name == "yes"
    assert door.accepts("name='010'").config.name == "010"
    assert "Quote it: \"name='12'\" on the command line" in door.refuses("name=12")


def test_c08_numbers_that_are_not_finite(door: Door) -> None:
    assert "optimizer.lr must be a number above 0 and finite, however: nan" in door.refuses("optimizer.lr=nan")
    assert "however: inf" in door.refuses(*door.experiment(HEADER + "optimizer: {lr: .inf}\n"))


@pytest.mark.parametrize(
    ("words", "fact"),
    [
        (("name=${nope}",), "name -> nope and there is no 'nope'"),
        (("name=${device}", "device=${nope.x}"), "name -> device -> nope.x and there is no 'nope.x'"),
        (("name=${device}", "device=${name}"), "references must not turn in a circle, however: name -> device -> name"),
        (("name=${name}",), "however: name -> name"),
        (("name=${nope:3}",), "a reference must use a known resolver, however: 'nope'"),
        (("trainer.early_stopping.patience=${..epoch}",), "trainer.early_stopping.patience -> trainer.epoch and"),
        (("name='${device'",), "a reference must be written ${key} or ${resolver:arguments}"),
    ],
)
def test_c09_references_that_lead_nowhere(door: Door, words: tuple[str, ...], fact: str) -> None:
    assert fact in door.refuses(*words)


def test_c09_the_resolvers_that_there_are_are_listed(door: Door) -> None:
    assert "Resolvers are: oc.env, oc.decode, oc.select" in door.refuses("name=${nope:3}")


def test_c09_a_reference_that_is_not_closed_in_a_file(door: Door) -> None:
    assert "conf/experiment/mine.yaml:2:name" in door.refuses(*door.experiment(HEADER + "name: ${device\n"))


def test_c09_references_that_lead_somewhere(door: Door) -> None:
    request = door.accepts("trainer.early_stopping.patience=${..epochs}", "model.hidden=[${seed},5]", "seed=3")
    assert request.config.trainer.early_stopping.patience == 30
    assert request.config.model.hidden == [3, 5]
    assert request.document["model"]["hidden"] == [3, 5]


def test_c10_what_is_saved_keeps_the_reference_and_never_the_value(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "s3cret")
    request = door.accepts(
        "model=custom", "model.target=mine.Net", "+model.args={token: '${oc.env:TOKEN}', list: ['${oc.env:TOKEN}', b], size: 3}",
        "+model.args.via=x${name}", "name=run_${oc.env:TOKEN}",
    )  # fmt: skip
    assert request.config.name == "run_s3cret"
    assert request.config.model.args == {"token": "s3cret", "list": ["s3cret", "b"], "size": 3, "via": "xrun_s3cret"}
    assert "s3cret" not in request.written
    assert "s3cret" not in json.dumps(request.document)
    assert "s3cret" not in " ".join(request.argv)
    assert request.document["name"] == "run_${oc.env:TOKEN}"
    assert request.document["model"]["args"] == {"token": "${oc.env:TOKEN}", "list": ["${oc.env:TOKEN}", "b"], "size": 3, "via": "x${name}"}


def test_c10_an_unset_variable_names_key_and_variable(door: Door) -> None:
    told = door.refuses("data=idx", "data.root=${oc.env:NO_SUCH_VARIABLE}")
    assert told.startswith("data.root must find the environment variable NO_SUCH_VARIABLE, however: it is not set - command line:data.root")
    assert door.accepts("name=${oc.env:NO_SUCH_VARIABLE,plain}").config.name == "plain"


def test_c10_messages_show_the_reference(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "s3cret")
    told = door.refuses("optimizer.lr=${oc.env:TOKEN}")
    assert "however: ${oc.env:TOKEN}" in told
    assert "${oc.decode:${oc.env:TOKEN}}" in told
    assert "s3cret" not in told


def test_c11_unknown_option_lists_the_options(door: Door) -> None:
    told = door.refuses("model=resnet9")
    assert told.startswith(
        "model must be one of its options, however: 'resnet9' - command line:model - Choose one of: autoencoder, custom, deep"
    )
    assert "Did you mean adam? Choose one of:" in door.refuses("optimizer=adm")
    assert "Did you mean xor?" in door.refuses("-m", "experiment=xorr", "seed=1,2")
    assert "model must be one of its options, however: '3'" in door.refuses("model=3")


def test_c11_unknown_option_in_a_file(door: Door) -> None:
    told = door.refuses(*door.experiment(HEADER + "defaults:\n  - override /model: resnet\n"))
    assert "conf/experiment/mine.yaml:3:model - Choose one of: autoencoder" in told


def test_c11_unknown_group_in_a_file(door: Door) -> None:
    told = door.refuses(*door.experiment(HEADER + "defaults:\n  - override /modle: mlp\n"))
    assert told.startswith(
        "modle must be a group of choices, however: there is none of that name - conf/experiment/mine.yaml:3:modle - Did"
    )
    assert "Did you mean model? Choose one of: activation, data" in told
    assert "Did you mean model?" in door.refuses(*door.experiment(HEADER + "defaults:\n  - /modle: mlp\n"))


def test_c01_an_experiment_that_does_not_say_that_it_sets_keys_of_every_group(door: Door) -> None:
    told = door.refuses(*door.experiment("trainer:\n  epochs: 2\n"))
    assert told.endswith("let it begin with the line # @package _global_")


@pytest.mark.parametrize("word", ["=3", "+=3", "~", "=", ""])
def test_c15_an_argument_has_a_key(door: Door, word: str) -> None:
    assert f"an argument must read key=value, however: '{word}'" in door.refuses(word)


def test_c12_contradictions_name_both_keys_and_their_places(door: Door) -> None:
    told = door.refuses("optimizer=gd", "trainer.batch_size=3")
    assert "command line:trainer.batch_size, command line:optimizer.kind - Try trainer.batch_size=full" in told


def test_c14_size_and_nesting(door: Door) -> None:
    assert "at most 1 MB, however: 1.1 MB - conf/experiment/mine.yaml" in door.refuses(
        *door.experiment("# " + "x" * 1_100_000 + "\nseed: 3\n")
    )
    for depth in (60, 2000):
        told = door.refuses(*door.experiment(f"{HEADER}name: {'[' * depth}{']' * depth}\n"))
        assert told.startswith("settings must be nested at most 50 levels deep, however: deeper - conf/experiment/mine.yaml:2")
    assert "at most 50 levels deep" in door.refuses(f"name={'[' * 60}{']' * 60}")


@pytest.mark.parametrize(
    ("word", "column", "hint"),
    [
        ("model.hidden=[1,2", 17, "Something is not closed"),
        ("model", 5, "Settings are written as key=value: model=VALUE"),
        ("optimizer=adam=3", 14, "Quote what is text: 'optimizer=\"adam=3\"'"),
        ("name='abc", 5, "Something is not closed"),
        ("a b=3", 1, "A key is a dotted name"),
        ("seed=range(3", 12, "Something is not closed"),
        ("name=größe x", 7, "Quote what is text"),
    ],
)
def test_c15_a_caret_stands_under_the_place(door: Door, word: str, column: int, hint: str) -> None:
    assert door(word) == 2
    told, argument, caret = door.err.splitlines()
    assert told.startswith("dnnlab: error[config]: an argument must read key=value, however: ")
    assert f"command line:{column + 1} - {hint}" in told
    assert argument == f"  {word}"
    assert caret == f"  {' ' * column}^"


def test_c15_several_values_need_multirun(door: Door) -> None:
    assert door.refuses("seed=1,2").startswith("seed must have one value, however: '1,2' - command line:seed - Add -m")
    assert "Add -m" in door.refuses("seed=range(3)")


def test_c19_another_version(door: Door) -> None:
    assert "config_version must be 1" in door.refuses("config_version=2")


def test_c20_names(door: Door) -> None:
    assert door.accepts("name='größe 3, it\\'s'").config.name == "größe 3, it's"
    for name in ("a/b", "../x", "-x", "'a\nb'"):
        assert "name must be the name of one folder" in door.refuses(f"name={name}")


def test_a_config_names_no_code_for_hydra_to_run(door: Door) -> None:
    assert door("+hydra.callbacks.mine._target_=os.system") == 7
    assert door.err.startswith("dnnlab: error[untrusted]: settings must not name code to run")
    handlers = "hydra:\n  job_logging:\n    version: 1\n    root: {handlers: [h]}\n    handlers: {h: {'()': os.getcwd}}\n"
    assert door(*door.experiment(HEADER + handlers)) == 7


@pytest.mark.parametrize(
    ("words", "fact"),
    [
        (("--config-dir", "nowhere"), "the folder of your own settings must exist"),
        (("--config-name", "other"), "the main file of settings must exist, however: there is no 'other'"),
        (("hydra.run.dir=${nope}",), "Interpolation key 'nope' not found - hydra.run.dir"),
        (("~model.foo",), "Could not delete from config"),
    ],
)
def test_whatever_else_hydra_says_is_one_line(door: Door, words: tuple[str, ...], fact: str) -> None:
    assert fact in door.refuses(*words)


# Ends of a run


@pytest.mark.parametrize(
    ("status", "signal", "code"),
    [("finished", "", 0), ("diverged", "", 4), ("interrupted", "SIGINT", 130), ("interrupted", "SIGTERM", 143), ("failed", "", 1)],
)
def test_the_exit_code_says_how_a_run_ended(door: Door, monkeypatch: pytest.MonkeyPatch, status: str, signal: str, code: int) -> None:
    monkeypatch.setattr(jobs, "train", lambda request, arguments: ended(status, signal))
    assert door() == code


def test_errors_of_a_run_are_told_in_one_line_by_their_kind(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    def diverge(request: Request, arguments: Arguments) -> Summary:
        raise DivergedError("the loss must be finite, however: nan", where="step 7", fix="Try optimizer.lr=1e-4")

    monkeypatch.setattr(jobs, "train", diverge)
    assert door() == 4
    assert door.err == "dnnlab: error[diverged]: the loss must be finite, however: nan - step 7 - Try optimizer.lr=1e-4\n"
    assert door("--debug") == 4
    assert "Traceback" in door.err


def test_a_fault_of_our_own_is_the_only_traceback(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(request: Request, arguments: Arguments) -> Summary:
        raise ValueError("a bug")

    monkeypatch.setattr(jobs, "train", fail)
    assert door() == 1
    assert door.err.endswith("ValueError: a bug\n")
    assert "Error executing job" not in door.err


def test_an_interrupt_is_no_traceback(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(request: Request, arguments: Arguments) -> Summary:
        raise KeyboardInterrupt

    monkeypatch.setattr(jobs, "train", interrupt)
    assert door() == 130
    assert door.err == "dnnlab: interrupted\n"


# Sweeps


def test_a_sweep_runs_every_combination_in_numbered_folders(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    concluded: list[Path] = []
    monkeypatch.setattr(cli, "_conclude", lambda sweep: concluded.append(sweep) or 0)
    assert door("-m", "hydra/launcher=basic", "optimizer=sgd,adam", "seed=range(2)") == 0
    assert [(r.config.optimizer.kind, r.config.seed) for r in door.requests] == [("sgd", 0), ("sgd", 1), ("adam", 0), ("adam", 1)]
    (sweep,) = (door.folder / "outputs" / "sweeps").iterdir()
    assert [r.folder for r in door.requests] == [sweep / str(number) for number in range(4)]
    assert [path.resolve() for path in concluded] == [sweep]
    assert door.out.splitlines()[1] == "job 1: optimizer=sgd seed=1"


def test_a_job_that_fails_is_told_at_once_recorded_and_the_others_go_on(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[int] = []

    def some_fail(request: Request, arguments: Arguments) -> Summary:
        if request.config.seed == 1:
            raise DataError("rows must be numbers, however: 'x'", where="file.csv:3")
        if request.config.seed == 2:
            raise ZeroDivisionError("a bug")
        ran.append(request.config.seed)
        return ended()

    monkeypatch.setattr(jobs, "train", some_fail)
    monkeypatch.setattr(cli, "_conclude", lambda sweep: 2)
    assert door("-m", "hydra/launcher=basic", "seed=0,1,2,-3,4") == 9
    assert ran == [0, 4]
    told = [line for line in door.err.splitlines() if line.startswith("dnnlab: ")]
    assert told[0] == "dnnlab: error[data]: job 1: seed=1 - rows must be numbers, however: 'x' - file.csv:3"
    assert told[1] == "dnnlab: error[error]: job 2: seed=2 - ZeroDivisionError: a bug - job 2: seed=2"
    assert told[2].startswith("dnnlab: error[config]: job 3: seed=-3 - seed must be a whole number in [0, ")
    assert told[3].startswith("dnnlab: error[sweep]: every job of a sweep must end well, however: 2 of 5 failed - outputs/sweeps/")
    (sweep,) = (door.folder / "outputs" / "sweeps").iterdir()
    failures = {number: json.loads((sweep / number / "run.json").read_text())["error"]["kind"] for number in ("1", "2", "3")}
    assert failures == {"1": "data", "2": "error", "3": "config"}


def test_an_interrupt_ends_a_sweep_and_its_table_is_still_made(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    ends, concluded = iter([ended(), ended("interrupted", "SIGTERM")]), []
    monkeypatch.setattr(jobs, "train", lambda request, arguments: next(ends))
    monkeypatch.setattr(cli, "_conclude", lambda sweep: concluded.append(sweep) or 1)
    assert door("-m", "hydra/launcher=basic", "seed=range(5)") == 143
    assert len(concluded) == 1


def test_a_sweep_over_a_wrong_choice_begins_no_job(door: Door) -> None:
    assert door("-m", "optimizer=sgd,adem") == 2
    assert "Did you mean adam?" in door.line()
    assert not door.requests


# The other verbs


def test_explain_says_what_a_setting_is_and_who_set_it(door: Door) -> None:
    assert door("explain", "optimizer.lr", script="dnnlab") == 0
    assert door.out.splitlines() == [
        "optimizer.lr = 0.001",
        "  Learning rate.",
        "  must be    a number above 0",
        "  default    0.001",
        f"  set by     {ROOT / 'configs/optimizer/adam.yaml'}:3",
    ]


def test_explain_knows_overrides_and_the_users_own_files(door: Door) -> None:
    door("explain", "optimizer.lr", "optimizer.lr=0.5", "-m", "seed=1,2", script="dnnlab")
    assert "optimizer.lr = 0.5" in door.out
    assert "set by     command line" in door.out
    words = door.experiment(HEADER + "optimizer:\n  lr: 0.25\n")
    door("explain", "optimizer.lr", *words, script="dnnlab")
    assert "optimizer.lr = 0.25" in door.out
    assert "set by     conf/experiment/mine.yaml:3" in door.out


def test_explain_lists_a_groups_keys_and_choices(door: Door) -> None:
    assert door("explain", "optimizer", "optimizer=muon", script="dnnlab") == 0
    assert "choices    adadelta, adagrad, adam" in door.out
    assert "optimizer.adamw_lr" in door.out
    assert door("explain", script="dnnlab") == 0
    assert "What training makes small." in door.out


def test_explain_shows_references_and_no_secrets(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    door("explain", "name", script="dnnlab")
    assert door.out.startswith("name = ${model.kind}_${data.kind}  (here: mlp_digits)\n")
    monkeypatch.setenv("TOKEN", "s3cret")
    door("explain", "name", "name=${oc.env:TOKEN}", script="dnnlab")
    assert door.out.startswith("name = ${oc.env:TOKEN}\n")
    assert "s3cret" not in door.out


def test_explain_answers_an_unknown_key_with_the_nearest(door: Door) -> None:
    assert door("explain", "optimizer.lrr", script="dnnlab") == 2
    assert "Did you mean optimizer.lr (" in door.line()
    assert door("explain", "seed", "model=nope", script="dnnlab") == 2
    assert "model must be one of its options" in door.line()


def test_schema_is_printed_or_written(door: Door) -> None:
    assert door("schema", script="dnnlab") == 0
    assert json.loads(door.out)["properties"]["seed"]["type"] == "integer"
    assert door("schema", "optimizer", "-o", "optimizer.json", script="dnnlab") == 0
    assert "Muon" in json.loads((door.folder / "optimizer.json").read_text(encoding="utf-8"))["$defs"]
    assert door("schema", "optimiser", script="dnnlab") == 2
    assert "Did you mean optimizer?" in door.line()


def test_train_is_a_verb_too(door: Door) -> None:
    assert door("train", "seed=5", script="dnnlab") == 0
    assert door.requests[0].config.seed == 5


def test_a_verb_that_nobody_knows_is_answered(door: Door) -> None:
    assert door("explian", "seed", script="dnnlab") == 2
    assert "however: 'explian' - command line - Did you mean explain?" in door.line()
    assert door("schema", "--nope", script="dnnlab") == 2
    assert "a command must be one that dnnlab knows" in door.line()


@pytest.mark.parametrize("script", ["train.py", "dnnlab"])
def test_the_version_is_dnnlabs(door: Door, script: str) -> None:
    assert door("--version", script=script) == 0
    assert door.out == f"dnnlab {__version__}\n"


def test_help_groups_the_choices(door: Door) -> None:
    assert door("--help") == 0
    assert "\noptimizer: adadelta, adagrad, adam" in door.out
    assert "--trust PACKAGE" in door.out
    assert "$" not in door.out.replace("$(python", "")
    assert door("--help", script="dnnlab") == 0
    assert all(verb in door.out for verb in cli.VERBS)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("python train.py optimizer=ada", {"optimizer=adam", "optimizer=adamw"}),
        ("python train.py --trust mine --debug optimizer.we", {"optimizer.weight_decay="}),
        ("dnnlab train scheduler=cos", {"scheduler=cosine", "scheduler=cosine_restarts"}),
        ("dnnlab explain optimizer.l", {"optimizer.lr"}),
        ("dnnlab ", {"train", "explain", "schema"}),
    ],
)
def test_a_shell_completes(door: Door, monkeypatch: pytest.MonkeyPatch, line: str, expected: set[str]) -> None:
    monkeypatch.setenv("COMP_LINE", line)
    script = "train.py" if line.startswith("python") else "dnnlab"
    assert door("-sc", "query=bash", script=script) == 0
    assert expected <= set(door.out.split())
    assert door.err == ""
    assert os.environ["COMP_LINE"] == line


def test_a_shell_that_waits_for_words_hears_no_error(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMP_LINE", "python train.py model=nope optimizer.")
    door("-sc", "query=bash")
    assert door.err == ""


# In a process of its own


def command(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command as a person would."""
    made = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, env=made, check=False)


def test_the_door_opens_without_torch() -> None:
    looks = [["train.py", "--help"], ["dnnlab", "explain", "optimizer.lr"], ["dnnlab", "schema"], ["train.py", "-sc", "query=bash"]]
    code = f"""
import contextlib, io, sys
from dnnlab import cli
for words in {looks!r}:
    sys.argv = words
    with contextlib.redirect_stdout(io.StringIO()) as out:
        try:
            (cli.train if words[0] == "train.py" else cli.main)()
        except SystemExit as left:
            assert not left.code, words
    assert out.getvalue().strip(), words
    assert "torch" not in sys.modules, words
"""
    ended = command("-c", code, COMP_LINE="python train.py opt")
    assert ended.returncode == 0, ended.stderr


def test_train_py_is_a_short_door(tmp_path: Path) -> None:
    text = (ROOT / "train.py").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 20
    assert "@hydra.main" in text  # what Hydra's completion script looks for
    ended = command(str(ROOT / "train.py"), "model.hiden=3", f"hydra.run.dir={tmp_path}/run")
    assert ended.returncode == 2
    assert ended.stderr.startswith("dnnlab: error[config]: model.hiden must be a known setting")
    assert len(ended.stderr.splitlines()) == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_real_run_and_a_real_sweep(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.chdir(door.folder)
    quick = ("data=xor", "trainer.epochs=2", "logger.tensorboard=false", "logger.progress=false")
    assert door(*quick, "hydra.run.dir=one", "name=${oc.env:HOME_OF_NOBODY,plain}") == 0, door.err
    saved = json.loads((door.folder / "one" / "config.json").read_text(encoding="utf-8"))
    assert saved["name"] == "${oc.env:HOME_OF_NOBODY,plain}"
    assert door(*quick, "hydra.run.dir=one") == 8
    assert door("-m", *quick, "hydra.sweep.dir=many", "trainer.monitor=valid/loss,valid/r2") == 9
    assert {path.name for path in (door.folder / "many").iterdir()} >= {"0", "1", "results.csv"}
