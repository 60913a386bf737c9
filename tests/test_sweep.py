"""Sweeps: which jobs are one stack, what a named sweep does when it is called again, and what happens when jobs fail (S1 to S11)."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from copy import deepcopy
from hashlib import sha256
from pathlib import Path
from signal import SIGTERM
from typing import Any

import pytest
import torch

from dnnlab import app
from dnnlab.config.request import Request
from dnnlab.config.sweep import Sweep
from dnnlab.config.yamlfile import as_yaml
from dnnlab.door.arguments import parse
from dnnlab.door.space import jobs_of, spread
from dnnlab.errors import BusyError, ConfigError, DnnlabError, FullDiskError
from dnnlab.halving import Halving, share_of_steps
from dnnlab.records import Summary
from dnnlab.resume import Order, resume
from dnnlab.runfolder import RunFolder
from dnnlab.runfolder.lock import Lock
from dnnlab.stack import Member
from dnnlab.sweep import jobs as training
from dnnlab.sweep.grouping import groups, stands_alone
from dnnlab.sweep.jobs import ranges
from dnnlab.sweep.leading import Asked, Voice
from dnnlab.sweep.ledger import Ledger
from dnnlab.sweep.plan import plan
from dnnlab.sweeptable import conclude
from dnnlab.verify import verify
from tests.support import last_state, settings

QUIET = {"tensorboard": False, "progress": False}
BASE: dict[str, Any] = {"data": {"kind": "iris"}, "logger": QUIET, "trainer": {"epochs": 3, "batch_size": 32, "checkpoint_every": "4steps"}}


def request(changes: dict[str, Any], folder: Path | None = None) -> Request:
    """One job; its document is without what holds for the sweep."""
    config = settings(deepcopy({**BASE, **changes}))
    document = config.model_dump(mode="json", exclude={"seeds", "sweep"})
    return Request(config, as_yaml(document), document, folder=folder, brief=True)


class Told:
    """A sweep that is listened to."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.said: list[str] = []
        self.errors: list[str] = []
        self.alone: list[int | None] = []
        self.train: Callable[[Request], Summary] = app.train

    def __call__(self, changes: Sequence[dict[str, Any]], *, space: Sequence[str] = ("space",), **own: Any) -> list[Summary | None]:
        """Lead a sweep over these jobs, with these settings of the sweep: -> how each ended."""
        for told in (self.said, self.errors, self.alone):
            told.clear()
        asked = [Asked((f"job={number}",), request(own_changes, self.root / str(number))) for number, own_changes in enumerate(changes)]

        def alone(request: Request) -> Summary:
            self.alone.append(int(request.folder.name) if request.folder else None)
            return self.train(request)

        voice = Voice(self.said.append, lambda error, title: self.errors.append(f"{title}{error}"), alone)
        return app.sweep(self.root, asked, Sweep(**own), space, voice)


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Told:
    """A sweep in a folder; stacks are taken wherever they can be, whatever the clock says."""
    monkeypatch.setattr(training, "_way", lambda members, shelf, was, say: "stack")
    return Told(tmp_path / "sweep")


def prints(root: Path) -> dict[str, str]:
    """The hash of every file."""
    return {str(path.relative_to(root)): sha256(path.read_bytes()).hexdigest() for path in sorted(root.rglob("*")) if path.is_file()}


# Which jobs are one stack


SAME = [{"seed": 1}, {"optimizer.lr": 0.5}, {"regularization.dropout": 0.3, "regularization.l1": 0.1}, {"trainer.ema": 0.9}]
OTHER = {
    "another width": ({"model": {"kind": "mlp", "hidden": [9]}}, "model.hidden"),
    "another rule": ({"optimizer.kind": "adamw"}, "optimizer"),
    "other rows": ({"data": {"kind": "wine"}}, "data"),
    "another batch": ({"trainer.batch_size": 16}, "trainer.batch_size"),
}


def test_jobs_that_differ_in_numbers_are_one_stack() -> None:
    found = groups({number: request(changes) for number, changes in enumerate([{}, *SAME])})
    assert [group.jobs for group in found] == [(0, 1, 2, 3, 4)]


@pytest.mark.parametrize(("changes", "reason"), OTHER.values(), ids=OTHER)
def test_a_job_of_another_shape_stands_alone_and_says_why(changes: dict[str, Any], reason: str) -> None:
    found = groups({0: request({}), 1: request({"seed": 1}), 2: request(changes)})
    assert [group.jobs for group in found] == [(0, 1), (2,)]
    assert reason in found[1].reason


ALONE = {
    "lbfgs": {"optimizer": {"kind": "lbfgs"}},
    "rprop": {"optimizer": {"kind": "rprop"}},
    "muon": {"optimizer": {"kind": "muon"}},
    "accumulate": {"trainer.accumulate": 2},
    "lr_find": {"lr_find": True},
    "folds": {"data": {"kind": "iris", "folds": 3}},
    "compile": {"compile": True},
}


@pytest.mark.parametrize("changes", ALONE.values(), ids=ALONE)
def test_what_cannot_be_stacked_says_why(changes: dict[str, Any]) -> None:
    assert len(stands_alone(request(changes).config)) > 10


def test_a_plan_names_stacks_and_reasons() -> None:
    asked = [Asked((), request(changes)) for changes in ({}, {"seed": 1}, {"optimizer": {"kind": "lbfgs"}})]
    lines = plan([*asked, Asked((), None, ConfigError("seed must be above, however: -1"))])
    assert lines[0] == "4 jobs: 1 stack, 1 alone"
    assert lines[1] == "stack of 2: jobs 0-1, which differ in seed"
    assert lines[2].startswith("alone: job 2: optimizer=lbfgs")
    assert lines[3] == "fails: job 3: seed must be above, however: -1"


# A stack leaves what its members would leave by themselves


def test_a_stack_leaves_the_folders_of_solo_runs(told: Told, tmp_path: Path) -> None:
    changes = [{"seed": seed, "precision": "float64", "regularization.l2": 0.01 * seed} for seed in range(3)]
    told(changes)
    assert told.said[0] == "3 jobs as one stack: 0-2"
    for number, own in enumerate(changes):
        solo = app.train(request(own, tmp_path / "solo" / str(number)))
        member, alone = RunFolder.open(told.root / str(number)), RunFolder.open(Path(solo.folder))
        assert set(prints(member.path)) == set(prints(alone.path))
        assert member.read_config() == alone.read_config()
        mine, its = member.read_run(), alone.read_run()
        assert mine.keys() - its.keys() == {"stacked"}
        assert mine["metrics"] == pytest.approx(its["metrics"], rel=1e-9)
        assert [row.keys() for row in member.read_metrics()] == [row.keys() for row in alone.read_metrics()]
        one, other = last_state(member.path), last_state(alone.path)
        assert one.keys() == other.keys()
        assert all(torch.allclose(one[name].double(), other[name].double(), rtol=1e-10, atol=1e-12) for name in one)


def test_members_end_at_their_own_time_and_keep_their_best(told: Told, tmp_path: Path) -> None:
    changes = [
        {"seed": 0, "trainer": {**BASE["trainer"], "epochs": 30, "early_stopping": {"patience": patience}}, "optimizer.lr": 0.1}
        for patience in (None, 1, 3)
    ]
    ends = told(changes)
    for own, end in zip(changes, ends, strict=True):
        assert end is not None
        solo = app.train(request(own, tmp_path / f"solo{own['trainer']['early_stopping']['patience']}"))
        assert (end.epochs, end.steps, end.status) == (solo.epochs, solo.steps, solo.status)
        assert end.metrics == pytest.approx(dict(solo.metrics), rel=1e-3, abs=1e-4)
    assert ends[0] is not None
    assert ends[1] is not None
    assert ends[1].epochs < ends[0].epochs == 30


def test_a_member_may_go_on_by_itself_and_says_that_its_bits_are_not_promised(told: Told) -> None:
    ends = told([{"seed": 0}, {"seed": 1}])
    assert ends[1] is not None
    longer = resume(Order(Path(ends[1].folder), {"trainer.epochs": 5}, brief=True))
    assert longer.epochs == 5
    (fact,) = RunFolder.open(Path(ends[1].folder)).read_run()["resumed"]
    assert "stacked is not set, was yes" in fact["why_not"]


# Faults


def test_s1_one_job_fails_and_the_others_run(told: Told, tmp_path: Path) -> None:
    ends = told([{"seed": 0}, {"seed": 1, "optimizer.lr": 3e37}, {"seed": 2}])
    assert [end is None for end in ends] == [False, True, False]
    assert told.errors[0].startswith("job 1: job=1 - training must stay finite")
    assert conclude(told.root) == 1
    assert "diverged" in (told.root / "results.csv").read_text()
    assert (told.root / "1" / "train.log").exists()


def test_s1_a_member_whose_data_do_not_fit_is_no_member(told: Told) -> None:
    changes = [{"seed": 0}, {"seed": 1, "loss": {"kind": "cross_entropy", "class_weights": [1.0, 2.0]}}, {"seed": 2}]
    ends = told([{"loss": {"kind": "cross_entropy"}, **own} for own in changes])
    assert [end is None for end in ends] == [False, True, False]
    assert "class_weights" in told.errors[0]
    assert RunFolder.open(told.root / "1").read_run()["status"] == "failed"


def broken(request: object) -> Summary:
    """Does no job."""
    raise DnnlabError("no luck")


BY_THEMSELVES = {"optimizer": {"kind": "lbfgs"}, "trainer.batch_size": "full"}


def test_s2_the_same_error_in_the_first_jobs_ends_a_sweep(told: Told) -> None:
    changes = [{**BY_THEMSELVES, "seed": seed} for seed in range(8)]
    told.train = broken
    assert told(changes, same_failures=3) == [None] * 8
    assert len(told.errors) == 3
    assert told.said[-1] == "no further job begins: the first 3 jobs have all failed by the same error, sweep.same_failures=3"


def test_s2_so_many_failures_are_enough(told: Told) -> None:
    told.train = broken
    told([{**BY_THEMSELVES, "seed": seed} for seed in range(8)], same_failures=None, max_failures=4)
    assert len(told.errors) == 4


def test_s3_a_sweep_that_is_called_again_does_what_is_left(told: Told) -> None:
    changes = [{"seed": seed} for seed in range(3)]
    told(changes[:2], name="s3", extend=True)
    before = prints(told.root / "0") | prints(told.root / "1")
    ends = told(changes, name="s3", extend=True)
    assert [end is not None and end.status for end in ends] == ["finished"] * 3
    assert told.said[0] == "2 of 3 jobs are over already, 0 go on"
    assert prints(told.root / "0") | prints(told.root / "1") == before


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # what a killed process leaves open
@pytest.mark.parametrize("eta", [None, 2], ids=["whole", "halved"])
@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.7, 0.8, 0.9, 0.97])
def test_s3_s4_a_killed_sweep_goes_on_bit_for_bit(
    told: Told, tmp_path: Path, share: float, eta: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop = "trainer.early_stopping"
    changes = [{"seed": seed, "regularization.dropout": 0.2 * seed, stop: {"patience": 2 - seed % 2}} for seed in range(3)]
    whole = Told(tmp_path / "whole")
    how: dict[str, Any] = {"name": "study", "halving": {"eta": eta, "least": 1}}
    renamed = _renaming(whole, changes, how, 0, monkeypatch)
    assert _renaming(told, changes, how, round(share * renamed), monkeypatch) == round(share * renamed)
    ends = told(changes, **how)
    assert [end is not None and end.status for end in ends].count("finished") == (1 if eta else 3)
    for number in range(3):
        one, other = RunFolder.open(whole.root / str(number)), RunFolder.open(told.root / str(number))
        assert one.read_metrics() == other.read_metrics()
        mine, its = last_state(one.path), last_state(other.path)
        assert all(torch.equal(mine[name], its[name]) for name in mine)
    conclude(whole.root)
    conclude(told.root)
    assert (whole.root / "results.csv").read_bytes() == (told.root / "results.csv").read_bytes()


class _Killed(BaseException):
    """Nobody in the code catches it, so that nothing is tidied up."""


def _renaming(told: Told, changes: Sequence[dict[str, Any]], how: dict[str, Any], moment: int, monkeypatch: pytest.MonkeyPatch) -> int:
    """Lead a sweep up to a certain renaming of a file (0: to its end), and leave it there as a killed process would: -> how many were."""
    count = 0
    replace = Path.replace

    def counted(self: Path, target: Path) -> Path:
        nonlocal count
        count += 1
        if count == moment:
            raise _Killed
        return replace(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", counted)
        patch.setattr("dnnlab.stack.tell_end", lambda folder, error: None)
        with pytest.raises(_Killed) if moment else nullcontext():
            told(changes, **how)
    if moment:
        for lock in told.root.rglob("lock"):  # which the kernel would have let go
            lock.unlink()
    return count


def test_s5_a_damaged_ledger_is_named(told: Told) -> None:
    told([{"seed": 0}], name="s5")
    path = told.root / "sweep.json"
    path.write_bytes(path.read_bytes().replace(b'"space"', b'"spice"'))
    with pytest.raises(DnnlabError, match="must be whole"):
        told([{"seed": 0}], name="s5")


def test_s7_points_are_taken_once_and_counted_before_anything_is_made(told: Told) -> None:
    ends = told([{"seed": 0}, {"seed": 0}, {"seed": 1}], name="s7")
    assert len({end.folder for end in ends if end is not None}) == 2
    assert jobs_of(["seed=1,1,2"]) == [["seed=1"], ["seed=2"]]
    with pytest.raises(ConfigError, match="there is none"):
        jobs_of(["seed=range(0)"])
    with pytest.raises(ConfigError, match="1,000,000,000 jobs"):
        jobs_of(["seed=range(1000000000)"])


def test_s9_another_search_space_is_refused_with_the_difference(told: Told) -> None:
    told([{"seed": 0}], name="s9", space=["seed=0", "data=iris"])
    with pytest.raises(ConfigError, match=r"it had seed=0; now seed=0,1 is asked for"):
        told([{"seed": 0}], name="s9", space=["seed=0,1", "data=iris"])


def test_settings_are_those_of_the_beginning_whatever_the_files_say_later(told: Told) -> None:
    told([{"seed": 0}], name="frozen")
    ends = told([{"seed": 0, "optimizer.lr": 0.5}], name="frozen")  # the same words, and another YAML behind them
    assert ends[0] is not None
    assert RunFolder.open(Path(ends[0].folder)).read_config()["optimizer"]["lr"] == 0.01
    assert not (told.root / "1").exists()


def test_a_failed_job_is_tried_again_as_often_as_asked(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    tries = 0

    def fails(request: object) -> Summary:
        nonlocal tries
        tries += 1
        return broken(request)

    told.train = fails
    monkeypatch.setattr(training, "resume", fails)
    for _ in range(5):
        told([BY_THEMSELVES], name="again", retries=2)
    assert tries == 3
    assert RunFolder.open(told.root / "0").read_run()["failures"] == 3


def test_s10_one_process_at_a_time_leads_a_sweep(told: Told) -> None:
    ledger = Ledger(told.root, ["space"], extend=False)
    try:
        with pytest.raises(BusyError, match="leads this sweep"):
            told([{"seed": 0}], name="s10")
    finally:
        ledger.close()
    assert told([{"seed": 0}], name="s10")[0] is not None


def test_s10_a_job_that_another_process_trains_is_left_to_it(told: Told) -> None:
    told([{"seed": 0}, {"seed": 1}], name="s10")
    for number in (0, 1):
        run = told.root / str(number) / "run.json"
        assert run.exists()
    _unfinish(told.root / "1")
    lock = Lock(told.root / "1")
    lock.take()
    try:
        ends = told([{"seed": 0}, {"seed": 1}], name="s10")
    finally:
        lock.release()
    assert ends[0] is not None
    assert ends[1] is None
    assert "another process trains here" in told.errors[0]


def _unfinish(path: Path) -> None:
    folder = RunFolder.open(path)
    folder.status("running")
    folder.close()


def test_s11_a_full_disk_ends_a_sweep_and_leaves_it_resumable(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = 0
    append = RunFolder.append_metrics

    def full(self: RunFolder, row: Any) -> None:
        nonlocal rows
        rows += 1
        if rows > 5:
            raise FullDiskError("must be writable, however: No space left on device")
        append(self, row)

    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "append_metrics", full)
        with pytest.raises(FullDiskError):
            told([{"seed": 0}, {"seed": 1}], name="s11")
    ends = told([{"seed": 0}, {"seed": 1}], name="s11")
    assert [end is not None and end.status for end in ends] == ["finished"] * 2


@pytest.mark.slow
def test_a_signal_ends_every_member_with_its_state_kept(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    from dnnlab.running import Running

    log = Running.log

    def asked(self: Running, record: Any) -> None:
        log(self, record)
        if record.epoch == 3:
            os.kill(os.getpid(), SIGTERM) if self.request.config.seed == 1 else None

    changes = [{"seed": seed, "trainer.epochs": 50} for seed in range(2)]
    with monkeypatch.context() as patch:
        patch.setattr(Running, "log", asked)
        ends = told(changes, name="signal")
    assert [end is not None and end.exit_code for end in ends] == [143, 143]
    assert [end is not None and end.status for end in told(changes, name="signal")] == ["finished"] * 2


def test_a_job_that_is_refused_as_member_trains_by_itself(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    def way(members: Sequence[Member], shelf: Any, was: Any, say: Any) -> str:
        return "sequence"

    monkeypatch.setattr(training, "_way", way)
    assert all(end is not None for end in told([{"seed": 0}, {"seed": 1}]))
    assert told.alone == [0, 1]


@pytest.mark.slow
def test_processes_do_jobs_and_one_that_dies_is_one_that_fails(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "_way", lambda members, shelf, was, say: "processes")
    monkeypatch.setattr(training, "slots", lambda device: [{}, {}])
    ends = told([{"seed": 0}, {"seed": 1}, {"seed": 2, "optimizer.lr": 3e37}])
    assert [end is not None and end.status for end in ends] == ["finished", "finished", False]
    assert "must stay finite" in told.errors[0]
    assert RunFolder.open(told.root / "1").read_run()["threads"] == 1


# Halving


SIX = (1e-4, 1e-3, 0.3, 0.03, 0.003, 1e-5)
RATES = [{"optimizer.lr": rate, "trainer.epochs": 9} for rate in SIX]


def test_halving_ends_the_worse_jobs_at_their_rungs(told: Told) -> None:
    ends = told(RATES, halving={"eta": 2, "least": 2, "brackets": 1})
    epochs = {number: end.epochs for number, end in enumerate(ends) if end is not None}
    assert sorted(epochs.values()) == [2, 2, 2, 4, 4, 9]  # of six three go on after epoch 2, one after 4; 8 leaves that one
    statuses = {number: RunFolder.open(told.root / str(number)).read_run()["status"] for number in epochs}
    assert sorted(statuses.values()) == ["finished", *["pruned"] * 5]
    (winner,) = (number for number, status in statuses.items() if status == "finished")
    whole = Told(told.root.parent / "whole")
    grid = {number: end.metrics["valid/loss"] for number, end in enumerate(whole(RATES)) if end is not None}
    assert winner in sorted(grid, key=lambda number: grid[number])[:2]
    assert conclude(told.root) == 0


def test_a_pruned_job_is_over_when_a_sweep_goes_on(told: Told) -> None:
    how = {"name": "half", "halving": {"eta": 2, "least": 2, "brackets": 1}}
    first = told(RATES, **how)
    before = prints(told.root)
    again = told(RATES, **how)
    assert [end is not None and (end.status, end.epochs) for end in again] == [
        end is not None and (end.status, end.epochs) for end in first
    ]
    assert prints(told.root) == before


def test_a_pruned_job_may_be_taken_up_again_and_is_what_it_says(told: Told) -> None:
    ends = told(RATES, halving={"eta": 2, "least": 2, "brackets": 1})
    folder = next(end.folder for end in ends if end is not None and end.epochs == 2)
    verdict = verify(Path(folder))
    assert verdict.faults == ()
    assert verdict.figures > 0
    again = resume(Order(Path(folder), brief=True))
    assert (again.status, again.epochs) == ("finished", 9)


def test_hyperbands_brackets_begin_later() -> None:
    plan = Halving(eta=3, least=1, brackets=3, epochs=27)
    assert [plan.rungs(bracket) for bracket in range(3)] == [[1, 3, 9], [3, 9], [9]]
    assert [sum(plan.bracket(number) == bracket for number in range(13)) for bracket in range(3)] == [9, 3, 1]
    assert share_of_steps(plan, 26) < 0.21


# Which jobs a command line asks for


def test_seeds_become_values_of_seed() -> None:
    arguments, swept = spread(parse(["data=iris", "seed=5", "seeds=3"]))
    assert swept
    assert arguments.overrides == ("data=iris", "seed=range(5,8)")
    for wrong in ("seeds=0", "seeds=x", "seeds=-2"):
        with pytest.raises(ConfigError, match="seeds must be a whole number above 0"):
            spread(parse([wrong]))
    with pytest.raises(ConfigError, match="one number as seed"):
        spread(parse(["seed=1,2", "seeds=3"]))
    assert spread(parse(["seeds=null"])) == (parse(["seeds=null"]), False)


def test_a_name_becomes_a_folder() -> None:
    arguments, swept = spread(parse(["sweep.name=study"]))
    assert swept
    assert "hydra.sweep.dir='outputs/sweeps/study'" in arguments.hydra
    with pytest.raises(ConfigError, match="without a slash"):
        spread(parse(["sweep.name=../else"]))


def test_zipped_settings_go_together() -> None:
    words = ["a=1,2", "optimizer.lr=0.1,0.2", "trainer.epochs=5,9", "sweep.zip=[optimizer.lr,trainer.epochs]"]
    found = [[word for word in job if not word.startswith("sweep")] for job in jobs_of(words)]
    assert found == [["a=1", "optimizer.lr=0.1", "trainer.epochs=5"], ["a=1", "optimizer.lr=0.2", "trainer.epochs=9"],
                     ["a=2", "optimizer.lr=0.1", "trainer.epochs=5"], ["a=2", "optimizer.lr=0.2", "trainer.epochs=9"]]  # fmt: skip
    with pytest.raises(ConfigError, match=r"optimizer\.lr has 2, trainer\.epochs has 3"):
        jobs_of(["optimizer.lr=1,2", "trainer.epochs=1,2,3", "sweep.zip=[optimizer.lr,trainer.epochs]"])
    with pytest.raises(ConfigError, match="'b' is not"):
        jobs_of(["a=1,2", "sweep.zip=[b]"])


def test_jobs_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "jobs.csv"
    path.write_text("optimizer.lr, seed\n0.1,0\n0.2,\n", encoding="utf-8")
    assert [job[-2:] for job in jobs_of([f"sweep.jobs={path}"])] == [
        ["optimizer.lr=0.1", "seed=0"], [f"sweep.jobs={path}", "optimizer.lr=0.2"],
    ]  # fmt: skip
    for content in ("", "a,b\n", "a,a\n1,2\n", "a,b\n1\n", "\xff"):
        path.write_bytes(content.encode("latin-1"))
        with pytest.raises(ConfigError):
            jobs_of([f"sweep.jobs={path}"])
    with pytest.raises(ConfigError, match="No such file"):
        jobs_of([f"sweep.jobs={tmp_path}/none.csv"])


def test_an_interval_needs_a_sampler() -> None:
    with pytest.raises(ConfigError, match="optuna"):
        jobs_of(["optimizer.lr=interval(0,1)"])


def test_ranges() -> None:
    assert ranges([3]) == "3"
