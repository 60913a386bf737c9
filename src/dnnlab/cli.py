"""The shell's door: `dnnlab train` (and train.py) and the other verbs. One line on stderr for an error, and an exit code."""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from errno import EPIPE
from pathlib import Path
from signal import SIG_IGN, Signals, getsignal, signal
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from dnnlab import __version__
from dnnlab.door.voice import tell
from dnnlab.errors import ConfigError, DnnlabError, SweepError, did_you_mean, shown

if TYPE_CHECKING:
    from dnnlab.door.answers import Opening

VERBS = ("train", "resume", "check", "predict", "evaluate", "verify", "sweep", "compare", "ensemble", "explain", "schema")
INTERRUPTED = 130


def train() -> None:
    """What train.py does: read the command line, run, and leave with an exit code."""
    _leave_when_asked()
    sys.exit(guarded(lambda: run(sys.argv[1:]), debug="--debug" in sys.argv))


def main() -> None:
    """The console script `dnnlab`."""
    _leave_when_asked()
    words = sys.argv[1:]
    completing = "-sc" in words or "--shell-completion" in words
    work = (lambda: complete(words)) if completing else (lambda: run(words[1:])) if words[:1] == ["train"] else (lambda: _verb(words))
    sys.exit(guarded(work, debug="--debug" in words))


def _leave_when_asked() -> None:
    """SIGTERM, and SIGHUP where nobody ignores it, end the process with their exit codes; in training the state is kept first."""
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(Signals, name, None)  # not every system has both
        if number is not None and getsignal(number) is not SIG_IGN:
            signal(number, _leave)


def _leave(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)


def guarded(work: Callable[[], int], *, debug: bool = False) -> int:
    """Do some work of the door and tell its errors; -> the exit code. A traceback stands only for a fault of our own, or in debugging."""
    try:
        code = work()
        if sys.stdout is not None:
            sys.stdout.flush()
        return code
    except DnnlabError as error:
        if debug:
            traceback.print_exc()
        tell(error)
        return error.exit_code
    except KeyboardInterrupt:
        print("dnnlab: interrupted", file=sys.stderr)
        return INTERRUPTED
    except OSError as error:
        from dnnlab.files import RAN_OUT, refusal, silence

        if error.errno == EPIPE:  # the reader of our output has left: `dnnlab schema | head`
            silence()
            return 0
        if debug or error.errno not in RAN_OUT:
            traceback.print_exc()
        if error.errno not in RAN_OUT:
            return 1
        silence()
        fault = refusal(error, str(error.filename or "standard output"))
        tell(fault)
        return fault.exit_code
    except Exception:
        traceback.print_exc()
        return 1


def run(words: Sequence[str], *, planning: bool = False) -> int:
    """One run or a sweep, as the words of a command line ask; -> the exit code. planning: only say how a sweep would be done."""
    from dnnlab.door.arguments import parse

    arguments = parse(words)
    if arguments.option("--version") is not None:
        print(f"dnnlab {__version__}")
        return 0
    from dnnlab.door.compose import launch
    from dnnlab.door.jobs import Session
    from dnnlab.door.presets import sweeps
    from dnnlab.door.space import spread

    arguments, swept = spread(arguments)
    session = Session(arguments, planning=planning)
    mode = ["--multirun"] if sweeps(arguments, asked=swept) else []
    with _seen_by_hydra([sys.argv[0], *arguments.hydra, *mode], arguments.trusted):
        try:
            launch(session)
        except DnnlabError:
            if arguments.completes:  # a shell waits for words, not for our errors
                return ConfigError.exit_code
            raise
        except SystemExit as left:  # Hydra's way to say that it cannot show what was asked for
            return ConfigError.exit_code if left.code == 1 else int(left.code or 0)
        finally:
            failed = _conclude(session.sweep) if session.sweep is not None and session.jobs and not planning else 0
    if session.ensemble and session.sweep is not None:
        from dnnlab.door.ensembling import at_the_end

        at_the_end(session.sweep, arguments.trusted)
    if failed:
        fix = f"Look into {session.sweep}/results.csv and the run folders beside it"
        raise SweepError(
            f"every job of a sweep must end well, however: {failed} of {session.jobs} failed", where=str(session.sweep), fix=fix
        )
    return session.summary.exit_code if session.summary is not None else 0


def _conclude(sweep: Path) -> int:
    from dnnlab.door.comparing import repeated
    from dnnlab.sweeptable import conclude

    failed = conclude(sweep)
    repeated(sweep)
    return failed


@contextmanager
def _seen_by_hydra(words: list[str], trusted: frozenset[str]) -> Iterator[None]:
    """Within, the command line and the line that a shell wants completed hold nothing that Hydra does not know."""
    before, line = sys.argv, os.environ.get("COMP_LINE")
    sys.argv = words
    if trusted:
        os.environ["DNNLAB_TRUST"] = ",".join(sorted(trusted))  # the processes of a launcher inherit it
    if line is not None:
        os.environ["COMP_LINE"] = _without_our_own(line)
    try:
        yield
    finally:
        sys.argv = before
        if line is not None:
            os.environ["COMP_LINE"] = line


def _without_our_own(line: str) -> str:
    """A command line without the words that are ours alone; a blank at its end counts.

    >>> _without_our_own("dnnlab train --trust mine opt"), _without_our_own("python train.py --debug ")
    ('dnnlab opt', 'python train.py ')
    """
    words, kept = line.split(), []
    for place, word in enumerate(words):
        ours = word in ("--debug", "--resume-if-exists") or word.startswith("--trust") or words[place - 1 : place] == ["--trust"]
        if not ours and not (place == 1 and word == "train"):
            kept.append(word)
    return " ".join(kept) + (" " if line.endswith(" ") else "")


def complete(words: Sequence[str]) -> int:
    """Completion of `dnnlab …`: Hydra's for `train`, our own for the other verbs."""
    line = os.environ.get("COMP_LINE", "").split()
    if not any(word.startswith("query=") for word in words) or line[1:2] == ["train"]:
        return run([word for word in words if word != "train"])
    if line[1:2] == ["explain"]:
        from dnnlab.config.schema import all_keys

        print(" ".join(all_keys()))
    else:
        print(" ".join(VERBS))
    return 0


shell = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True, help="A laboratory for feedforward networks.")


@shell.callback(invoke_without_command=True)
def _top(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        print(f"dnnlab {__version__}")


@shell.command("train", add_help_option=False, context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def _train(context: typer.Context) -> None:
    """Train a network, or sweep over many."""
    raise typer.Exit(run(context.args))


@shell.command("check", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def _check(context: typer.Context) -> None:
    """Look for everything that would go wrong, and train nothing.

    `dnnlab check data=csv data.path=FILE data.target=COLUMN …`: the words of `dnnlab train`. Exit code 0, also with warnings.
    """
    from dnnlab.door.arguments import parse
    from dnnlab.door.checks import checked

    checked(parse(context.args))


Run = Annotated[Path, typer.Argument(help="The folder of a run.")]
Trust = Annotated[list[str] | None, typer.Option("--trust", help="Package that a model of kind=custom may come from.")]
Strict = Annotated[bool, typer.Option("--strict", help="A category that the training rows did not have is an error.")]
Form = Annotated[str, typer.Option("--format", help="auto (by the suffix), csv, parquet, arrow or jsonl.")]
Fallback = Annotated[bool, typer.Option("--fallback", help="Where the last checkpoint is damaged, take the one before.")]
Env = Annotated[list[str] | None, typer.Option("--env", help="Variable of the environment that the run's settings may read.")]


@shell.command("resume", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def _resume(
    context: typer.Context,
    run: Run,
    override: Annotated[bool, typer.Option("--override", help="Other settings begin a child run, from the state of this one.")] = False,
    require_exact: Annotated[bool, typer.Option("--require-exact", help="Refuse where the bits cannot be promised.")] = False,
    fallback: Fallback = False,
    allow_data_change: Annotated[bool, typer.Option("--allow-data-change", help="Go on even if the run's data are others by now.")] = False,
    env: Env = None,
    trust: Trust = None,
) -> None:
    """Go on with a run that was stopped, bit for bit.

    `dnnlab resume RUN [trainer.epochs=200 …]`: only how long may change; with --override other settings make a child run.
    """
    from dnnlab.door.resuming import Wishes, resumed

    wishes = Wishes(override, require_exact, fallback, allow_data_change, frozenset(trust or ()), tuple(env or ()))
    raise typer.Exit(resumed(run, context.args, wishes).exit_code)


@shell.command("predict")
def _predict(
    run: Run,
    file: Annotated[str, typer.Argument(help="Rows: CSV, Parquet, Arrow or JSON lines; - is standard input.")],
    output: Annotated[Path | None, typer.Option("-o", "--output", help="answers.csv or answers.parquet; none: CSV on the screen.")] = None,
    proba: Annotated[bool, typer.Option("--proba", help="The probability of every class, too.")] = False,
    keep: Annotated[list[str] | None, typer.Option("--keep", help="Column of the file to stand before the answers.")] = None,
    strict: Strict = False,
    raw: Annotated[bool, typer.Option("--raw", help="Leave text in CSV as it is, formulas of spreadsheets, too.")] = False,
    form: Form = "auto",
    fallback: Fallback = False,
    env: Env = None,
    trust: Trust = None,
) -> None:
    """Answer the rows of a file, in their order."""
    from dnnlab.door.answers import predicted

    opening = _opening(trust, env, fallback=fallback)
    predicted(run, file, output=output, proba=proba, keep=tuple(keep or ()), strict=strict, raw=raw, form=form, opening=opening)


def _opening(trust: list[str] | None, env: list[str] | None, *, fallback: bool) -> Opening:
    from dnnlab.door.answers import Opening

    return Opening(frozenset(trust or ()), fallback, tuple(env or ()))


@shell.command("evaluate")
def _evaluate(
    run: Run,
    file: Annotated[str, typer.Argument(help="Rows with their target; none: the run's own validation and test rows, read anew.")] = "",
    strict: Strict = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
    allow_data_change: Annotated[
        bool, typer.Option("--allow-data-change", help="Judge even if the run's files are others by now.")
    ] = False,
    form: Form = "auto",
    fallback: Fallback = False,
    env: Env = None,
    trust: Trust = None,
) -> None:
    """Tell how good a trained network is on the rows of a file."""
    from dnnlab.door.answers import evaluated

    opening = _opening(trust, env, fallback=fallback)
    evaluated(run, file, strict=strict, as_json=as_json, allow_change=allow_data_change, form=form, opening=opening)


@shell.command("verify")
def _verify(
    run: Run,
    files_only: Annotated[bool, typer.Option("--files-only", help="Look at the files, and measure nothing.")] = False,
    fallback: Fallback = False,
    digest: Annotated[str, typer.Option("--digest", help="What the folder's digest must be, as you were told by another way.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print the verdict as JSON.")] = False,
    env: Env = None,
    trust: Trust = None,
) -> None:
    """Look whether a run folder is what it says: every hash, every file, every figure."""
    from dnnlab.door.verifying import verified

    opening = _opening(trust, env, fallback=fallback)
    verified(run, files_only=files_only, digest=digest, as_json=as_json, opening=opening)


@shell.command("ensemble")
def _ensemble(
    runs: Annotated[list[Path], typer.Argument(help="Folders of finished runs, and of sweeps.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="A new folder, which predict, evaluate and verify take like a run.")],
    greedy: Annotated[bool, typer.Option("--greedy", help="Choose members and weights on the validation rows.")] = False,
    env: Env = None,
    trust: Trust = None,
) -> None:
    """Let several finished runs answer as one: the mean of their probabilities or numbers."""
    from dnnlab.door.ensembling import ensembled

    ensembled(runs, output, greedy=greedy, trusted=frozenset(trust or ()), env=tuple(env or ()))


sweeps_shell = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True, help="Sweeps as a whole.")
shell.add_typer(sweeps_shell, name="sweep")


@sweeps_shell.command("plan", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def _plan(context: typer.Context) -> None:
    """Say which jobs of a sweep would train as one stack, and why the others stand alone; the words are those of `dnnlab train -m`."""
    from tempfile import TemporaryDirectory

    words = [word for word in context.args if not word.startswith("sweep.name=")]
    with TemporaryDirectory() as folder:
        mode = [] if {"-m", "--multirun"} & set(words) else ["-m"]
        raise typer.Exit(run([*mode, *words, f"hydra.sweep.dir='{folder}'"], planning=True))


@shell.command("compare")
def _compare(
    paths: Annotated[list[Path], typer.Argument(help="Folders of sweeps, and of runs.")],
    by: Annotated[list[str] | None, typer.Option("--by", help="Only this setting (repeatable); none: all that differ.")] = None,
    metric: Annotated[str, typer.Option("--metric", help="The metric that judges, such as test/accuracy.")] = "",
    bootstrap: Annotated[bool, typer.Option("--bootstrap", help="Intervals by the bootstrap instead of Student's t.")] = False,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Write Markdown, CSV, LaTeX, HTML and pictures here.")] = None,
) -> None:
    """Set runs beside each other: mean ± 95 % interval over the seeds, and what ties with the best."""
    from dnnlab.door.comparing import compared

    compared(paths, by=tuple(by or ()), metric=metric, bootstrap=bootstrap, output=output)


@shell.command("explain", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def _explain(
    context: typer.Context, key: Annotated[str, typer.Argument(help="A setting (optimizer.lr) or a group (optimizer); none: all.")] = ""
) -> None:
    """Say what a setting means, and who set it.

    `dnnlab explain KEY [OVERRIDES…]`: its meaning, what it may be, its default, its value, and the file or override that set it.
    """
    from dnnlab.door.arguments import parse
    from dnnlab.door.explain import explain

    words = context.args
    if "=" in key or key.startswith("-"):
        key, words = "", [key, *words]
    print(explain(key, parse(words)))


@shell.command("schema")
def _schema(
    group: Annotated[str, typer.Argument(help="Only the files of this group.")] = "",
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Write to this file.")] = None,
) -> None:
    """Print the JSON Schema, for editors."""
    from dnnlab.config.schema import group_schema, groups, json_schema

    if group and group not in groups():
        raise ConfigError(f"schema takes a group, however: {group!r} is none", where="command line", fix=did_you_mean(group, groups()))
    text = json.dumps(group_schema(group) if group else json_schema(), indent=2, ensure_ascii=False)
    if output is None:
        print(text)
    else:
        output.write_text(text + "\n", encoding="utf-8")


def _verb(words: Sequence[str]) -> int:
    """Everything but `train`: typer reads the words, and its complaints become ours."""
    try:
        code = shell([word for word in words if word != "--debug"], prog_name="dnnlab", standalone_mode=False)
    except Exception as error:
        said = getattr(error, "format_message", None)  # typer's complaints about a command line
        if said is None:
            raise
        if type(error).__name__ == "NoArgsIsHelpError":
            print(said())
            return 0
        first = next((word for word in words if not word.startswith("-")), "")
        fix = "Try dnnlab --help" if first in VERBS or not first else did_you_mean(first, VERBS)
        fact = said() if first in VERBS or not first else shown(first)
        raise ConfigError(f"a command must be one that dnnlab knows, however: {fact}", where="command line", fix=fix) from error
    return code if isinstance(code, int) else 0
