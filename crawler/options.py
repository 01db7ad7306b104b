"""Settings in layers: defaults, then a TOML file, then EARSCRIBE_* variables, then flags."""

import dataclasses
import difflib
import math
import os
import tomllib
import types
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from crawler.errors import UserError

Config = TypeVar("Config")


def read_toml(path: Path | None) -> dict[str, Any]:
    """The tables of a configuration file, {} for None; UserError when missing or malformed."""
    if path is None:
        return {}
    if not path.is_file():
        raise UserError(f"no configuration file {path}: give a TOML file with --config")
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not TOML: {error}") from error


def layered(
    base: Config,
    section: str,
    *,
    toml: Mapping[str, Any] | None = None,
    flags: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Config:
    """`base` (a frozen dataclass) with the values of [section], EARSCRIBE_SECTION_FIELD and flags.

    A nested dataclass field is a sub-table of the file and one more part of the variable's
    name. A flag of None and an empty variable were not given. UserError for an unknown key or a
    value of another type, naming what is allowed.
    """
    table = (toml or {}).get(section, {})
    if not isinstance(table, Mapping):
        raise UserError(f"[{section}] is {table!r}, not a table of settings")
    config = _replaced(base, table, f"[{section}]")
    prefix = f"EARSCRIBE_{section.upper()}_"
    config = _from_environment(config, prefix, os.environ if environment is None else environment)
    given = {name: value for name, value in (flags or {}).items() if value is not None}
    return _replaced(config, given, "flags")


def refuse_unknown_sections(toml: Mapping[str, Any], known: tuple[str, ...]) -> None:
    """UserError for a table that no stage reads."""
    for section in toml:
        if section not in known:
            raise UserError(_unknown("section", section, known))


def variables(config: Any, prefix: str = "EARSCRIBE_") -> Iterator[str]:
    """The names of the variables that are read for a dataclass and those within it."""
    for item in dataclasses.fields(config):
        name, current = prefix + item.name.upper(), getattr(config, item.name)
        if dataclasses.is_dataclass(current):
            yield from variables(current, name + "_")
        else:
            yield name


def misspelt(environment: Iterable[str], known: Sequence[str]) -> list[str]:
    """A line for every EARSCRIBE_* variable that nothing reads."""
    lines = []
    for name in sorted(environment):
        if name.startswith("EARSCRIBE_") and name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.85)
            hint = f": did you mean {near[0]}?" if near else ""
            lines.append(f"the variable {name} is not read{hint}")
    return lines


def _replaced(config: Config, values: Mapping[str, Any], where: str) -> Config:
    fields = {item.name: item for item in dataclasses.fields(config)}  # type: ignore[arg-type]
    kinds = typing.get_type_hints(type(config))
    changes: dict[str, Any] = {}
    for name, value in values.items():
        if name not in fields:
            raise UserError(f"{where}: " + _unknown("key", name, tuple(fields)))
        current = getattr(config, name)
        if dataclasses.is_dataclass(current) and isinstance(value, Mapping):
            changes[name] = _replaced(current, value, f"{where[:-1]}.{name}]")
        else:
            changes[name] = _converted(value, kinds[name], f"{where} {name}")
    return dataclasses.replace(config, **changes)  # type: ignore[type-var]


def _from_environment(config: Config, prefix: str, environment: Mapping[str, str]) -> Config:
    kinds = typing.get_type_hints(type(config))
    changes: dict[str, Any] = {}
    for item in dataclasses.fields(config):  # type: ignore[arg-type]
        name = prefix + item.name.upper()
        current = getattr(config, item.name)
        if dataclasses.is_dataclass(current):
            changes[item.name] = _from_environment(current, name + "_", environment)
        elif environment.get(name):
            changes[item.name] = _converted(environment[name], kinds[item.name], name)
    return dataclasses.replace(config, **changes)  # type: ignore[type-var]


def _converted(value: Any, kind: Any, where: str) -> Any:
    """`value` as `kind`; text (from the environment) is read as a number, a flag or a list."""
    choices = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    for choice in choices:
        origin = typing.get_origin(choice) or choice
        arguments = typing.get_args(choice)
        if origin is types.NoneType:
            if value is None:
                return None
        elif origin is typing.Literal:
            for one in arguments:
                if (type(value) is type(one) and value == one) or value == str(one):
                    return one
        elif origin is tuple:
            parts = value.split(",") if isinstance(value, str) else value
            if isinstance(parts, list | tuple):
                return tuple(_converted(part, arguments[0], where) for part in parts)
        elif origin is bool:
            known = {"true": True, "1": True, "false": False, "0": False}
            given = known.get(value.lower()) if isinstance(value, str) else value
            if isinstance(given, bool):
                return given
        elif isinstance(value, bool):
            continue
        elif origin in (int, float, Path) and isinstance(value, int | float | str | Path):
            try:
                number: Any = origin(value)
            except (TypeError, ValueError, OverflowError):
                continue
            if isinstance(number, float) and not math.isfinite(number):
                raise UserError(f"{where} = {value!r} is not a finite number")
            if origin is not int or number == float(str(value)):
                return number
        elif origin is str and isinstance(value, str):
            return value
    told = (choice for choice in choices if choice is not types.NoneType)
    names = " or ".join(getattr(choice, "__name__", str(choice)) for choice in told)
    if dataclasses.is_dataclass(kind):
        names = f"a table of {', '.join(item.name for item in dataclasses.fields(kind))}"
    if any(typing.get_origin(choice) is typing.Literal for choice in choices):
        allowed = [str(a) for choice in choices for a in typing.get_args(choice)]
        names = "one of " + ", ".join(allowed)
    raise UserError(f"{where} = {value!r} is not allowed: give {names}")


def _unknown(kind: str, name: str, known: tuple[str, ...]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    hint = f" (did you mean {near[0]}?)" if near else ""
    return f"unknown {kind} {name!r}{hint}; known: {', '.join(known)}"
