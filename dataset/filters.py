"""SQL predicates over the index through DuckDB, without access to anything else."""

import duckdb
import pyarrow as pa

from crawler.errors import UserError


def filter_table(table: pa.Table, where: str) -> pa.Table:
    """The rows of `table` that satisfy a SQL predicate over its columns, in their order.

    Files, extensions and settings are out of the predicate's reach. UserError when DuckDB
    refuses it, with its reason.
    """
    db = duckdb.connect(
        config={"enable_external_access": "false", "lock_configuration": "true", "threads": "1"}
    )
    db.register("pairs", table)
    try:
        return db.execute(f"SELECT * FROM pairs WHERE {where}").to_arrow_table()
    except duckdb.Error as error:
        raise UserError(f"cannot filter by {where!r}: {str(error).splitlines()[0]}") from error
    finally:
        db.close()
