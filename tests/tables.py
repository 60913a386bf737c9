"""Small stand-ins for the tables, pictures and arrays that pages and presets name: the same files and columns, random rows."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.random import Generator, default_rng
from PIL import Image

from dnnlab.tables.openml import OpenMl

WORKCLASS = ["Private", "State-gov", "Self-emp-not-inc", "Local-gov", "?"]
DEGREES = ["HS-grad", "Some-college", "Bachelors", "Masters", "Doctorate"]
MARITAL = ["Married-civ-spouse", "Never-married", "Divorced", "Widowed"]
JOBS = ["Craft-repair", "Exec-managerial", "Sales", "Other-service", "?"]


def adult(rows: int = 600, seed: int = 0) -> pl.DataFrame:
    """People of a census, as adult.csv has them."""
    draw = default_rng(seed)
    degree = draw.integers(0, len(DEGREES), rows)
    age, hours, married = draw.integers(17, 80, rows), draw.integers(10, 70, rows), draw.integers(0, len(MARITAL), rows)
    score = 0.5 * degree + 0.02 * age + 0.03 * hours + 1.2 * (married == 0) + draw.normal(0, 0.7, rows)
    return pl.DataFrame(
        {
            "age": age,
            "workclass": _words(draw, WORKCLASS, rows),
            "fnlwgt": draw.integers(20_000, 500_000, rows),
            "education": [DEGREES[place] for place in degree],
            "education_num": 9 + degree,
            "marital_status": [MARITAL[place] for place in married],
            "occupation": _words(draw, JOBS, rows),
            "relationship": _words(draw, ["Husband", "Wife", "Own-child", "Unmarried"], rows),
            "race": _words(draw, ["White", "Black", "Other"], rows),
            "sex": _words(draw, ["Male", "Female"], rows),
            "capital_gain": draw.integers(0, 2, rows) * draw.integers(100, 20_000, rows),
            "capital_loss": draw.integers(0, 2, rows) * draw.integers(100, 3_000, rows),
            "hours_per_week": hours,
            "native_country": _words(draw, ["United-States", "Mexico", "Germany", "?"], rows),
            "income": np.where(score > np.quantile(score, 0.75), ">50K", "<=50K"),
        }
    )


def houses(rows: int, seed: int) -> pl.DataFrame:
    """Houses that were sold; some have no garden, and the file knows which column holds dates."""
    draw = default_rng(seed)
    size, built = draw.uniform(40, 300, rows).round(1), draw.integers(1900, 2020, rows)
    garden = np.where(draw.random(rows) < 0.2, np.nan, draw.uniform(50, 900, rows).round())
    days = draw.integers(0, 1500, rows)
    price = 2000 * size + 500 * (built - 1900) + 100 * np.nan_to_num(garden) + draw.normal(0, 10_000, rows)
    return pl.DataFrame(
        {
            "size": size,
            "built": built,
            "garden": pl.Series(garden, nan_to_null=True),
            "district": _words(draw, ["North", "South", "East", "West"], rows),
            "sold": pl.Series(np.datetime64("2019-01-01") + days).cast(pl.Date),
            "price": price.round(),
        }
    )


def orders(rows: int = 300, seed: int = 3) -> str:
    """Orders of customers, as a European spreadsheet writes them: semicolons, decimal commas, points between thousands."""
    draw = default_rng(seed)
    lines = ["order;customer;when;zip;amount;returned"]
    for number in range(rows):
        customer, amount = draw.integers(0, 40), draw.uniform(5, 3000)
        written = f"{amount:,.2f}".translate(str.maketrans(",.", ".,"))
        day = np.datetime64("2025-01-01") + np.timedelta64(int(draw.integers(0, 300)), "D")
        returned = "yes" if amount + draw.normal(0, 500) > 2000 else "no"
        lines.append(f"A{number:05d};C{customer:03d};{day};{draw.integers(1, 100) * 101:05d};{written};{returned}")
    return "\n".join(lines) + "\n"


def _words(draw: Generator, words: list[str], rows: int) -> list[str]:
    return [words[place] for place in draw.integers(0, len(words), rows)]


def lay_out(folder: Path) -> None:
    """What the commands of the pages read, where they are run."""
    people = adult()
    people.write_csv(folder / "adult.csv")
    later = adult(80, seed=1).select(reversed(people.columns)).with_columns(note=pl.lit("later"))
    later.write_csv(folder / "new.csv")
    later.rename({"age": "ages"}).write_csv(folder / "renamed.csv")
    later.with_columns(pl.col("workclass").replace("Private", "Without-pay")).write_csv(folder / "unseen.csv")
    houses(500, seed=0).write_parquet(folder / "houses.parquet")
    houses(120, seed=1).write_parquet(folder / "houses_test.parquet")
    houses(300, seed=2).write_ipc(folder / "houses.arrow")
    houses(300, seed=2).write_ndjson(folder / "houses.jsonl")
    (folder / "orders.csv").write_text(orders(), encoding="utf-8")
    (folder / "days").mkdir()
    for day, start in (("monday", 0), ("tuesday", 300)):
        people.slice(start, 300).write_csv(folder / "days" / f"{day}.csv")
    _wrong(folder)
    pictures(folder / "pictures")
    arrays(folder / "arrays.npz")


def _wrong(folder: Path) -> None:
    """Files that are refused, each in its way."""
    rows = ["age,city,income", *(f"{20 + row % 50},{'Rome' if row % 2 else 'Oslo'},{row % 3 % 2}" for row in range(60))]
    files = {
        "long_row.csv": [*rows[:41], "33,Rome,1,", *rows[41:]],
        "double.csv": ["age,age,income", *rows[1:]],
        "word.csv": [*rows[:12], "unknown,Rome,1", *rows[12:]],
        "comma.csv": ["height;city;income", *(f"1,{60 + row % 40};Rome;{row % 2}" for row in range(60))],
        "gap.csv": [*rows[:31], "33,Rome,", *rows[31:]],
        "when.csv": ["when,age,income", *(f"2025-03-{1 + row % 28:02d},{20 + row % 50},{row % 2}" for row in range(60))],
        "empty.csv": ["age,city,income"],
        "leak.csv": ["age,city,paid,income", *(f"{20 + row % 50},Rome,{row % 3 % 2 * 12},{row % 3 % 2}" for row in range(200))],
    }
    for name, lines in files.items():
        (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")


def pictures(folder: Path, rows: int = 12) -> None:
    """Grey pictures of 10 x 8 in a sub-folder for each of two classes."""
    draw = default_rng(0)
    for bright, name in enumerate(("day", "night")):
        (folder / name).mkdir(parents=True)
        for number in range(rows):
            points = draw.integers(0, 128, (10, 8)) + 120 * (1 - bright)
            Image.fromarray(points.astype(np.uint8)).save(folder / name / f"{number:03d}.png")


def arrays(path: Path, rows: int = 90) -> None:
    """Inputs and classes, and a test of their own."""
    draw = default_rng(0)
    parts: dict[str, Any] = {}
    for part, count in (("", rows), ("_test", rows // 3)):
        x = draw.normal(size=(count, 4)).astype(np.float32)
        parts |= {f"x{part}": x, f"y{part}": (x[:, 0] + x[:, 1] > 0).astype(np.int64)}
    np.savez(path, **parts)


def experiment_files(folder: Path) -> None:
    """The files of the presets that want data.root=FOLDER, as their sources write them."""
    _packed(folder / "adult-train.csv.gz", _census(adult(600, seed=2), ""))
    _packed(folder / "adult-test.csv.gz", _census(adult(200, seed=3), "."))
    draw = default_rng(4)
    _packed(folder / "cal_housing.csv.gz", _california(draw).write_csv())
    _packed(folder / "bank-additional-full.csv.gz", _bank(draw).write_csv(separator=";", quote_style="non_numeric"))
    _packed(folder / "covtype.20k.data.gz", _forests(draw).write_csv(include_header=False))
    _packed(folder / "diamonds.csv.gz", _diamonds(draw).write_csv(quote_style="non_numeric"))


def _packed(path: Path, text: str) -> None:
    path.write_bytes(gzip.compress(text.encode(), mtime=0))


def _census(frame: pl.DataFrame, end: str) -> str:
    """No header, a blank behind each comma, and classes that may end with a point."""
    return "".join(", ".join(map(str, row)) + f"{end}\n" for row in frame.iter_rows())


def _california(draw: Generator, rows: int = 400) -> pl.DataFrame:
    income, age = draw.uniform(0.5, 15, rows), draw.integers(1, 52, rows).astype(float)
    frame = {"longitude": draw.uniform(-124, -114, rows), "latitude": draw.uniform(32, 42, rows), "housingMedianAge": age}
    counts = {name: draw.integers(1, 5000, rows).astype(float) for name in ("totalRooms", "totalBedrooms", "population", "households")}
    value = 40_000 * income + 500 * age + draw.normal(0, 20_000, rows)
    return pl.DataFrame({**frame, **counts, "medianIncome": income, "medianHouseValue": value.round()})


def _bank(draw: Generator, rows: int = 800) -> pl.DataFrame:
    words = {
        "job": ["admin.", "housemaid", "services", "technician"],
        "marital": ["married", "single", "divorced"],
        "education": ["basic.4y", "high.school", "university.degree", "unknown"],
        "default": ["no", "unknown"],
        "housing": ["no", "yes"],
        "loan": ["no", "yes"],
        "contact": ["telephone", "cellular"],
        "month": ["may", "jun", "nov"],
        "day_of_week": ["mon", "tue", "fri"],
    }
    more = {"duration": draw.integers(0, 2000, rows), "campaign": draw.integers(1, 9, rows), "pdays": draw.integers(1, 1000, rows)}
    rates = ("emp.var.rate", "cons.price.idx", "cons.conf.idx", "euribor3m", "nr.employed")
    euribor = draw.uniform(0.6, 5, rows)
    return pl.DataFrame(
        {
            "age": draw.integers(18, 90, rows),
            **{name: _words(draw, chosen, rows) for name, chosen in words.items()},
            **more,
            "previous": draw.integers(0, 4, rows),
            "poutcome": _words(draw, ["nonexistent", "failure", "success"], rows),
            **{name: euribor if name == "euribor3m" else draw.normal(0, 3, rows) for name in rates},
            "y": np.where(euribor + draw.normal(0, 0.5, rows) < np.quantile(euribor, 0.11), "yes", "no"),
        }
    )


def _forests(draw: Generator, rows: int = 700) -> pl.DataFrame:
    kind = np.arange(rows) % 7 + 1
    measures = {f"m{number}": draw.integers(0, 500, rows) + 100 * kind for number in range(10)}
    area, soil = draw.integers(0, 4, rows), draw.integers(0, 40, rows)
    flags = {f"a{place}": (area == place).astype(int) for place in range(4)} | {
        f"s{place}": (soil == place).astype(int) for place in range(40)
    }
    return pl.DataFrame({**measures, **flags, "kind": kind})


def _diamonds(draw: Generator, rows: int = 600) -> pl.DataFrame:
    carat = draw.uniform(0.2, 3, rows).round(2)
    words = {"cut": ["Fair", "Good", "Ideal"], "color": ["D", "E", "J"], "clarity": ["SI1", "VS1", "IF"]}
    sizes = {name: (carat ** (1 / 3) * 6.4 + draw.normal(0, 0.1, rows)).round(2) for name in ("x", "y", "z")}
    price = np.exp(7.5 + 1.6 * np.log(carat) + draw.normal(0, 0.1, rows)).astype(int)
    return pl.DataFrame(
        {
            "carat": carat,
            **{name: _words(draw, chosen, rows) for name, chosen in words.items()},
            "depth": draw.uniform(55, 66, rows).round(1),
            "table": draw.uniform(52, 66, rows).round(),
            "price": price,
            **sizes,
        }
    )


def fetched(name: str | int, *, version: int | str = "active", cache: str | None = None) -> OpenMl:
    """What stands for openml.org, which tests do not ask: every set is the census."""
    facts = {"id": 1590, "url": "", "licence": "", "md5": "", "notes": []}
    return OpenMl(adult(), ("income",), str(name), 2 if version == "active" else int(version), facts)
