"""SQL predicates over the index through DuckDB, without access to anything else."""

import difflib
import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

import duckdb
import pyarrow as pa

from crawler.errors import UserError

DERIVED = {"duration_s": "num_samples / sample_rate", "decade": "year - year % 10"}
MACROS = frozenset({"nullif", "split_part"})  # of DuckDB's own, those that hold nothing unsteady
SANDBOX: dict[str, bool | int | float | str | list[str]] = {
    "enable_external_access": "false",
    "python_enable_replacements": "false",  # no variable of the caller stands for a table
    "lock_configuration": "true",
    "threads": "1",
}


def filter_table(table: pa.Table, where: str) -> pa.Table:
    """The rows of `table` for which a SQL predicate over its columns is true, in their order.

    Besides the columns of the index the predicate may use `duration_s` (of the clip, seconds)
    and `decade` (of the year). Files, extensions, settings and what changes from run to run are
    out of its reach. UserError when it is refused, with the reason.
    """
    return table.filter(pa.array(_flags(table, where), pa.bool_()))


def choose_columns(table: pa.Table, names: Sequence[str]) -> pa.Table:
    """Columns of `table`, `duration_s` and `decade` among them; UserError for any other name."""
    known = [*table.column_names, *DERIVED]
    for name in names:
        if name not in known:
            raise UserError(f"unknown column {name!r}; known: {', '.join(known)}")
    for name in set(DERIVED).intersection(names).difference(table.column_names):
        with duckdb.connect(config=SANDBOX) as db:
            values = db.from_arrow(table).project(DERIVED[name]).fetchall()
        table = table.append_column(name, pa.array([row[0] for row in values]))
    return table.select(list(names))


def _flags(table: pa.Table, where: str) -> list[bool | None]:
    if not where.strip():
        raise _refused(where, "give a condition such as \"composer = 'X'\"")
    with duckdb.connect(config=SANDBOX) as db:
        try:
            rows = db.from_arrow(table).project(_columns(table.column_names))
            flags = rows.select(duckdb.SQLExpression(where))
            _require_predicate(where, flags)
            _require_repeatable(where, db, rows.columns)
            values: list[bool | None] = [row[0] for row in flags.fetchall()]
        except duckdb.Error as error:
            raise _refused(where, _reason(error, where, table.column_names)) from error
    if len(values) != table.num_rows:
        raise _refused(where, "it does not speak of one row at a time")
    return values


def _columns(names: list[str]) -> str:
    derived = [f"{formula} AS {name}" for name, formula in DERIVED.items() if name not in names]
    return ", ".join(["*", *derived])


def _require_predicate(where: str, flags: duckdb.DuckDBPyRelation) -> None:
    kinds = [str(kind) for kind in flags.types]
    if kinds != ["BOOLEAN"]:
        raise _refused(
            where, f"it gives {', '.join(kinds)}: give a condition such as \"composer = 'X'\""
        )


def _require_repeatable(where: str, db: duckdb.DuckDBPyConnection, columns: Sequence[str]) -> None:
    """The same index and the same predicate must give the same rows on any day."""
    text = db.execute("SELECT json_serialize_sql(?::VARCHAR)", [f"SELECT {where}"]).fetchall()[0][0]
    steady = db.execute(
        "SELECT function_name FROM duckdb_functions() GROUP BY function_name "
        "HAVING bool_and(stability = 'CONSISTENT') AND bool_and(stability IS NOT NULL)"
    ).fetchall()
    functions = MACROS.union(*steady)
    known = {name.casefold() for name in columns}
    for node in _nodes(json.loads(text)):
        # DuckDB takes a bare `localtime` for a column until there is none of that name.
        names = node.get("column_names") or columns
        function = node.get("function_name")
        if names[0].casefold() not in known:
            raise _refused(where, f"{names[0]} is no column of the index")
        if function is not None and function.casefold() not in functions:
            raise _refused(where, f"{function} may give other rows on another run")


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    """Every object of a syntax tree in JSON."""
    if isinstance(tree, dict):
        yield tree
    for branch in tree.values() if isinstance(tree, dict) else tree:
        if isinstance(branch, dict | list):
            yield from _nodes(branch)


def _reason(error: duckdb.Error, where: str, names: list[str]) -> str:
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
