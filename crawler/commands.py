"""How a command behaves: the options that all share, exit codes, errors as one line."""

import errno
import functools
import inspect
import io
import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from crawler.console import progress_bar
from crawler.console import show as show_summary
from crawler.draining import draining
from crawler.errors import UserError
from crawler.options import layered, misspelt, read_toml, refuse_unknown_sections, variables
from crawler.summary import Summary

DONE, MENDABLE, USAGE, VIOLATIONS, INCOMPLETE = 0, 1, 2, 3, 75  # exit codes
ROOM = "make room and run the same command again", INCOMPLETE
PLACE = "move it away or mend its rights, or give another folder", MENDABLE
OF_THE_DISK = {  # errno -> what a person can do, exit code; any other OSError is our bug
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), ROOM),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), PLACE),
    **dict.fromkeys((errno.EEXIST, errno.ENOTDIR, errno.EISDIR), PLACE),
}


@dataclass(frozen=True)
class Common:
    """What every command takes."""

    data: Path
    toml: Mapping[str, Any]
    as_json: bool

    def layer(self, base: Any, section: str, **flags: Any) -> Any:
        """`base` under the file's [section], the environment and the flags given."""
        return layered(base, section, toml=self.toml, flags=flags)


COMMON: dict[str, tuple[Any, Any]] = {  # name -> (annotation, default)
    "data": (
        Annotated[Path, typer.Option(envvar="EARSCRIBE_DATA", help="The data folder.")],
        Path("data/corpus"),
    ),
    "config": (
        Annotated[
            Path | None,
            typer.Option(envvar="EARSCRIBE_CONFIG", help="TOML file with a table a stage."),
        ],
        None,
    ),
    "json_": (
        Annotated[bool, typer.Option("--json", help="Print the summary as one JSON object.")],
        False,
    ),
    "verbose": (
        Annotated[int, typer.Option("-v", "--verbose", count=True, help="Say more (-vv: all).")],
        0,
    ),
}


@dataclass(frozen=True)
class Program:
    """What the commands of one command line have in common."""

    app: typer.Typer
    sections: tuple[str, ...]  # tables that a file of --config may have
    shipped: Path  # the folder of the files that a bare name finds
    settings: Callable[[], Any]  # a dataclass of all settings, for the names of their variables

    def command(
        self,
        panel: str | None,
        example: str,
        *,
        data: Path | None = None,
        group: typer.Typer | None = None,
    ) -> Callable[[Callable[..., None]], Callable[..., None]]:
        """Register a function as a command that takes `common` first; add the options of COMMON.

        `data` is another default folder. A UserError becomes one line and exit code 1.
        """

        def register(body: Callable[..., None]) -> Callable[..., None]:
            run = self._runner(body, COMMON["data"][1] if data is None else data)
            told = f"Example: {example}"
            return (group or self.app).command(rich_help_panel=panel, epilog=told)(run)

        return register

    def _runner(self, body: Callable[..., None], data: Path) -> Callable[..., None]:
        """The function that Typer calls, with the signature of `body` and COMMON's options."""

        @functools.wraps(body)
        def run(**given: Any) -> None:
            values = {name: given.pop(name) for name in COMMON}
            prepare_streams(values["verbose"])
            self._warn_of_variables()
            with errors_as_lines():
                toml = read_toml(self.found(values["config"]))
                refuse_unknown_sections(toml, self.sections)
                folder = values["data"] if values["data"] != data else data_of(toml, data)
                body(Common(folder, toml, values["json_"]), **given)

        own = list(inspect.signature(body).parameters.values())[1:]
        kind = inspect.Parameter.KEYWORD_ONLY
        defaults = {name: default for name, (_, default) in COMMON.items()} | {"data": data}
        added = [
            inspect.Parameter(name, kind, default=defaults[name], annotation=annotation)
            for name, (annotation, _) in COMMON.items()
        ]
        parameters = [*(item.replace(kind=kind) for item in own), *added]
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {item.name: item.annotation for item in parameters}
        return run

    def found(self, config: Path | None) -> Path | None:
        """The file of --config; a bare name that is not here is looked for among those shipped."""
        if config is None or config.exists() or len(config.parts) > 1:
            return config
        known = self.shipped / config
        if not known.is_file():
            return config
        typer.echo(f"earscribe: {config} is not in this folder, so {known} is taken", err=True)
        return known

    def _warn_of_variables(self) -> None:
        """Name every EARSCRIBE_* variable that nothing reads."""
        known = ["EARSCRIBE_DATA", "EARSCRIBE_CONFIG"]
        if misspelt(os.environ, known):
            for line in misspelt(os.environ, [*known, *variables(self.settings())]):
                typer.echo(f"earscribe: {line}", err=True)


def data_of(toml: Mapping[str, Any], default: Path) -> Path:
    """The data folder that a configuration file names."""
    build = toml.get("build", {})
    named = build.get("data") if isinstance(build, Mapping) else None
    return Path(named) if isinstance(named, str) else default


def prepare_streams(verbose: int) -> None:
    """Standard output for any letter, and the log on standard error as detailed as asked for."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # a terminal may not have every letter
        sys.stdout.reconfigure(errors="replace")
    level = {0: logging.WARNING, 1: logging.INFO}.get(verbose, logging.DEBUG)
    logging.basicConfig(
        level=level, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s"
    )


@contextmanager
def errors_as_lines() -> Iterator[None]:
    """A person's mistake, or a disk that cannot be written, as one line and an exit code."""
    try:
        yield
    except UserError as error:
        typer.echo(f"earscribe: {error}", err=True)
        raise typer.Exit(MENDABLE) from error
    except OSError as error:
        if error.errno not in OF_THE_DISK:
            raise
        advice, code = OF_THE_DISK[error.errno]
        place = f" {error.filename}" if error.filename else ""
        typer.echo(f"earscribe: cannot write{place} ({error.strerror}): {advice}", err=True)
        raise typer.Exit(code) from error


# ---------------------------------------------------------------- what a command does


def perform(
    common: Common, name: str, stage: Callable[..., Summary], *inputs: Any, **more: Any
) -> None:
    """Call one stage under a progress bar and print its summary.

    Ends with exit code 3 when it found violations, 75 when something is left to do.
    """
    summary = run_stage(common, name, stage, *inputs, **more)
    if summary.details.get("findings"):
        raise typer.Exit(VIOLATIONS)
    if summary.incomplete:
        left = f", {summary.counts['pending']} pending" if "pending" in summary.counts else ""
        typer.echo(f"earscribe: {name} is incomplete{left}: run the same command again", err=True)
        raise typer.Exit(INCOMPLETE)


def run_stage(
    common: Common, name: str, stage: Callable[..., Summary], *inputs: Any, **more: Any
) -> Summary:
    """Call one stage under a progress bar and print its summary."""
    with progress_bar(name) as progress:
        summary = stage(*inputs, **more, progress=progress)
    show_summary(summary, as_json=common.as_json)
    return summary


def run_all(common: Common, stages: Iterator[tuple[str, Callable[..., Summary]]]) -> None:
    """Run stages in order; what is left undone in one does not keep the next from what there is.

    Violations and a person's mistakes end it; one in `split` after the report, which shows why.
    """
    left: list[str] = []
    refused = None
    with draining() as stop:
        for name, work in stages:
            if stop.is_set():
                raise KeyboardInterrupt
            try:
                summary = run_stage(common, name, work)
            except UserError as error:
                if name != "split" and not left:
                    raise
                refused = error
                if name != "split":
                    break
                continue
            if summary.details.get("findings"):
                raise typer.Exit(VIOLATIONS)
            left += [name] if summary.incomplete else []
    if refused is not None and not left:
        raise refused
    if left:
        told = f" ({refused})" if refused else ""
        typer.echo(
            f"earscribe: {', '.join(left)} incomplete{told}: run the same command again", err=True
        )
        raise typer.Exit(INCOMPLETE)


@contextmanager
def interruptible(name: str) -> Iterator[None]:
    """Ctrl-C where no stage catches it, at its start and end, is one line and exit code 75."""
    try:
        yield
    except KeyboardInterrupt:
        typer.echo(f"earscribe: {name} was stopped: run the same command again", err=True)
        raise typer.Exit(INCOMPLETE) from None
