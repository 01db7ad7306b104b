"""The command line: one thin command a stage, nothing heavy imported before its body runs."""

import dataclasses
import json
import os
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from crawler.commands import (
    MENDABLE,
    Common,
    Program,
    interruptible,
    perform,
    run_all,
)
from crawler.console import say, show_rows
from crawler.errors import UserError

# OpenMP's threads would spin while they wait, seven times slower beside any other work; read
# when torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

SECTIONS = ("build", "crawl", "table", "pair", "fetch", "split", "train", "generate")  # of --config
SHIPPED = Path(__file__).parent / "data"  # where demo.toml and earsense.toml are

STAGES, AROUND, WHOLE = "Stages, in order", "Around them", "The whole"


class Form(StrEnum):
    """What `export` can write."""

    HF = "hf"  # parquet shards that Hugging Face datasets load
    FILES = "files"  # clips beside tables
    IDS = "ids"  # ids, bounds and hashes alone: what may be published


class Which(StrEnum):
    """The checkpoint of a run."""

    BEST = "best"  # by validation loss
    LAST = "last"


app = typer.Typer(
    name="earscribe",
    help="Build music-text datasets from the web and train a captioner on them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # our own bug keeps its plain traceback
    rich_markup_mode="rich",
)


def settings() -> Any:
    """Every setting there is."""
    from demo.run import DemoConfig

    return DemoConfig()


program = Program(app, SECTIONS, SHIPPED, settings)
command = program.command

imports = typer.Typer(
    name="import",
    help="Bring works or texts from elsewhere than a crawl.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)
app.add_typer(imports, rich_help_panel=STAGES)


def explain_work(common: Common, asked: str) -> None:
    """Print how the notes of a work were read; writes nothing."""
    from crawler.items import read_works
    from dataset.explain import explain, find_work
    from dataset.overrides import PAIR_ID
    from dataset.pairing import WORKS_NAME

    if PAIR_ID.fullmatch(asked):
        from dataset.closeup import find_pairs

        asked = find_pairs(common.data, asked)[0].work_id
    found = explain(find_work(read_works(common.data / WORKS_NAME), asked))
    if common.as_json:
        typer.echo(json.dumps(found.to_dict()))
        return
    for source, rows in found.notes:
        if rows:
            told = [row | {"movements": row["movements"] or "remark"} for row in rows]
            show_rows(f"{found.work_id}: {source}", told, wrap=True)
    if not any(rows for _, rows in found.notes):
        typer.echo(f"{found.work_id} has no notes")
    if found.movements:
        show_rows("movements", list(found.movements), wrap=True)
    else:
        say("no movements are known of it, so no sentence gets one")


def review_texts(common: Common, number: int) -> None:
    """Print the least sure texts of the index and how to correct them; writes nothing."""
    from dataset.explain import least_sure
    from dataset.index import PAIRS_NAME, load_pairs
    from dataset.overrides import HEADER, OVERRIDES_NAME

    if number < 1:
        raise UserError(f"--review {number} shows nothing: give 1 or more")
    rows = least_sure(load_pairs(common.data / PAIRS_NAME), number)
    if common.as_json:
        typer.echo(json.dumps({"texts": rows}))
    elif not rows:
        typer.echo("no text of the index has a movement to doubt")
    else:
        lines = [row.pop("override") for row in rows]
        show_rows("the least sure texts", rows, wrap=True)
        say(
            f"Lines for {common.data / OVERRIDES_NAME}, below its header {','.join(HEADER)}: as "
            "they stand they confirm the movements; other numbers, or none for the whole work, "
            "correct them."
        )
        typer.echo("\n".join(lines))


def show_leaks(common: Common, name: str) -> None:
    """Print what the parts of a split share, counted in its files; writes nothing."""
    from dataset.parts import folder_of, leaks_of, read_split
    from dataset.splits import LEAK_TITLE, leak_rows

    parts = tuple(read_split(common.data, name.partition(":")[0])["parts"])
    found = leaks_of(folder_of(common.data, name), parts)
    if common.as_json:
        typer.echo(json.dumps({"split": name, "leaks": found}))
    else:
        show_rows(f"{name}: {LEAK_TITLE}", leak_rows(found))


# --- the stages -----------------------------------------------------------------------------


Selectors = Annotated[
    Path | None, typer.Option(help="TOML file instead of crawler/selectors.toml.")
]
Contact = Annotated[str | None, typer.Option(help="Your mail address, for the site's keeper.")]
Site = Annotated[str | None, typer.Option(help="Address of the site.")]
Bundle = Annotated[
    Path | None, typer.Option(help="PEM file of certificates, instead of the system's.")
]


@command(STAGES, "earscribe crawl --contact you@example.org")
def crawl(
    common: Common,
    seeds: Annotated[
        Path | None,
        typer.Option(help="File with a slug or an address a line; default: all known works."),
    ] = None,
    address: Annotated[
        list[str] | None, typer.Option(help="One slug or address; may be repeated.")
    ] = None,
    discover: Annotated[
        bool | None,
        typer.Option(
            "--discover",
            help="Also what the visited pages link to, up to --max-pages or 2,000 more a run.",
        ),
    ] = None,
    max_pages: Annotated[int | None, typer.Option(help="Pages asked for in this run.")] = None,
    refresh_after: Annotated[
        float | None, typer.Option(metavar="DAYS", help="Ask again for pages older than this.")
    ] = None,
    reparse: Annotated[
        bool, typer.Option("--reparse", help="Only read the stored pages again: no request.")
    ] = False,
    site: Site = None,
    contact: Contact = None,
    delay: Annotated[float | None, typer.Option(help="Seconds between two requests.")] = None,
    ca_bundle: Bundle = None,
    selectors: Selectors = None,
) -> None:
    """Collect work pages: pages/ and works.jsonl; exit code 3 when too few fields are found."""
    with interruptible("crawl"):
        from crawler import crawl as stage

        config = common.layer(
            stage.CrawlConfig(),
            "crawl",
            seeds_file=seeds,
            seeds=tuple(address) if address else None,
            discover=discover,
            max_pages=max_pages,
            refresh_after_days=refresh_after,
            site=site,
            contact=contact,
            delay_s=delay,
            ca_bundle=ca_bundle,
            selectors=selectors,
        )
        useless = {
            "--seeds": seeds, "--address": address, "--discover": discover,
            "--max-pages": max_pages, "--refresh-after": refresh_after,
        }  # fmt: skip
        if reparse and (given := [flag for flag, value in useless.items() if value]):
            raise UserError(
                f"--reparse asks for no page, so {', '.join(given)} means nothing with it"
            )
        perform(common, "crawl", stage.reparse if reparse else stage.crawl, common.data, config)


@command(None, "earscribe import released music-text-data", group=imports)
def released(
    common: Common,
    folder: Annotated[Path, typer.Argument(help="The folder with the study's three files.")],
) -> None:
    """The 2022 study's texts and videos -> works.jsonl, with a count of every kind of anomaly.

    Into a folder of its own; a second import replaces the first.
    """
    from crawler.released import import_released

    perform(common, "import", import_released, common.data, folder)


@command(None, "earscribe import table captions.csv --text caption --url ytid", group=imports)
def table(
    common: Common,
    file: Annotated[Path, typer.Argument(help="CSV, TSV, JSONL or parquet, in UTF-8.")],
    text: Annotated[str, typer.Option(help="Column of the texts.")],
    url: Annotated[str | None, typer.Option(help="Column of addresses or YouTube ids.")] = None,
    audio: Annotated[
        str | None,
        typer.Option("--file", help="Column of audio files beside the table, instead of --url."),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(help="Column of begins: 75, 1:15 or 1m15s; default: t= of a YouTube address."),
    ] = None,
    end: Annotated[
        str | None, typer.Option(help="Column of ends; default: end= of a YouTube address.")
    ] = None,
    id_: Annotated[
        str | None, typer.Option("--id", help="Column that says which rows are of one work.")
    ] = None,
    title: Annotated[str | None, typer.Option(help="Column of titles.")] = None,
    composer: Annotated[str | None, typer.Option(help="Column of composers.")] = None,
    text_rights: Annotated[
        str | None, typer.Option(help="Licence of the texts: CC BY 4.0.")
    ] = None,
) -> None:
    """A table of your own, texts beside addresses or audio files -> pairs.parquet (pending).

    Rows of an earlier table of the same file name are replaced.
    """
    from dataset.tables import TableConfig, import_table

    config = TableConfig(
        text=text,
        url=url,
        file=audio,
        start=start,
        end=end,
        id=id_,
        title=title,
        composer=composer,
        text_rights=text_rights,
    )
    perform(common, "import", import_table, common.data, file, config)


@command(None, "earscribe import ids release", group=imports)
def ids(
    common: Common,
    source: Annotated[
        str,
        typer.Argument(help="What `earscribe export ids` wrote: a folder or file, or its address."),
    ],
) -> None:
    """A release of ids and facts: what to crawl or import, and what `validate` compares with."""
    from dataset.ids import import_ids

    perform(common, "import", import_ids, common.data, source)


@command(STAGES, "earscribe pair")
def pair(
    common: Common,
    explain: Annotated[
        str | None,
        typer.Option(
            metavar="WORK",
            help="Only show why each sentence of a work, or of a pair_id's work, has its movement.",
        ),
    ] = None,
    review: Annotated[
        int | None,
        typer.Option(metavar="N", help="Only show the N least sure texts of the index."),
    ] = None,
) -> None:
    """Give each text its movement and its recording: pairs.parquet.

    A person's corrections are read from overrides.csv in the data folder.
    """
    if explain is not None and review is not None:
        raise UserError("--explain looks at a work, --review at the index: give one of them")
    if explain is not None:
        explain_work(common, explain)
        return
    if review is not None:
        review_texts(common, review)
        return
    from dataset.pairing import PairConfig
    from dataset.pairing import pair as run

    config = common.layer(PairConfig(), "pair")
    perform(common, "pair", run, common.data, config)


@command(STAGES, "earscribe fetch --retry failed:network")
def fetch(
    common: Common,
    workers: Annotated[int | None, typer.Option(help="Downloads at a time.")] = None,
    cut_workers: Annotated[int | None, typer.Option(help="Recordings cut at a time.")] = None,
    limit: Annotated[int | None, typer.Option(help="Fetch so many recordings, no more.")] = None,
    retry: Annotated[
        str | None,
        typer.Option(help="failed, or failed:CLASS: these alone, permanent ones too."),
    ] = None,
    recheck_after: Annotated[
        float | None, typer.Option(help="Days after which a permanent failure is tried again.")
    ] = None,
    measures: Annotated[str | None, typer.Option(help="Of each clip: none, basic or full.")] = None,
    engine: Annotated[
        str | None, typer.Option(help="local: processes of this machine; ray: of a cluster.")
    ] = None,
    address: Annotated[
        str | None, typer.Option(help="Of the Ray cluster: HOST:PORT, or auto.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done: requests, hours, GB.")
    ] = False,
    allow_loopback: Annotated[
        bool | None, typer.Option("--allow-loopback", help="Fetch from this machine too.")
    ] = None,
) -> None:
    """Download each recording once and cut it per movement: clips/ and pairs.parquet."""
    from dataset.fetch import FetchConfig, plan
    from dataset.fetch import fetch as run

    config = common.layer(
        FetchConfig(), "fetch", workers=workers, cut_workers=cut_workers, limit=limit, retry=retry,
        recheck_after_days=recheck_after, measures=measures, engine=engine, address=address,
        allow_loopback=allow_loopback,
    )  # fmt: skip
    with interruptible("fetch"):
        perform(common, "fetch", plan if dry_run else run, common.data, config)


@command(STAGES, "earscribe validate --json")
def validate(
    common: Common,
    repair: Annotated[
        bool,
        typer.Option(
            "--repair",
            help="Send pairs whose clip or state is at fault back to pending, for `fetch`.",
        ),
    ] = False,
) -> None:
    """Check index, clips and splits; exit code 3 when something is missing or wrong."""
    from dataset.repair import repair as mend
    from dataset.validate import validate as run

    perform(common, "validate", mend if repair else run, common.data)


@command(STAGES, "earscribe split --where \"ensemble = 'quartet' AND duration_s > 150\"")
def split(
    common: Common,
    name: Annotated[str | None, typer.Option(help="The split's name.")] = None,
    where: Annotated[
        str | None, typer.Option(help="SQL predicate over the columns of the index.")
    ] = None,
    preset: Annotated[
        str | None, typer.Option(help="A named predicate: paper, clean or all.")
    ] = None,
    fractions: Annotated[
        str | None, typer.Option(help="Train, validation and test: 0.8,0.1,0.1.")
    ] = None,
    folds: Annotated[int | None, typer.Option(help="So many equal folds instead.")] = None,
    group: Annotated[
        str | None, typer.Option(help="What no part shares: composer, work or recording.")
    ] = None,
    method: Annotated[
        str | None,
        typer.Option(help="exact: sizes as asked; stable: new works move no other group."),
    ] = None,
    compat: Annotated[
        str | None, typer.Option(metavar="released", help="The folds of the 2022 study, leaks too.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the assignment.")] = None,
    pending: Annotated[
        bool | None,
        typer.Option("--pending", help="Also pairs without their clip yet, only to look at."),
    ] = None,
    leaks: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Only show what the parts of a split share."),
    ] = None,
) -> None:
    """Filter the index and part it so that no composer crosses: splits/<name>/."""
    if leaks is not None:
        show_leaks(common, leaks)
        return
    if compat not in (None, "released"):
        raise UserError(f"--compat {compat!r} is not known: give released")
    useless = {"--fractions": fractions, "--group": group, "--method": method, "--seed": seed}
    if compat and (given := [flag for flag, value in useless.items() if value is not None]):
        raise UserError(
            f"--compat takes the study's folds: {', '.join(given)} means nothing with it"
        )
    if folds is not None and fractions is not None:
        raise UserError("--folds are equal parts, --fractions are not: give one of them")
    from dataset.splits import STUDY_FOLDS, SplitConfig
    from dataset.splits import split as run

    config = common.layer(
        SplitConfig(), "split", name=name, where=where, preset=preset, fractions=fractions,
        folds=STUDY_FOLDS if compat and folds is None else folds, group=group,
        method=compat or method, seed=seed, pending=pending,
    )  # fmt: skip
    perform(common, "split", run, common.data, config)


@command(STAGES, "earscribe report")
def report(common: Common) -> None:
    """Make one self-contained page to look at and listen to: report.html."""
    from dataset.report import report as run

    perform(common, "report", run, common.data)


@command(STAGES, "earscribe export hf my-dataset --local")
def export(
    common: Common,
    form: Annotated[
        Form,
        typer.Argument(
            help="hf: for Hugging Face datasets. files: clips beside tables. ids: facts alone."
        ),
    ],
    target: Annotated[
        str, typer.Argument(help="The folder to write, or its address (s3://bucket/folder).")
    ],
    split: Annotated[str, typer.Option(help="The split to export (hf, files).")] = "default",
    local: Annotated[
        bool, typer.Option("--local", help="Include what may not be passed on (hf, files).")
    ] = False,
) -> None:
    """Write a split with its audio and a dataset card, or the ids of the index."""
    if form is Form.IDS:
        from dataset.export import export_ids_folder
        from dataset.ids import export_ids, is_file_name

        one_file = is_file_name(target)
        perform(
            common, "export", export_ids if one_file else export_ids_folder, common.data, target
        )
        return
    from dataset.export import export_files, export_hf

    stage = export_hf if form is Form.HF else export_files
    perform(common, "export", stage, common.data, target, split=split, local=local)


@command(STAGES, "earscribe train --preset tiny --split default")
def train(
    common: Common,
    preset: Annotated[str, typer.Option(help="The settings to start from.")] = "tiny",
    split: Annotated[str | None, typer.Option(help="The split to train on.")] = None,
    run: Annotated[str | None, typer.Option(help="Name of the run; default: the preset.")] = None,
    steps: Annotated[int | None, typer.Option(help="Updates.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of everything random.")] = None,
) -> None:
    """Train the captioner, or take up where a run stopped: runs/<run>/."""
    from model.config import PRESETS

    if preset not in PRESETS:
        raise UserError(f"no preset {preset!r}: give one of {', '.join(PRESETS)}")
    config = common.layer(PRESETS[preset], "train", split=split, steps=steps, seed=seed)
    from model.train import train as go

    perform(common, "train", go, common.data, config, run=run)


@command(STAGES, "earscribe evaluate --run data/corpus/runs/tiny")
def evaluate(
    common: Common,
    run: Annotated[Path, typer.Option(help="The folder of the run.")],
    part: Annotated[str, typer.Option(help="train, validation or test.")] = "test",
    checkpoint: Annotated[Which, typer.Option(help="Which of the run's checkpoints.")] = Which.BEST,
) -> None:
    """Score a run beside its controls: scores.json and captions.jsonl in the run's folder."""
    from model.config import GenerateConfig
    from model.evaluate import evaluate as go

    generate = common.layer(GenerateConfig(), "generate")
    perform(
        common,
        "evaluate",
        go,
        common.data,
        run,
        part=part,
        checkpoint=checkpoint.value,
        generate=generate,
    )


@command(STAGES, "earscribe caption quartet.webm --run data/corpus/runs/tiny")
def caption(
    common: Common,
    file: Annotated[Path, typer.Argument(help="Any audio file.")],
    run: Annotated[Path, typer.Option(help="The folder of the run.")],
    method: Annotated[str | None, typer.Option(help="greedy, beam or nucleus.")] = None,
    checkpoint: Annotated[Which, typer.Option(help="Which of the run's checkpoints.")] = Which.BEST,
) -> None:
    """Say in words what a recording sounds like."""
    from model.config import GenerateConfig
    from model.generate import caption as go

    generate = common.layer(GenerateConfig(), "generate", method=method)
    made = go(file, run, generate, checkpoint=checkpoint.value)
    typer.echo(json.dumps(dataclasses.asdict(made)) if common.as_json else made.text)


# --- around them ----------------------------------------------------------------------------


@command(AROUND, "earscribe probe page.html --url Josef-Suk-Piano-Quintet-in-g-minor-Op-8")
def probe(
    common: Common,
    page: Annotated[str, typer.Argument(help="A page's file, its address or its slug.")],
    url: Annotated[str | None, typer.Option(help="The address that a file came from.")] = None,
    save: Annotated[
        Path | None, typer.Option(help="Folder for the page and the work read from it.")
    ] = None,
    site: Site = None,
    contact: Contact = None,
    ca_bundle: Bundle = None,
    selectors: Selectors = None,
) -> None:
    """Look closely at one work page: each field, the method that found it, what was tried."""
    from crawler.crawl import CrawlConfig
    from crawler.probe import probe as look
    from crawler.probe import save_fixture

    config = common.layer(
        CrawlConfig(), "crawl", site=site, contact=contact, ca_bundle=ca_bundle, selectors=selectors
    )
    found = look(page, url=url, config=config)
    if save:
        for path in save_fixture(found, save):
            typer.echo(f"wrote {path}", err=True)
    if common.as_json:
        typer.echo(json.dumps(found.to_dict()))
    elif found.fields:
        show_rows(found.url, found.rows())
        for remark in found.remarks:
            typer.echo(f"remark: {remark}")
    if found.error:
        raise UserError(found.error)


@command(AROUND, "earscribe show 1fc59f5a51b6a5f9")
def show(
    common: Common,
    pair_id: Annotated[str, typer.Argument(help="The id of a pair, or its first 6 digits.")],
) -> None:
    """Look closely at one pair: its row, what was tried for it and when, its clip."""
    from dataset.closeup import find_pairs, look_closely

    found = find_pairs(common.data, pair_id)
    if len(found) > 1:
        keys = ("pair_id", "work_id", "movements", "status")
        rows = [{key: getattr(pair, key) for key in keys} for pair in found]
        if common.as_json:
            typer.echo(json.dumps({"matches": rows}))
        else:
            show_rows(pair_id, rows, wrap=True)
        raise UserError(f"{len(found)} pairs begin with {pair_id!r}: give more of its digits")
    seen = look_closely(common.data, found[0])
    if common.as_json:
        typer.echo(json.dumps(seen.to_dict()))
        return
    show_rows(found[0].pair_id, seen.rows(), wrap=True)
    if seen.history:
        show_rows("history", list(seen.history), wrap=True)
    else:
        say("history: nothing has been tried for it yet")
    there = "" if seen.is_there else " (not there)"
    typer.echo(f"clip: {seen.clip}{there}" if seen.clip else "clip: none yet")


@command(AROUND, "earscribe status")
def status(common: Common) -> None:
    """Show how far each stage has come, how fast, what is left and what took long."""
    from model.status import status as look

    found = look(common.data)
    if not any(found.values()):
        raise UserError(
            f"nothing has been run on {common.data} yet: begin with `earscribe crawl` "
            "or `earscribe import`"
        )
    if common.as_json:
        typer.echo(json.dumps({"data": str(common.data), **found}))
        return
    titles = {
        "items": str(common.data),
        "rates": "rates of the last hour",
        "slowest": "the slowest",
        "made": "made of them",
    }
    for row in found["rates"]:
        left_s = row.pop("left_s")
        row["time_left"] = None if left_s is None else str(timedelta(seconds=left_s))
    for name, title in titles.items():
        if found[name]:
            show_rows(title, found[name], wrap=True)


@command(AROUND, "earscribe doctor --contact you@example.org")
def doctor(
    common: Common,
    online: Annotated[
        bool, typer.Option("--online", help="Also ask the site: one HEAD of its robots.txt.")
    ] = False,
    site: Site = None,
    contact: Contact = None,
    ca_bundle: Bundle = None,
) -> None:
    """Check whether this machine is ready: a line a check; exit code 1 when one failed."""
    from crawler.crawl import CrawlConfig
    from dataset.doctor import Verdict
    from dataset.doctor import doctor as look

    config = common.layer(CrawlConfig(), "crawl", site=site, contact=contact, ca_bundle=ca_bundle)
    checks = look(common.data, config, online=online)
    failed = any(one.verdict is Verdict.FAILURE for one in checks)
    rows = [dataclasses.asdict(one) for one in checks]
    if common.as_json:
        typer.echo(json.dumps({"data": str(common.data), "ok": not failed, "checks": rows}))
    else:
        show_rows(f"{common.data}", rows, wrap=True)
    if failed:
        raise typer.Exit(MENDABLE)


@command(AROUND, "earscribe clean --dry-run")
def clean(
    common: Common,
    clips: Annotated[
        bool, typer.Option("--clips", help="Also clips that no index and no split names.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only tell what would be deleted.")
    ] = False,
) -> None:
    """Delete recordings whose clips are all there and whole, and what killed runs left."""
    with interruptible("clean"):
        from dataset.fetch import FetchConfig
        from dataset.leftovers import clean as run

        config = common.layer(FetchConfig(), "fetch")
        perform(common, "clean", run, common.data, config, clips=clips, dry_run=dry_run)


@command(WHOLE, "earscribe build --config earsense.toml")
def build(
    common: Common,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what it would take: requests, hours, GB.")
    ] = False,
) -> None:
    """Crawl or import, pair, fetch, validate, split and report, as one TOML file says.

    Stopped at any point, the same command goes on. earsense.toml and demo.toml are shipped.
    """
    if not common.toml:
        raise UserError("build wants --config FILE: earsense.toml, demo.toml or one of your own")
    with interruptible("build"):
        from dataset.build import BuildConfig, build_config, keep, plan, refuse, stages
        from demo.run import built_from

        config = build_config(BuildConfig(), common.toml)
        refuse(config)
        if dry_run:
            rows = plan(common.data, config)
            if common.as_json:
                typer.echo(json.dumps({"data": str(common.data), "plan": rows}))
            else:
                show_rows(f"{common.data}: what it would take", rows, wrap=True)
            return
        with built_from(common.data, config) as config:
            keep(common.data, config)
            run_all(common, stages(common.data, config))


@command(WHOLE, "earscribe demo", data=Path("data/demo-run"))
def demo(
    common: Common,
    serve: Annotated[
        bool, typer.Option("--serve", help="Only serve the replica, until Ctrl-C.")
    ] = False,
    port: Annotated[int, typer.Option(help="Port of the replica, on this machine only.")] = 8421,
    steps: Annotated[int | None, typer.Option(help="Updates of the training.")] = None,
) -> None:
    """Run every stage on a local replica of the site, from its pages to a scored captioner."""
    from demo.run import demo_config, journey, run_folder, serve_forever

    if serve:
        serve_forever(port, announce=typer.echo)
        return
    config = demo_config(common.toml, steps)
    for name, work in journey(common.data, config, port=port):
        perform(common, name, work)
    if not common.as_json:
        typer.echo(f"Report: {common.data / 'report.html'}")
        typer.echo(f"Run:    {run_folder(common.data, config)}")


if __name__ == "__main__":
    app()
