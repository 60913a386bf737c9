"""Afterwards: a run folder answers and judges the rows of files, whatever holds them, and says what is wrong with them."""

from __future__ import annotations

import gzip
import io
import json
import random
import shutil
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from polars.testing import assert_frame_equal

from dnnlab import predict
from dnnlab.assembly import assemble
from dnnlab.config.run import RunConfig
from dnnlab.predictor import load
from dnnlab.runfolder import RunFolder
from dnnlab.runfolder.tensorfile import dump
from tests.pages import door
from tests.support import last_state, newest, reseal

QUICK = ("trainer.epochs=2", "threads=1", "logger.tensorboard=false", "logger.progress=false", "model.hidden=[6]", "activation=tanh")
TARGETS = ("label", "sort", "price", "second")
ESCAPE = "\x1b[31m"
RUNS: dict[str, tuple[str, ...]] = {
    "binary": ("data.target=label",),
    "cross_entropy": ("data.target=label", "loss=cross_entropy"),
    "threshold": ("data.target=label", "metrics.threshold=f1"),
    "hinge": ("data.target=label", "loss=hinge"),
    "multiclass": ("data.target=sort", "data.categories=embedding"),
    "regression": ("data.target=price", "trainer.ema=0.9"),
    "log": ("data.target=price", "data.scale_target=log", "data.scale=quantile"),
    "two targets": ("data.target=[price,second]",),
    "autoencoder": ("data.target=label", "model=autoencoder", "model.hidden=[3]"),
    "last": ("data.target=label", "trainer.restore_best=false"),
}


def table(rows: int = 150) -> pl.DataFrame:
    """Numbers, categories, a date and missing cells under names that need care; targets of every sort."""
    draw = random.Random(5)
    x = [draw.gauss(0, 1) for _ in range(rows)]
    colour = [draw.choice(["red", "grün", "=blue"]) for _ in range(rows)]
    return pl.DataFrame(
        {
            "=x": x,
            "a b": [None if draw.random() < 0.1 else draw.uniform(0, 9) for _ in range(rows)],
            "when": pl.Series([f"2024-{draw.randint(1, 12):02d}-{draw.randint(1, 28):02d}" for _ in range(rows)]).str.to_date(),
            "ä": colour,
            'q"uote': [draw.choice(["p", "q,r", None]) for _ in range(rows)],
            "count": [draw.randint(0, 40) for _ in range(rows)],
            "label": ["yes" if a + (c == "red") + draw.gauss(0, 0.5) > 0.3 else "=no" for a, c in zip(x, colour, strict=True)],
            "sort": [draw.choice(["a", "-b", f"{ESCAPE}c"]) for _ in range(rows)],
            "price": [abs(a) * 3 + draw.random() for a in x],
            "second": [a * 2 - draw.random() for a in x],
        }
    )


FRAME = table()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the table, and the runs that `trained` makes."""
    folder = tmp_path_factory.mktemp("home")
    FRAME.write_csv(folder / "rows.csv")
    return folder


@pytest.fixture(autouse=True)
def at_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("DNNLAB_TRUST", "")  # what --trust leaves behind is undone with it


def trained(name: str, *words: str, file: str = "rows.csv", piped: bytes = b"") -> str:
    """The folder of a run, trained where nobody asked for it before."""
    folder = Path(name.replace(" ", "_"))
    if not folder.exists():
        asked = words or RUNS[name]
        (target,) = (word.partition("=")[2].strip("[]").split(",") for word in asked if word.startswith("data.target="))
        others = [f"data.columns.{other}=ignore" for other in TARGETS if other not in target]
        fixed = [f"data.path={file}", *others, "data.columns.when=date"] if file == "rows.csv" else [f"data.path={file}"]
        quick = [word for word in QUICK if not any(word.split("=")[0] == other.split("=")[0] for other in asked)]
        code, said = door(["dnnlab", "train", "data=table" if file != "rows.csv" else "data=csv", *fixed, *quick, *asked,
                           f"hydra.run.dir={folder}"], piped)  # fmt: skip
        assert code == 0, said
    return str(folder)


def metrics_of(run: str) -> dict[str, float]:
    return dict(RunFolder.open(Path(run)).read_run()["metrics"])


def answered(run: str, file: str, *words: str, piped: bytes = b"") -> pl.DataFrame:
    """The answers as a Parquet file has them."""
    output = Path("answers.parquet")
    output.unlink(missing_ok=True)
    code, said = door(["dnnlab", "predict", run, file, "-o", str(output), *words], piped)
    assert code == 0, said
    return pl.read_parquet(output)


def judged(run: str, *words: str) -> dict[str, float]:
    code, said = door(["dnnlab", "evaluate", run, *words, "--json"])
    assert code == 0, said
    return dict(json.loads(said[said.index("{\n") :]))


def refused(*words: str, code: int) -> str:
    """The one line that an error is."""
    left, said = door(["dnnlab", *words])
    assert left == code, said
    assert said.startswith("dnnlab: error["), said
    assert said.count("\n") == 1, said
    assert ESCAPE not in said
    return said


def reordered(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.select(reversed(frame.columns))


# What a run says of itself


@pytest.mark.parametrize("name", RUNS)
def test_a_run_judged_anew_has_its_own_figures(name: str) -> None:
    run = trained(name)
    told, own = judged(run), metrics_of(run)
    assert {figure.split("/")[0] for figure in told} == {"valid", "test"}
    assert told == {figure: pytest.approx(own[figure], rel=1e-6, abs=1e-6) for figure in told}


@pytest.mark.parametrize("name", [name for name in RUNS if name != "autoencoder"])
def test_the_test_rows_as_a_file_have_the_figures_of_the_test(name: str) -> None:
    run = trained(name)
    config = RunConfig.model_validate(RunFolder.open(Path(run)).read_config())
    part = assemble(config).rows.test
    assert part is not None
    FRAME[part.index.numpy()].write_csv("test.csv")
    own = metrics_of(run)
    told = judged(run, "test.csv")
    assert told == {figure: pytest.approx(own[f"test/{figure}"], rel=1e-6, abs=1e-6) for figure in told}


@pytest.mark.parametrize("name", RUNS)
def test_rows_of_a_file_are_scored_as_the_learner_scores_them(name: str) -> None:
    run = trained(name)
    folder = RunFolder.open(Path(run))
    config = RunConfig.model_validate(folder.read_config())
    parts = assemble(config)
    if config.trainer.restore_best:
        parts.learner.load_weights(newest(run).read_best())
    else:
        parts.learner.load(last_state(run), newest(run).document["facts"]["learner"])
    predictor = load(run)
    ((frame, _),) = predict.pieces(predictor, "rows.csv")  # all cells are text
    scores = predictor.scores(frame)
    for part in parts.rows.parts().values():
        torch.testing.assert_close(scores[part.index], parts.learner.scores(part.x), rtol=1e-5, atol=1e-6)


def test_answers_are_what_the_scores_mean() -> None:
    predictor = load(trained("log"))
    scores = predictor.scores(FRAME)
    prices = predictor.predict(FRAME)["prediction"]
    shift, factor = predictor.answer.shift[0], predictor.answer.factor[0]
    assert prices.to_list() == pytest.approx(torch.expm1(scores.double().squeeze(1) * factor + shift).tolist(), rel=1e-6)
    two = load(trained("two targets")).predict(FRAME)
    assert two.columns == ["prediction_price", "prediction_second"]
    restored = load(trained("autoencoder"))
    told = restored.predict(FRAME, proba=True)
    x = restored.encoded(FRAME, str)
    error = (restored.scores(FRAME) - x).square().mean(1)
    assert told["reconstruction_error"].to_list() == pytest.approx(error.tolist(), rel=1e-5)
    assert told.columns[1:] == [f"restored_{name}" for name in restored.encoder.names]


def test_a_restored_row_has_nothing_of_the_targets_scale() -> None:
    run = trained("restoring", "data.target=price", "model=autoencoder", "model.hidden=[3]")
    predictor = load(run)
    assert (predictor.answer.shift, predictor.answer.factor) == ((), ())
    error = (predictor.scores(FRAME) - predictor.encoded(FRAME, str)).square().mean(1)
    assert answered(run, "rows.csv")["reconstruction_error"].to_list() == pytest.approx(error.tolist(), rel=1e-5)
    own = metrics_of(run)
    assert judged(run) == {name: pytest.approx(own[name], rel=1e-5) for name in judged(run)}


def test_the_threshold_that_was_sought_decides() -> None:
    run = trained("threshold")
    threshold = metrics_of(run)["best/threshold"]
    told = answered(run, "rows.csv", "--proba")
    assert told["prediction"].to_list() == ["yes" if p > threshold else "=no" for p in told["probability_yes"]]


@pytest.mark.parametrize("name", ["binary", "cross_entropy", "threshold", "hinge", "multiclass"])
def test_probabilities_of_a_row_sum_to_one(name: str) -> None:
    told = answered(trained(name), "rows.csv", "--proba")
    names = load(trained(name)).classes
    assert told.columns == ["prediction", *(f"probability_{word}" for word in names)]
    assert told.select(pl.sum_horizontal(pl.exclude("prediction")))["probability_" + names[0]].to_list() == pytest.approx(
        [1.0] * len(FRAME)
    )
    if name in ("binary", "cross_entropy", "multiclass"):
        best = [names[max(range(len(names)), key=lambda place: row[place + 1])] for row in told.iter_rows()]
        assert told["prediction"].to_list() == best


# Rows, however they come


def test_rows_stay_in_order_and_d19_columns_may_stand_in_any() -> None:
    run = trained("multiclass")
    told = answered(run, "rows.csv", "--proba")
    assert len(told) == len(FRAME)
    FRAME.reverse().write_csv("turned.csv")
    assert_frame_equal(answered(run, "turned.csv", "--proba"), told.reverse())
    reordered(FRAME).write_csv("other.csv")
    assert_frame_equal(answered(run, "other.csv", "--proba"), told)


def write(frame: pl.DataFrame, name: str) -> None:
    if name.endswith(".parquet"):
        frame.write_parquet(name)
    elif name.endswith(".arrow"):
        frame.write_ipc(name)
    elif name.endswith(".jsonl"):
        frame.with_columns(pl.col(pl.Date).cast(pl.String)).write_ndjson(name)
    elif name.endswith(".gz"):
        Path(name).write_bytes(gzip.compress(frame.write_csv().encode()))
    else:
        frame.write_csv(name)


@pytest.mark.parametrize("name", ["same.csv.gz", "same.parquet", "same.arrow", "same.jsonl"])
@pytest.mark.parametrize("run", ["multiclass", "regression"])
def test_every_form_gives_the_same_answers(run: str, name: str) -> None:
    write(FRAME, name)
    assert_frame_equal(answered(trained(run), name), answered(trained(run), "rows.csv"))
    assert judged(trained(run), name) == pytest.approx(judged(trained(run), "rows.csv"))


@pytest.mark.parametrize(("name", "words"), [("rows.csv", ()), ("in.parquet", ("--format", "parquet"))])
def test_standard_input_gives_the_same_answers(name: str, words: Sequence[str]) -> None:
    expected = answered(trained("binary"), "rows.csv")
    write(FRAME, name)
    assert_frame_equal(answered(trained("binary"), "-", *words, piped=Path(name).read_bytes()), expected)


def test_types_of_the_training_rows_hold_for_text() -> None:
    """Numbers and truth values that a Parquet file had as such are the same categories and classes where a CSV writes them."""
    draw = random.Random(1)
    frame = pl.DataFrame({"n": [draw.gauss(0, 1) for _ in range(60)], "code": [float(draw.randint(1, 3)) for _ in range(60)],
                          "y": [draw.random() < 0.5 for _ in range(60)], "z": [float(draw.randint(1, 2)) for _ in range(60)]})  # fmt: skip
    frame.write_parquet("typed.parquet")
    shouted = pl.col("y").replace_strict({True: "True", False: "FALSE"})
    frame.with_columns(shouted, pl.col("code").cast(pl.Int64)).write_csv("typed.csv")
    for target, task in (("y", "binary"), ("z", "multiclass")):
        run = trained(
            f"typed_{target}", f"data.target={target}", f"data.task={task}", "data.columns.code=categorical", file="typed.parquet"
        )
        for file in ("typed.parquet", "typed.csv"):
            code, said = door(["dnnlab", "predict", run, file, "--strict"])
            assert code == 0, said
        assert judged(run, "typed.csv") == pytest.approx(judged(run, "typed.parquet"))


def test_numbers_are_read_as_the_training_rows_wrote_them() -> None:
    rows = [("1.234,5", "a" if row % 2 else "b", f"{row},5") for row in range(60)]
    Path("comma.csv").write_text("\n".join(["x;c;y", *(";".join(row) for row in rows)]), encoding="utf-8")
    words = ("data.separator='auto'", "data.decimal=','", "data.thousands='.'", "data=csv", "data.target=y")
    run = trained("comma", *words, file="comma.csv")
    told, own = judged(run), metrics_of(run)
    assert told["test/rmse"] == pytest.approx(own["test/rmse"], rel=1e-6)
    assert len(answered(run, "comma.csv")) == 60


# Pieces


@pytest.mark.parametrize("size", [1, 7, 149, 150, 151])
@pytest.mark.parametrize("name", ["rows.csv", "pieces.parquet", "pieces.jsonl"])
def test_pieces_of_any_size_give_the_same_answers(monkeypatch: pytest.MonkeyPatch, size: int, name: str) -> None:
    run = trained("multiclass")
    write(FRAME, name)
    whole = answered(run, name, "--proba", "--keep", "ä")
    monkeypatch.setattr(predict, "PIECE", size)
    assert_frame_equal(answered(run, name, "--proba", "--keep", "ä"), whole, rel_tol=1e-5)
    code, said = door(["dnnlab", "predict", run, name, "-o", "answers.csv"])
    assert code == 0, said
    assert pl.read_csv("answers.csv")["prediction"].str.strip_prefix("'").to_list() == whole["prediction"].to_list()


@pytest.mark.parametrize(("output", "most"), [("flood.csv", 2), ("flood.parquet", 12)])
def test_pieces_are_let_go_as_they_are_answered(monkeypatch: pytest.MonkeyPatch, output: str, most: int) -> None:
    alive: list[weakref.ref[pl.DataFrame]] = []
    counts: list[int] = []

    def flood(*args: Any, **words: Any) -> Iterator[pl.DataFrame]:
        for number in range(200):
            frame = FRAME.with_columns(pl.lit(number).alias("number"))
            alive.append(weakref.ref(frame))
            counts.append(sum(reference() is not None for reference in alive))
            yield frame
            del frame

    monkeypatch.setattr(predict, "stream", flood)
    code, said = door(["dnnlab", "predict", trained("regression"), "rows.csv", "-o", output])
    assert code == 0, said
    assert len(counts) == 200
    assert max(counts) <= most
    assert f"{200 * len(FRAME):,} rows answered" in said


def test_an_output_is_begun_before_the_input_is_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = predict._answers(load(trained("binary")), predict.Order("rows.csv"))
    taken: list[int] = []

    def watched(*args: Any, **words: Any) -> Iterator[pl.DataFrame]:
        for number in range(3):
            taken.append(number)
            yield FRAME

    monkeypatch.setattr(predict, "stream", watched)
    next(answers)
    assert taken == [0]


@pytest.mark.parametrize("output", ["broken.csv", "broken.parquet"])
def test_a_piece_that_fails_leaves_no_file(monkeypatch: pytest.MonkeyPatch, output: str) -> None:
    run = trained("binary")
    _with_cell(FRAME, "=x", 120, "many").write_csv("bad.csv")
    monkeypatch.setattr(predict, "PIECE", 50)
    before = sorted(Path().iterdir())
    told = refused("predict", run, "bad.csv", "-o", output, code=3)
    assert "however: 'many' - bad.csv: row 122, column '=x'" in told
    assert sorted(Path().iterdir()) == before
    Path(output).write_text("mine", encoding="utf-8")
    refused("predict", run, "bad.csv", "-o", output, code=3)
    assert Path(output).read_text(encoding="utf-8") == "mine"
    Path(output).unlink()


def _with_cell(frame: pl.DataFrame, name: str, row: int, text: str | None) -> pl.DataFrame:
    """The same rows with another text in one cell."""
    cells = frame[name].cast(pl.String).to_list()
    cells[row] = text
    return frame.with_columns(pl.Series(name, cells, dtype=pl.String))


# What is wrong with later rows


def test_d19_a_missing_column_is_named() -> None:
    FRAME.rename({"a b": "ab"}).write_csv("less.csv")
    told = refused("predict", trained("binary"), "less.csv", code=3)
    assert "'a b' is missing" in told
    assert "Did you mean ab?" in told
    FRAME.select("label", "=x").write_csv("less.csv")
    assert "'a b', 'when', 'ä', 'q\"uote', 'count' are missing" in refused("predict", trained("binary"), "less.csv", code=3)
    FRAME.drop("count", *TARGETS).write_csv("less.csv")
    assert refused("predict", trained("binary"), "less.csv", code=3).rstrip().endswith("'count' is missing - header")


def test_d19_columns_that_nobody_asked_for_are_told() -> None:
    FRAME.with_columns(pl.lit(1).alias(f"{ESCAPE}new"), pl.lit(2).alias("b")).write_csv("more.csv")
    code, said = door(["dnnlab", "predict", trained("binary"), "more.csv", "-o", "answers.csv"])
    assert code == 0
    assert "warning: columns that the network does not know are ignored (2): '\\x1b[31mnew', 'b'" in said
    assert ESCAPE not in said


def test_d18_categories_that_training_did_not_have_are_counted() -> None:
    run = trained("binary")
    other = _with_cell(_with_cell(FRAME, "ä", 3, f"{ESCAPE}pink"), "ä", 17, "teal")
    other.write_csv("unseen.csv")
    code, said = door(["dnnlab", "predict", run, "unseen.csv", "-o", "answers.csv"])
    assert code == 0
    assert "warning: 2 of 150 cells of 'ä' have a category that the training rows did not have" in said
    told = refused("predict", run, "unseen.csv", "-o", "answers.csv", "--strict", code=3)
    assert "however: '\\x1b[31mpink' (and 1 more) - unseen.csv: row 5, column 'ä'" in told
    assert "row 5" in refused("evaluate", run, "unseen.csv", "--strict", code=3)
    one = load(run)
    alike = one.scores(_with_cell(FRAME, "ä", 3, "teal"))  # every other category is the same one
    assert torch.equal(alike[3], one.scores(other)[3])
    assert not torch.equal(alike[3], one.scores(FRAME)[3])


def test_d11_missing_numbers_get_what_the_training_rows_have() -> None:
    run = trained("binary")
    predictor = load(run)
    place = predictor.encoder.features.index("a b")
    train = assemble(predictor.config).rows.train.index
    assert float(predictor.encoder.fill[place]) == pytest.approx(FRAME["a b"].gather(train.numpy()).median(), rel=1e-12)  # type: ignore[arg-type]
    emptied = FRAME.with_columns(pl.lit(None, pl.Float64).alias("a b"))  # no median of its own
    hole = int(FRAME["a b"].is_null().arg_max() or 0)
    assert torch.equal(predictor.scores(emptied)[hole], predictor.scores(FRAME)[hole])
    _with_cell(FRAME, "=x", 2, "NA").write_csv("hole.csv")
    code, said = door(["dnnlab", "predict", run, "hole.csv", "-o", "answers.csv"])
    assert code == 0
    assert "warning: 1 of 150 cells of '=x' have no number; the training rows' own was put in" in said


def test_d11_a_run_that_refused_holes_refuses_them_later() -> None:
    run = trained("refusing", "data.target=label", "data.impute=refuse", "data.columns.a b=ignore")
    _with_cell(FRAME, "count", 9, None).write_csv("hole.csv")
    assert "hole.csv: row 11, column 'count'" in refused("predict", run, "hole.csv", code=3)


def test_d20_the_target_is_needed_to_judge_only() -> None:
    run = trained("binary")
    FRAME.drop(TARGETS).write_csv("bare.csv")
    assert_frame_equal(answered(run, "bare.csv"), answered(run, "rows.csv"))
    assert "'label' is no column" in refused("evaluate", run, "bare.csv", code=3)
    _with_cell(FRAME, "label", 4, None).write_csv("bare.csv")
    assert "1 have none - bare.csv: row 6, column 'label'" in refused("evaluate", run, "bare.csv", code=3)


def test_a_class_that_the_network_does_not_know_is_named() -> None:
    _with_cell(FRAME, "label", 7, f"{ESCAPE}maybe").write_csv("unknown.csv")
    told = refused("evaluate", trained("binary"), "unknown.csv", code=3)
    assert "however: '\\x1b[31mmaybe' - unknown.csv: row 9, column 'label' - Classes: '=no', 'yes'" in told


def test_an_autoencoder_is_not_judged_by_a_file() -> None:
    assert "an autoencoder has none" in refused("evaluate", trained("autoencoder"), "rows.csv", code=2)


# What is written


def test_csv_and_parquet_hold_the_same_answers() -> None:
    run = trained("regression")
    told = answered(run, "rows.csv", "--keep", "ä", "--keep", "=x", "--keep", "ä")
    code, said = door(["dnnlab", "predict", run, "rows.csv", "-o", "answers.csv", "--keep", "ä", "--keep", "=x", "--raw"])
    assert code == 0, said
    assert told.columns == ["ä", "=x", "prediction"]
    assert_frame_equal(pl.read_csv("answers.csv"), told.with_columns(pl.col("=x").cast(pl.Float64)))
    assert told["ä"].to_list() == FRAME["ä"].to_list()
    assert "150 rows answered: answers.csv" in said


def test_columns_that_are_kept_do_not_hide_answers() -> None:
    FRAME.with_columns(pl.lit("mine").alias("prediction")).write_csv("clash.csv")
    told = answered(trained("binary"), "clash.csv", "--keep", "prediction")
    assert told.columns == ["prediction_2", "prediction"]
    assert told["prediction_2"].unique().to_list() == ["mine"]
    line = refused("predict", trained("binary"), "rows.csv", "--keep", "a  b", code=2)
    assert "Did you mean a b?" in line


def test_u13_formulas_in_names_and_classes_are_disarmed_in_csv_alone() -> None:
    run = trained("binary")
    words = ("--keep", "=x", "--keep", "ä")
    code, said = door(["dnnlab", "predict", run, "rows.csv", "-o", "safe.csv", *words])
    assert code == 0, said
    safe = pl.read_csv("safe.csv", infer_schema=False)
    assert safe.columns == ["'=x", "ä", "prediction"]
    assert set(safe["prediction"]) == {"'=no", "yes"}
    assert set(safe["ä"]) == {"'=blue", "red", "grün"}
    assert safe["'=x"].cast(pl.Float64).to_list() == FRAME["=x"].to_list()  # numbers stay, negative ones, too
    code, said = door(["dnnlab", "predict", run, "rows.csv", "-o", "raw.csv", "--raw", *words])
    raw = pl.read_csv("raw.csv")
    assert raw.columns == ["=x", "ä", "prediction"]
    assert set(raw["prediction"]) == {"=no", "yes"}
    assert set(answered(run, "rows.csv")["prediction"]) == {"=no", "yes"}
    code, screen = door(["dnnlab", "predict", run, "rows.csv"])
    assert "\n'=no\n" in screen
    assert "\n=no\n" not in screen


def test_a_kept_column_of_json_lines_has_one_type_in_parquet(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [json.dumps({**row, "when": str(row["when"]), "mark": number if number < 100 else "x"}) for number, row in
            enumerate(FRAME.iter_rows(named=True))]  # fmt: skip
    pieces = [pl.read_ndjson(io.StringIO("\n".join(part))) for part in (rows[:100], rows[100:])]
    monkeypatch.setattr(predict, "stream", lambda *args, **words: iter(pieces))
    told = refused("predict", trained("binary"), "rows.csv", "-o", "mixed.parquet", "--keep", "mark", code=3)
    assert "one type, however: Int64 and String - column 'mark'" in told
    code, said = door(["dnnlab", "predict", trained("binary"), "rows.csv", "-o", "mixed.csv", "--keep", "mark"])
    assert code == 0, said


@pytest.mark.parametrize("file", ["own.csv", "./own.csv", "own*.csv", "link.csv"])
def test_the_input_is_never_overwritten(file: str) -> None:
    FRAME.write_csv("own.csv")
    if not Path("link.csv").exists():
        Path("link.csv").symlink_to("own.csv")
    before = Path("own.csv").read_bytes()
    assert "another file than the rows'" in refused("predict", trained("binary"), file, "-o", "own.csv", code=2)
    assert Path("own.csv").read_bytes() == before


def test_outputs_that_cannot_be() -> None:
    run = trained("binary")
    assert "ends in .csv or .parquet" in refused("predict", run, "rows.csv", "-o", "answers.xlsx", code=2)
    assert refused("predict", run, "rows.csv", "-o", "nowhere/answers.csv", code=5).rstrip().endswith("Try another -o")
    Path("there.csv").write_text("x", encoding="utf-8")
    refused("predict", run, "none.csv", "-o", "there.csv", code=3)
    refused("predict", run, "none*.csv", "-o", "there.csv", code=3)
    assert "Did you mean jsonl?" in refused("predict", run, "rows.csv", "--format", "json", code=2)


def test_u15_escape_codes_never_reach_the_terminal_raw() -> None:
    evil = f"{ESCAPE}evil\u202e"
    FRAME.rename({"count": evil}).write_csv("evil.csv")
    words = ["data.path=evil.csv", "data.columns.when=date", *QUICK]
    ignored = [f"data.columns.{name}=ignore" for name in TARGETS[2:]]
    code, said = door(["dnnlab", "check", "data=csv", *words, *ignored, "data.target=sort"])
    assert (code, "\x1b" in said, "\u202e" in said) == (0, False, False), said
    assert "\\x1b[31mevil\\u202e" in said
    code, said = door(["dnnlab", "train", "data=csv", *words, *ignored, "data.target=sort", "hydra.run.dir=evil"])
    assert (code, "\x1b" in said) == (0, False), said
    code, said = door(["dnnlab", "predict", "evil", "evil.csv", "-o", "answers.csv"])
    assert (code, "\x1b" in said) == (0, False), said
    assert "\\x1b[31mevil" in refused("predict", "evil", "rows.csv", code=3)
    assert "\\x1b[31mevil" in refused("predict", "evil", "rows.csv", "--keep", evil, code=2)
    told = refused("predict", trained("binary"), "evil.csv", code=3)
    assert "'count' is missing" in told
    assert "\\x1b[31mevil\\u202e" in told.partition("Choose one of: ")[2]
    _with_cell(FRAME.rename({"count": evil}), evil, 0, f"{ESCAPE}!").write_csv(f"{ESCAPE}.csv")
    told = refused("predict", "evil", f"{ESCAPE}.csv", code=3)
    assert "\\x1b[31m!" in told
    assert "\\x1b[31m.csv: row 2" in told


def test_u15_answers_on_a_terminal_are_printable_and_in_a_pipe_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    predictor = load(trained("multiclass"))
    for screen, raw in ((Terminal(), False), (io.StringIO(), True)):
        monkeypatch.setattr("sys.stdout", screen)
        predict.predict_file(predictor, predict.Order("rows.csv", proba=True))
        lines = screen.getvalue().splitlines()
        assert len(lines) == 151
        assert (ESCAPE in screen.getvalue()) == raw
        assert (f"probability_{ESCAPE}c" in lines[0]) == raw
        assert ("probability_\\x1b[31mc" in lines[0]) != raw


# Folders that are damaged, or that hold no answer


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of a run to do things to."""
    return Path(shutil.copytree(trained("binary"), tmp_path / "copy"))


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


@pytest.mark.parametrize("name", ["best.safetensors", "checkpoint.json", "../encoder.safetensors", "../encoder.json"])
def test_t17_a_damaged_checkpoint_is_named(copy: Path, name: str) -> None:
    path = (newest(copy).folder / name).resolve()
    _flip(path)
    for verb in ("predict", "evaluate"):
        assert f"{path.parent.name}/{path.name}" in refused(verb, str(copy), "rows.csv", code=6)
    path.write_bytes(path.read_bytes()[:-7])
    assert f"{path.parent.name}/{path.name}" in refused("predict", str(copy), "rows.csv", code=6)


@pytest.mark.parametrize("name", ["schema.json", "config.json"])
@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"columns": 3}', '{"columns": [{"name": "x"}]}', "\x00"])
def test_a_damaged_description_is_named(copy: Path, name: str, content: str) -> None:
    (copy / name).write_text(content, encoding="utf-8")
    assert name in refused("predict", str(copy), "rows.csv", code=6)


def _changed(path: Path, *keys: Any, value: Any) -> None:
    """Set one value of a JSON file."""
    document = json.loads(path.read_text(encoding="utf-8"))
    node = document
    for key in keys[:-1]:
        node = node[key]
    node[keys[-1]] = value
    path.write_text(json.dumps(document), encoding="utf-8")
    reseal(path.parent)


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (("answer",), None),
        (("answer", "task"), "poetry"),
        (("answer", "link"), "os.system"),
        (("answer", "outputs"), "many"),
        (("answer", "outputs"), 2),
        (("answer", "shift"), ["x"]),
        (("answer", "shift"), [1.0, 2.0]),
        (("classes",), ["one"]),
        (("classes",), "ab"),
        (("columns",), []),
        (("columns", 0, "name"), "y"),
        (("columns", 0, "role"), "ignore"),
        (("columns", 0, "role"), "poet"),
        (("columns", 0, "more"), 3),
        (("columns", 3, "role"), "numeric"),
    ],
)
def test_t19_a_schema_that_does_not_fit_its_network_is_refused(copy: Path, keys: tuple[Any, ...], value: Any) -> None:
    _changed(copy / "schema.json", *keys, value=value)
    assert "schema.json" in refused("predict", str(copy), "rows.csv", code=6)


def test_t18_weights_of_another_network_are_refused(copy: Path) -> None:
    _changed(copy / "config.json", "model", "hidden", value=[7])
    assert "must have the shape (7, " in refused("predict", str(copy), "rows.csv", code=6)
    _changed(copy / "config.json", "model", "hidden", value=[6, 6])
    assert "none in the checkpoint" in refused("predict", str(copy), "rows.csv", code=6)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_u09_weights_that_are_not_finite_are_refused(copy: Path, value: float) -> None:
    made = newest(copy)
    tensors = made.read_best()
    name = sorted(tensors)[0]
    tensors[name].view(-1)[0] = value
    (made.folder / "best.safetensors").write_bytes(dump(tensors))
    reseal(copy)
    assert f"{name} must be finite" in refused("predict", str(copy), "rows.csv", code=6)
    tensors, _ = RunFolder.open(copy).read_encoder()
    tensors["fill"][0] = value
    (copy / "checkpoints" / "encoder.safetensors").write_bytes(dump(tensors))
    reseal(copy)
    assert "encoder" in refused("predict", str(copy), "rows.csv", code=6)


def test_t17_a_damaged_checkpoint_is_passed_over_when_asked(tmp_path: Path) -> None:
    copy = Path(shutil.copytree(trained("two checkpoints", *RUNS["binary"], "trainer.checkpoint_every=1epoch"), tmp_path / "copy"))
    _flip(newest(copy).folder / "best.safetensors")
    refused("predict", str(copy), "rows.csv", code=6)
    code, said = door(["dnnlab", "predict", str(copy), "rows.csv", "--fallback", "-o", "answers.csv"])
    assert code == 0, said
    assert "dnnlab: warning: a damaged checkpoint was passed over: " in said
    code, said = door(["dnnlab", "evaluate", str(copy), "rows.csv", "--fallback"])
    assert (code, "was passed over" in said) == (0, True)


def test_a_run_without_a_trained_state_says_so(copy: Path, tmp_path: Path) -> None:
    for made in RunFolder.open(copy).generations():
        shutil.rmtree(made.folder)
    assert "must hold the checkpoint that run.json tells of" in refused("predict", str(copy), "rows.csv", code=6)
    _changed(copy / "run.json", "checkpoint", value=None)
    assert "must have a trained state" in refused("predict", str(copy), "rows.csv", code=6)
    assert "must be the folder of a run" in refused("predict", str(tmp_path), "rows.csv", code=6)


def test_an_interrupted_run_answers_with_what_it_has(copy: Path) -> None:
    _changed(copy / "run.json", "status", value="interrupted")
    _changed(copy / "run.json", "metrics", value={})
    assert_frame_equal(answered(str(copy), "rows.csv"), answered(trained("binary"), "rows.csv"))


NET = """
from torch import nn
class Net(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)
    def forward(self, x):
        return self.linear(x)
"""


def test_a_model_of_the_users_own_needs_trust(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_net_of_mine.py").write_text(NET, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    words = ("data.target=label", "model=custom", "model.target=own_net_of_mine.Net", "--trust", "own_net_of_mine")
    quick = [word for word in QUICK if not word.startswith("model.hidden")]
    others = [f"data.columns.{name}=ignore" for name in TARGETS[1:]]
    code, said = door(["dnnlab", "train", "data=csv", "data.path=rows.csv", "data.columns.when=date", *others, *words, *quick,
                       "hydra.run.dir=custom"])  # fmt: skip
    assert code == 0, said
    monkeypatch.setenv("DNNLAB_TRUST", "")  # what --trust leaves behind is undone with it
    for verb in ("predict", "evaluate"):
        assert "own_net_of_mine" in refused(verb, "custom", "rows.csv", code=7)
    assert len(answered("custom", "rows.csv", "--trust", "own_net_of_mine")) == 150
    assert judged("custom", "--trust", "own_net_of_mine")["test/accuracy"] == pytest.approx(metrics_of("custom")["test/accuracy"])


# The data of a run


def test_d27_data_that_changed_is_told_with_both_hashes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = str(Path(trained("binary")).absolute())
    monkeypatch.chdir(tmp_path)
    changed = _with_cell(FRAME, "ä", 0, "pink").head(140)  # a category more, and rows less
    changed.write_csv("rows.csv")
    was = RunFolder.open(Path(run)).read_run()["data"][0]["sha256"]
    told = refused("evaluate", run, code=3)
    assert f"was {was[:16]}…" in told
    assert "is " in told
    assert "rows.csv - Bring the old file back, or allow it: --allow-data-change" in told
    code, said = door(["dnnlab", "evaluate", run, "--allow-data-change", "--json"])
    assert code == 0, said
    assert "test/accuracy" in said
    changed.drop("ä").write_csv("rows.csv")
    assert "SHA-256 is" in refused("evaluate", run, code=3)
    assert "'ä' is missing" in refused("evaluate", run, "--allow-data-change", code=3)


def test_d27_a_file_more_or_less_is_a_change_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "parts").mkdir()
    for number in range(3):
        FRAME[number * 50 : number * 50 + 50].write_csv(f"parts/{number}.csv")
    run = trained("parts_run", "data.target=label", "data.path=parts/*.csv")
    judged(run)
    shutil.copy("parts/0.csv", "parts/3.csv")
    assert "was none (there was no such file) - parts/3.csv" in refused("evaluate", run, code=3)
    Path("parts/3.csv").unlink()
    Path("parts/2.csv").unlink()
    assert "is none (there is no such file) and was" in refused("evaluate", run, code=3)


def test_d28_what_happens_to_a_file_later_has_no_effect(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from hashlib import sha256

    import dnnlab.running as story

    monkeypatch.chdir(tmp_path)
    FRAME.write_csv("rows.csv")
    before = sha256(Path("rows.csv").read_bytes()).hexdigest()
    keep = story.keep_description

    def meanwhile(*args: Any) -> None:
        Path("rows.csv").write_text("gone\n1\n", encoding="utf-8")
        keep(*args)

    monkeypatch.setattr(story, "keep_description", meanwhile)
    run = trained("meanwhile", "data.target=label")
    (fact,) = RunFolder.open(Path(run)).read_run()["data"]
    assert (fact["path"], fact["sha256"], fact["rows"]) == ("rows.csv", before, 150)
    FRAME.write_csv("again.csv")
    assert judged(run, "again.csv")["accuracy"] > 0


def test_rows_that_were_piped_in_are_not_there_any_more() -> None:
    run = trained("piped", "data.target=label", "data.path='-'", piped=Path("rows.csv").read_bytes())
    assert "those of this run were piped in" in refused("evaluate", run, code=2)


def test_rows_that_were_in_memory_are_not_there_any_more(tmp_path: Path) -> None:
    """A table that Python held is not kept with the run."""
    from dnnlab import api

    run = api.train(FRAME.drop(TARGETS[1:]), *QUICK, target="label", folder=tmp_path / "memory").folder
    assert "were in memory only" in refused("evaluate", str(run), code=2)
    assert judged(str(run), "rows.csv")["accuracy"] > 0


def test_data_that_is_no_table_is_judged_and_answered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, said = door(["dnnlab", "train", "data=iris", *QUICK, "hydra.run.dir=iris"])
    assert code == 0, said
    own = metrics_of("iris")
    told = judged("iris")
    assert told == {figure: pytest.approx(own[figure], abs=1e-6) for figure in told}
    predictor = load("iris")
    names = [column.name for column in predictor.schema.inputs]
    pl.DataFrame({name: [5.0, 6.0] for name in names}).write_csv("flowers.csv")
    assert len(answered("iris", "flowers.csv")) == 2
