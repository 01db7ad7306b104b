"""SQL predicates over the index through DuckDB, without access to anything else."""

import difflib
import re

import duckdb
import pyarrow as pa

from crawler.errors import UserError

DERIVED = {"duration_s": "num_samples / sample_rate", "decade": "year - year % 10"}
# The same index and the same predicate must give the same rows on any day.
UNREPEATABLE = re.compile(
    r"\b(random|setseed|uuid\w*|gen_random_uuid|nextval|currval|now|today|(get_)?current_\w+)\b",
    re.IGNORECASE,
)
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


def _flags(table: pa.Table, where: str) -> list[bool | None]:
    drawn = UNREPEATABLE.search(re.sub(r"'[^']*'", "''", where))
    if drawn:
        raise _refused(where, f"{drawn[0]} gives other rows on every run")
    with duckdb.connect(config=SANDBOX) as db:
        try:
            rows = db.from_arrow(table).project(_columns(table.column_names))
            flags = rows.select(duckdb.SQLExpression(where))
            _require_predicate(where, flags)
            values: list[bool | None] = [row[0] for row in flags.fetchall()]
        except duckdb.Error as error:
            raise _refused(where, _reason(error, table.column_names)) from error
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


def _reason(error: duckdb.Error, names: list[str]) -> str:
    """DuckDB's first line, or for an unknown column the names that come near."""
    first = str(error).splitlines()[0]
    unknown = re.search(r'Referenced column "([^"]+)" not found', first)
    if unknown is None:
        return first
    known = [*names, *DERIVED]
    near = difflib.get_close_matches(unknown[1], known, n=3) or sorted(known)
    return f"unknown column {unknown[1]!r}; did you mean {', '.join(near)}?"


def _refused(where: str, reason: str) -> UserError:
    return UserError(f"cannot filter by {where!r}: {reason}")
