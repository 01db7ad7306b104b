"""croissant.json: an export described for machines, in Croissant 1.1."""

import json
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa

from dataset.card import (
    CITATION,
    EXPORT_VERSION,
    LICENCES,
    LOCAL,
    TITLE,
    WHAT,
    licences,
    said,
)
from dataset.contents import Contents
from dataset.pairs import SCHEMA_VERSION
from dataset.places import File

CONFORMS_TO = "http://mlcommons.org/croissant/1.1"
PARQUET = ".parquet"
FORMATS = {  # of the files that are described one by one; the others are sound
    ".csv": "text/csv",
    ".jsonl": "application/jsonlines",
    PARQUET: "application/x-parquet",
}
SOUNDS = {".flac": "audio/flac", ".opus": "audio/ogg", ".wav": "audio/wav"}
TYPES = {
    "string": "sc:Text",
    "bool": "sc:Boolean",
    "double": "cr:Float64",
    "int16": "cr:Int16",
    "int32": "cr:Int32",
    "int64": "cr:Int64",
}
OWN_TERMS = (
    *("arrayShape", "citeAs", "column", "containedIn", "equivalentProperty", "extract", "field"),
    *("fileProperty", "fileObject", "fileSet", "format", "includes", "isArray", "isLiveDataset"),
    *("jsonPath", "key", "md5", "parentField", "path", "recordSet", "references", "regex"),
    *("repeated", "replace", "samplingRate", "separator", "source", "subField", "transform"),
)
CONTEXT: Mapping[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "name": {"@container": "@language"},
    "description": {"@container": "@language"},
    **{term: f"cr:{term}" for term in OWN_TERMS},
}


def croissant(contents: Contents, files: Mapping[str, File], date: str) -> str:
    """The description of an export of `date` (YYYY-MM-DD) as JSON; addresses are relative to it."""
    names = [name for name in sorted(files) if PurePosixPath(name).suffix in FORMATS]
    sounds = {PurePosixPath(name).suffix for name in files} - set(FORMATS)
    tables = [name for name in names if name.endswith(PARQUET)]
    described = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": CONFORMS_TO,
        "name": f"earscribe-{contents.form}",
        "description": _description(contents),
        "license": [LICENCES.get(name, ("", name))[1] for name in _licences(contents)],
        "citeAs": CITATION,
        "creator": _creators(contents),
        "datePublished": date,
        "version": f"{SCHEMA_VERSION}.{EXPORT_VERSION}.0+{contents.made_from[:12]}",
        "inLanguage": "en",
        "keywords": ["music", "chamber music", "music captioning"],
        "distribution": [
            *(_file_object(name, files[name]) for name in names),
            *(_file_set(f"sound{end}", [f"*/*{end}"], SOUNDS[end]) for end in sorted(sounds)),
            _file_set("tables", _folders(tables), FORMATS[PARQUET]),
        ],
        "recordSet": [*([_parts(contents)] if contents.in_parts else []), _pairs(contents)],
    }
    return json.dumps(described, ensure_ascii=False, indent=1) + "\n"


def _description(contents: Contents) -> str:
    what = " ".join(WHAT[contents.form].replace("`", "").split())
    mark = f" This copy is {LOCAL}." if contents.bound else ""
    return f"{TITLE}. {what}{mark}"


def _licences(contents: Contents) -> list[str]:
    return [*([LOCAL] if contents.bound else []), *licences(contents)]


def _creators(contents: Contents) -> list[dict[str, str]]:
    """Earscribe, and those who the pages say the texts are from."""
    sources = sorted({" ".join(str(row["note_source"]).split()) for row in contents.rows} - {""})
    names = ["Earscribe", *sources]
    return [{"@type": "sc:Organization", "name": name} for name in names]


# ---------------------------------------------------------------- files


def _file_object(name: str, file: File) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": name,
        "name": name,
        "contentUrl": name,
        "contentSize": f"{file.size} B",
        "encodingFormat": FORMATS[PurePosixPath(name).suffix],
        "sha256": file.sha256,
    }


def _file_set(name: str, includes: list[str], encoding: str) -> dict[str, Any]:
    """Files beside croissant.json, by their names."""
    return {
        "@type": "cr:FileSet",
        "@id": name,
        "name": name,
        "encodingFormat": encoding,
        "includes": includes,
    }


def _folders(tables: list[str]) -> list[str]:
    return sorted({str(PurePosixPath(name).with_name(f"*{PARQUET}")) for name in tables})


# ---------------------------------------------------------------- records


def _parts(contents: Contents) -> dict[str, Any]:
    """The parts as Croissant's splits."""
    return {
        "@type": "cr:RecordSet",
        "@id": "parts",
        "name": "parts",
        "dataType": "cr:Split",
        "key": {"@id": "parts/name"},
        "field": [_field("parts/name", "sc:Text", "name of the part")],
        "data": [{"parts/name": part} for part in contents.parts],
    }


def _pairs(contents: Contents) -> dict[str, Any]:
    own = [_column(field) for field in contents.schema]
    return {
        "@type": "cr:RecordSet",
        "@id": "pairs",
        "name": "pairs",
        "description": "one text with one recording a row",
        "key": {"@id": "pairs/pair_id"},
        "field": [*([_part(contents)] if contents.in_parts else []), *own],
    }


def _part(contents: Contents) -> dict[str, Any]:
    """The part of a row, from the name of its file or folder."""
    names = "|".join(contents.parts)
    source = {
        "fileSet": {"@id": "tables"},
        "extract": {"fileProperty": "fullpath"},
        "transform": {"regex": rf"^(?:.*/)?({names})(?:[-/].*)?$"},
    }
    return {
        **_field("pairs/part", "sc:Text", "the part that the row is in"),
        "references": {"field": {"@id": "parts/name"}},
        "source": source,
    }


def _field(name: str, kind: str, description: str) -> dict[str, Any]:
    short = name.partition("/")[2]
    return {
        "@type": "cr:Field",
        "@id": name,
        "name": short,
        "dataType": kind,
        "description": description,
    }


def _column(field: "pa.Field[Any]") -> dict[str, Any]:
    """A column: its type, its meaning and, in brackets, its unit."""
    unit = said(field, "unit")
    meaning = said(field, "meaning") + (f" [{unit}]" if unit else "")
    source: dict[str, Any] = {"fileSet": {"@id": "tables"}, "extract": {"column": field.name}}
    shape: dict[str, Any] = {}
    kind = field.type
    if isinstance(kind, pa.ListType):
        kind, shape = kind.value_type, {"isArray": True, "arrayShape": "-1"}
    if isinstance(kind, pa.StructType):
        source["transform"] = {"jsonPath": "bytes"}
    data_type = TYPES.get(str(kind), "sc:AudioObject")
    return {**_field(f"pairs/{field.name}", data_type, meaning), **shape, "source": source}
