"""SQL predicates over the index through DuckDB, without access to anything else."""

import difflib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from crawler.errors import UserError

DERIVED = {"duration_s": "num_samples / sample_rate", "decade": "year - year % 10"}
READ = {"duration_s": ("num_samples", "sample_rate"), "decade": ("year",)}  # by the formulas
MACROS = frozenset({"nullif", "split_part"})  # of DuckDB's own, those that hold nothing unsteady
SANDBOX: dict[str, bool | int | float | str | list[str]] = {
    "enable_external_access": "false",
    "python_enable_replacements": "false",  # no variable of the caller stands for a table
    "lock_configuration": "true",
    "threads": "1",
}


@dataclass(frozen=True, slots=True)
class Predicate:
    """A condition over one row of a table, checked against its columns."""

    where: str  # as it was given
    terms: tuple[str, ...]  # in SQL: what AND joins at the top level
    columns: tuple[str, ...]  # of the table, that it reads


def read_predicate(where: str, schema: pa.Schema) -> Predicate:
    """Check a SQL predicate over the columns of a schema, `duration_s` and `decade`.

    Files, extensions, settings, other rows and what changes from run to run are out of its
    reach. UserError when it is refused, with the reason.
    """
    if not where.strip():
        raise _refused(where, "give a condition such as \"composer = 'X'\"")
    names = schema.names
    with duckdb.connect(config=SANDBOX) as db:
        try:
            rows = db.from_arrow(schema.empty_table()).project(_derived(names))
            flags = rows.select(duckdb.SQLExpression(where))
            _require_predicate(where, flags)
            tree = _tree(db, where)
            columns = _require_steady(where, db, tree, rows.columns)
            if flags.fetchall():
                raise _refused(where, "it does not speak of one row at a time")
            return Predicate(where, _terms(db, tree), _read(columns, names))
        except duckdb.Error as error:
            raise _refused(where, _reason(error, where, names)) from error


def evaluate(tables: Iterable[pa.Table], formulas: Mapping[str, str]) -> dict[str, NDArray[Any]]:
    """The values of SQL formulas for every row of some tables of one schema, (num_rows,) each.

    A formula may name `duration_s` and `decade`; none of its values may be null.
    """
    shown = ", ".join(f"{formula} AS {name}" for name, formula in formulas.items())
    found: dict[str, list[NDArray[Any]]] = {name: [] for name in formulas}
    with duckdb.connect(config=SANDBOX) as db:
        for table in tables:
            rows = db.from_arrow(table).project(_derived(table.column_names))
            for name, values in rows.project(shown).fetchnumpy().items():
                assert len(values) == table.num_rows, f"{formulas[name]}: not a value a row"
                found[name].append(values)
    return {name: np.concatenate(values or [np.zeros(0)]) for name, values in found.items()}


def verdict(predicate: Predicate) -> str:
    """The formula of the number of the first term that is not true; the number of terms = none."""
    cases = (f"WHEN ({term}) IS NOT TRUE THEN {n}" for n, term in enumerate(predicate.terms))
    return f"(CASE {' '.join(cases)} ELSE {len(predicate.terms)} END)::SMALLINT"


def filter_table(table: pa.Table, where: str) -> pa.Table:
    """The rows of `table` for which a SQL predicate is true, in their order.

    UserError when it is refused, with the reason: see `read_predicate`.
    """
    predicate = read_predicate(where, table.schema)
    with refused(where):
        terms = evaluate([table], {"term": verdict(predicate)})["term"]
    return table.filter(pa.array(terms == len(predicate.terms)))


@contextmanager
def refused(where: str) -> Iterator[None]:
    """A predicate that fails on a row, as by a cast, is the person's mistake."""
    try:
        yield
    except duckdb.Error as error:
        raise _refused(where, str(error).splitlines()[0]) from error


def choose_columns(table: pa.Table, names: Sequence[str]) -> pa.Table:
    """Columns of `table`, `duration_s` and `decade` among them; UserError for any other name."""
    known_columns(names, table.column_names)
    for name in set(DERIVED).intersection(names).difference(table.column_names):
        with duckdb.connect(config=SANDBOX) as db:
            values = db.from_arrow(table).project(DERIVED[name]).fetchall()
        table = table.append_column(name, pa.array([row[0] for row in values]))
    return table.select(list(names))


def known_columns(names: Sequence[str], columns: Sequence[str]) -> Sequence[str]:
    """The names; UserError for one that is no column and no derived one."""
    known = [*columns, *DERIVED]
    for name in names:
        if name not in known:
            raise UserError(f"unknown column {name!r}; known: {', '.join(known)}")
    return names


def needed_for(names: Iterable[str]) -> list[str]:
    """The columns of the index that are read for some columns, derived ones among them."""
    return list(dict.fromkeys(own for name in names for own in READ.get(name, (name,))))


# ---------------------------------------------------------------- what a predicate says


def _derived(names: Sequence[str]) -> str:
    """The projection to all columns of a table and those derived ones that it allows."""
    derived = [
        f"{formula} AS {name}"
        for name, formula in DERIVED.items()
        if name not in names and set(READ[name]) <= set(names)
    ]
    return ", ".join(["*", *derived])


def _tree(db: duckdb.DuckDBPyConnection, where: str) -> dict[str, Any]:
    """The syntax tree of `SELECT where`."""
    rows = db.execute("SELECT json_serialize_sql(?::VARCHAR)", [f"SELECT {where}"]).fetchall()
    tree: dict[str, Any] = json.loads(rows[0][0])
    return tree


def _terms(db: duckdb.DuckDBPyConnection, tree: dict[str, Any]) -> tuple[str, ...]:
    """The SQL of the top-level terms, one for a predicate without AND."""
    node = tree["statements"][0]["node"]
    [top] = node["select_list"]
    conjunction = top["type"] == "CONJUNCTION_AND"
    terms = []
    for term in top["children"] if conjunction else [top]:
        node["select_list"] = [term]
        sql = "SELECT json_deserialize_sql(?::JSON)"
        [[text]] = db.execute(sql, [json.dumps(tree)]).fetchall()
        terms.append(_bare(text.removeprefix("SELECT ")))
    return tuple(terms)


def _bare(term: str) -> str:
    """A term without quotes around names and parentheses around all of it."""
    term = re.sub(r"""('[^']*')|"(\w+)\"""", lambda found: found[1] or found[2], term)
    depth = 0
    for place, letter in enumerate(re.sub("'[^']*'", lambda text: "." * len(text[0]), term)):
        depth += {"(": 1, ")": -1}.get(letter, 0)
        if depth == 0:
            return term[1:-1] if term[0] == "(" and place == len(term) - 1 else term
    return term


def _read(columns: Iterable[str], names: Sequence[str]) -> tuple[str, ...]:
    """The table's own columns among or behind some."""
    read = {own for name in columns for own in (READ[name] if name not in names else (name,))}
    return tuple(name for name in names if name in read)


def _require_predicate(where: str, flags: duckdb.DuckDBPyRelation) -> None:
    kinds = [str(kind) for kind in flags.types]
    if kinds != ["BOOLEAN"]:
        raise _refused(
            where, f"it gives {', '.join(kinds)}: give a condition such as \"composer = 'X'\""
        )


def _require_steady(
    where: str, db: duckdb.DuckDBPyConnection, tree: Any, columns: Sequence[str]
) -> set[str]:
    """The columns that are named; the same index must give the same rows on any day."""
    steady = db.execute(
        "SELECT function_name FROM duckdb_functions() GROUP BY function_name "
        "HAVING bool_and(stability = 'CONSISTENT') AND bool_and(stability IS NOT NULL)"
    ).fetchall()
    functions = MACROS.union(*steady)
    known = {name.casefold(): name for name in columns}
    found = set()
    for node in _nodes(tree):
        # DuckDB takes a bare `localtime` for a column until there is none of that name.
        for name in node.get("column_names", ())[:1]:
            if name.casefold() not in known:
                raise _refused(where, f"{name} is no column of the index")
            found.add(known[name.casefold()])
        if node.get("class") == "WINDOW":
            raise _refused(where, "it does not speak of one row at a time")
        function = node.get("function_name")
        if function is not None and function.casefold() not in functions:
            raise _refused(where, f"{function} may give other rows on another run")
    return found


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    """Every object of a syntax tree in JSON."""
    if isinstance(tree, dict):
        yield tree
    for branch in tree.values() if isinstance(tree, dict) else tree:
        if isinstance(branch, dict | list):
            yield from _nodes(branch)


def _reason(error: duckdb.Error, where: str, names: Sequence[str]) -> str:
    """DuckDB's first line, or for an unknown column the names that come near."""
    first = str(error).splitlines()[0]
    unknown = re.search(r'Referenced column "([^"]+)" not found', first)
    if unknown is None:
        return first
    if f'"{unknown[1]}"' in where:
        return f"a value stands in single quotes: '{unknown[1]}'"
    known = [*names, *DERIVED]
    near = difflib.get_close_matches(unknown[1], known, n=3) or sorted(known)
    return f"unknown column {unknown[1]!r}; did you mean {', '.join(near)}?"


def _refused(where: str, reason: str) -> UserError:
    return UserError(f"cannot filter by {where!r}: {reason}")
