"""The index on disk: the only file that reads and writes parquet."""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from crawler.errors import SchemaVersionError, UserError
from crawler.files import atomic_path
from crawler.summary import Progress
from dataset.filters import (
    choose_columns,
    evaluate,
    known_columns,
    needed_for,
    read_predicate,
    refused,
    verdict,
)
from dataset.pairs import SCHEMA_VERSION, Pair
from dataset.schema import COLUMNS, PAIRS_SCHEMA

ROW_GROUP = 50_000  # rows: what is read at a time
PAIRS_NAME = "pairs.parquet"
LISTS = ("movements", "align_flags", "instruments", "performers")


def write_pairs(path: Path, pairs: Iterable[Pair]) -> int:
    """Write pairs sorted by pair_id in one atomic step; returns how many.

    The same pairs give the same bytes. Readers see the old file or the new one.
    """
    rows = sorted(map(pair_to_row, pairs), key=lambda row: row["pair_id"])
    write_table(path, pa.Table.from_pylist(rows, schema=PAIRS_SCHEMA))
    return len(rows)


def write_table(path: Path, table: pa.Table) -> None:
    """Write any table in one atomic step (zstd)."""
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary, compression="zstd", row_group_size=ROW_GROUP)


def load_pairs(path: Path) -> list[Pair]:
    """Every pair of an index or split file; errors as in `read_table`."""
    return [row_to_pair(row) for row in read_table(path).to_pylist()]


def load_some(path: Path, column: str, values: Any) -> list[Pair]:
    """The pairs that have one of some values in a column; errors as in `read_table`."""
    with reading(path) as file:
        groups = (file.read_row_group(n, use_threads=False) for n in range(file.num_row_groups))
        return [
            row_to_pair(row)
            for rows in groups
            for row in rows.filter(pc.is_in(rows[column], values)).to_pylist()
        ]


def read_table(path: Path, columns: Iterable[str] | None = None) -> pa.Table:
    """A parquet file of pairs as an Arrow table.

    Raises UserError when it is missing, unreadable, lacks a column or has one of another type,
    SchemaVersionError when it is of another schema version.
    """
    with reading(path) as file:
        # Without threads: at the end of the process one of them may abort it (1 in 50).
        return file.read(columns=None if columns is None else list(columns), use_threads=False)


@contextmanager
def reading(path: Path) -> Iterator[pq.ParquetFile]:
    """An open parquet file of pairs; errors as in `read_table`."""
    if not path.is_file():
        raise UserError(
            f"no index at {path}: run `earscribe pair` first (or `earscribe import table`)"
        )
    try:
        # One open file: a writer may put another in its place between schema and rows.
        with path.open("rb") as body, pq.ParquetFile(body) as file:
            _check_schema(path, file.schema_arrow)
            yield file
    except (OSError, pa.ArrowException) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # of the disk, perhaps of what is written meanwhile
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(
            f"{path} is damaged or not a parquet file ({reason}): move it away and make it again; "
            "for an index that is `earscribe pair` and `earscribe fetch`, which keep the clips"
        ) from error


def read_in_groups(path: Path, columns: Iterable[str]) -> Iterator[pa.Table]:
    """Columns of a file of pairs, a row group at a time; errors as in `read_table`."""
    with reading(path) as file:
        for number in range(file.num_row_groups):
            yield file.read_row_group(number, list(columns), use_threads=False)


def write_selections(
    path: Path,
    places: NDArray[np.int8],
    targets: Sequence[Path],
    without: Sequence[str],
    progress: Progress,
) -> None:
    """Write the rows of an index whose place is 0, 1, ... to the first, second, ... target.

    All targets appear together, with few rows in memory; columns `without` are null in them.
    """
    with reading(path) as file, ExitStack() as whole:
        writers = [
            whole.enter_context(
                pq.ParquetWriter(
                    whole.enter_context(atomic_path(target)), file.schema_arrow, compression="zstd"
                )
            )
            for target in targets
        ]
        columns = [name for name in file.schema_arrow.names if name not in without]
        first = 0
        for number in range(file.num_row_groups):
            rows = file.read_row_group(number, columns, use_threads=False)
            for name in without:
                field = file.schema_arrow.field(name)
                nulls = pa.nulls(len(rows), field.type)
                rows = rows.add_column(file.schema_arrow.get_field_index(name), field, nulls)
            here = places[first : first + len(rows)]
            for place, writer in enumerate(writers):
                writer.write_table(rows.filter(pa.array(here == place)))
            first += len(rows)
            progress(number + 1, file.num_row_groups)


def write_columns(path: Path, fresh: pa.Table) -> bool:
    """Give an index other values in some columns, in one atomic step and few rows in memory.

    Returns whether there was anything to change; if not, the file is left alone.
    """
    with reading(path) as file:
        if all(old.equals(new) for old, new in in_groups(file, fresh, fresh.column_names)):
            return False
        with (
            atomic_path(path) as temporary,
            pq.ParquetWriter(temporary, file.schema_arrow, compression="zstd") as writer,
        ):
            for rows, new in in_groups(file, fresh, None):
                for name in new.column_names:
                    place = rows.column_names.index(name)
                    rows = rows.set_column(place, rows.schema.field(name), new[name])
                writer.write_table(rows)
    return True


def in_groups(
    file: pq.ParquetFile, fresh: pa.Table, columns: list[str] | None
) -> Iterator[tuple[pa.Table, pa.Table]]:
    """Columns of a file and the rows of a table beside them, a row group at a time."""
    first = 0
    for number in range(file.num_row_groups):
        rows = file.read_row_group(number, columns, use_threads=False)
        yield rows, fresh.slice(first, len(rows))
        first += len(rows)


def read_foreign(path: Path) -> list[dict[str, Any]]:
    """The rows of any parquet file; UserError when it is none."""
    try:
        rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"{path} is not a parquet file: {str(error).splitlines()[0]}") from error
    return rows


def _check_schema(path: Path, schema: pa.Schema) -> None:
    version = (schema.metadata or {}).get(b"earscribe_schema_version", b"none").decode()
    if version != str(SCHEMA_VERSION):
        raise SchemaVersionError(
            f"{path} has schema version {version}, this program reads {SCHEMA_VERSION}: "
            "move it away and run `earscribe pair` and `earscribe fetch` again, or give another "
            "folder with --data"
        )
    missing = sorted({column.name for column in COLUMNS}.difference(schema.names))
    if missing:
        raise UserError(
            f"{path} lacks the columns {', '.join(missing)}: run `earscribe pair` again"
        )
    for column in COLUMNS:
        kind = schema.field(column.name).type
        if kind != column.type:
            raise UserError(
                f"{path} has {kind} in column {column.name}, not {column.type}: "
                "run `earscribe pair` and `earscribe fetch` again"
            )


def read_pairs(
    data: Path | str, *, where: str | None = None, columns: Sequence[str] | None = None
) -> pa.Table:
    """The index of a data folder for notebooks: an Arrow table (`.to_pandas()` for pandas).

    `where` is a SQL predicate over the columns, for example "composer LIKE '%Haydn'"; it and
    `columns` may also name `duration_s` and `decade`. Only the columns that are named are read,
    and only the rows that fit are held in memory. UserError for an unknown column.
    """
    path = Path(data) / PAIRS_NAME
    with reading(path) as file:
        schema = file.schema_arrow
    names = schema.names if columns is None else needed_for(known_columns(columns, schema.names))
    if where is None:
        kept = read_table(path, names)
    else:
        predicate = read_predicate(where, schema)
        read = read_in_groups(path, predicate.columns or names[:1])
        with refused(where):
            fits = evaluate(read, {"term": verdict(predicate)})["term"] == len(predicate.terms)
        kept = select_rows(path, names, fits)
    return kept if columns is None else choose_columns(kept, columns)


def select_rows(path: Path, columns: Sequence[str], fits: NDArray[np.bool_]) -> pa.Table:
    """The rows of a file of pairs for which it is true, read a row group at a time."""
    tables, first = [], 0
    for rows in read_in_groups(path, columns):
        tables.append(rows.filter(pa.array(fits[first : first + len(rows)])))
        first += len(rows)
    return pa.concat_tables(tables) if tables else read_table(path, columns)


def pair_to_row(pair: Pair) -> dict[str, Any]:
    """The values of one parquet row."""
    row = {item.name: getattr(pair, item.name) for item in dataclasses.fields(pair)}
    return {name: list(value) if name in LISTS else value for name, value in row.items()}


def row_to_pair(row: dict[str, Any]) -> Pair:
    """The pair of one parquet row; columns that this version does not know are left out."""
    names = {column.name for column in COLUMNS}
    values = {name: value for name, value in row.items() if name in names}
    return Pair(**{**values, **{name: tuple(values[name]) for name in LISTS}})
