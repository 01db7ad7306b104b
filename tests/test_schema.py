"""The Pair dataclass and the Arrow schema hold the same columns."""

import dataclasses
import json
import types
import typing
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dataset.index import load_pairs, write_pairs
from dataset.pairs import SCHEMA_VERSION, ErrorClass, Pair, pair_id
from dataset.schema import COLUMNS, PAIRS_SCHEMA

ANNOTATIONS = typing.get_type_hints(Pair)
MEASURED = ("_s", "_hz", "_lufs", "_dbtp", "_ratio", "sample_rate", "num_samples", "dc_offset")


def python_type(kind: pa.DataType) -> object:
    """The annotation that a column of this Arrow type must have in the dataclass."""
    if pa.types.is_list(kind):
        return tuple[python_type(kind.value_type), ...]
    if pa.types.is_struct(kind):
        return Mapping[str, typing.Any]
    tests = (
        (pa.types.is_string, str),
        (pa.types.is_boolean, bool),
        (pa.types.is_integer, int),
        (pa.types.is_floating, float),
    )
    return next(python for test, python in tests if test(kind))


def test_same_names_in_the_same_order() -> None:
    assert [item.name for item in dataclasses.fields(Pair)] == PAIRS_SCHEMA.names


@pytest.mark.parametrize("column", COLUMNS, ids=lambda column: column.name)
def test_same_type_and_null_where_optional(column: typing.Any) -> None:
    annotation = ANNOTATIONS[column.name]
    optional = isinstance(annotation, types.UnionType)
    if optional:
        (annotation,) = [kind for kind in typing.get_args(annotation) if kind is not type(None)]
    assert annotation == python_type(column.type)
    assert optional == column.nullable


@pytest.mark.parametrize("field", list(PAIRS_SCHEMA), ids=lambda field: field.name)
def test_meaning_always_and_unit_where_measured(field: typing.Any) -> None:
    assert field.metadata[b"meaning"].strip()
    if field.name.endswith(MEASURED):
        assert field.metadata[b"unit"].strip()


def test_defaults_are_null_or_allowed() -> None:
    for item in dataclasses.fields(Pair):
        if item.default is None:
            assert PAIRS_SCHEMA.field(item.name).nullable, item.name


def full_pair() -> Pair:
    """A pair with a telling value in every column."""
    values: dict[str, typing.Any] = {}
    for index, column in enumerate(COLUMNS):
        kind = python_type(column.type)
        values[column.name] = {
            str: f"{column.name} é\n“”",
            int: index,
            float: index + 0.1,
            bool: True,
            tuple[str, ...]: ("a", "b,c"),
            tuple[int, ...]: (2, 3),
        }.get(kind, {"bytes": b"\x00\xff", "path": "clips/aa/x.flac"})
    return Pair(**values)


def test_values_types_and_metadata_survive_the_file(tmp_path: Path) -> None:
    path = tmp_path / "pairs.parquet"
    full = full_pair()
    bare = dataclasses.replace(
        full,
        pair_id="0",
        movements=(),
        performers=(),
        align_flags=(),
        **{column.name: None for column in COLUMNS if column.nullable},
    )
    assert write_pairs(path, [full, bare]) == 2
    assert load_pairs(path) == [bare, full]
    schema = pq.read_schema(path)
    assert schema.equals(PAIRS_SCHEMA, check_metadata=True)
    assert schema.metadata[b"earscribe_schema_version"] == str(SCHEMA_VERSION).encode()
    assert schema.field("true_peak_dbtp").metadata[b"unit"] == b"dBTP"


def test_null_is_refused_where_a_value_is_needed(tmp_path: Path) -> None:
    broken = dataclasses.replace(full_pair(), caption=typing.cast(str, None))
    with pytest.raises(pa.ArrowInvalid, match="caption"):
        write_pairs(tmp_path / "pairs.parquet", [broken])
    assert not (tmp_path / "pairs.parquet").exists()


def test_pair_id_is_the_hash_of_its_parts() -> None:
    body = json.dumps(["haydn-op-64", [2, 3], "Catalogue – A", 1, "abcdefghijk2"])
    plain = sha256(body.encode().decode("unicode_escape").encode()).hexdigest()[:16]
    assert pair_id("haydn-op-64", (2, 3), "Catalogue – A", 1, "abcdefghijk2") == plain


def test_only_what_may_pass_by_itself_is_transient() -> None:
    transient = {kind.value for kind in ErrorClass if kind.transient}
    assert transient == {"rate_limited", "network", "server_error", "extractor", "disk_full"}
