"""The layout of the project and its one direction of imports."""

import ast
import re
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# The reading order: a module imports only from modules above it.
ORDER = """
crawler.errors crawler.files crawler.items crawler.summary crawler.console crawler.draining
crawler.ledger crawler.options crawler.commands
crawler.urls crawler.references crawler.visible crawler.grammar crawler.prose crawler.regions
crawler.playlist crawler.pages crawler.articles crawler.pagestore
crawler.pipelines crawler.reader crawler.holdings crawler.artifacts crawler.accounting
crawler.connection crawler.settings
crawler.spiders.earsense crawler.crawl crawler.probe
crawler.records crawler.studyfiles crawler.anomalies crawler.released
dataset.pairs dataset.schema dataset.filters dataset.groups dataset.index dataset.parts
dataset.neartexts dataset.tags dataset.cleaning dataset.sentences dataset.evidence
dataset.alignment dataset.captions
dataset.cells dataset.overrides dataset.doubts dataset.recordings dataset.pairing dataset.explain
dataset.missing dataset.tables dataset.budget dataset.workers
dataset.failures dataset.access dataset.partial dataset.downloader dataset.sources
dataset.decoding dataset.fingerprint dataset.measures dataset.clips dataset.shaping
dataset.backends dataset.cutting dataset.timelists dataset.bounds dataset.duplicates
dataset.tasks dataset.preload dataset.cluster dataset.engines dataset.rows dataset.jobs
dataset.schedule
dataset.fetch dataset.closeup dataset.leftovers dataset.dealing dataset.splits
dataset.places dataset.contents dataset.ids
dataset.findings dataset.splitchecks dataset.validate dataset.repair
dataset.hypertext dataset.plots dataset.samples dataset.facts dataset.report dataset.build
dataset.card dataset.croissant dataset.hf dataset.plainfiles dataset.export dataset.doctor
model.config model.torchaudio_import model.features model.tokenizer model.similarity
model.network model.losses model.momentum model.examples model.objective model.runs
model.checkpoint model.generate model.metrics model.controls model.train model.evaluate model.status
demo.render demo.markup demo.faults demo.site demo.run
cli
""".split()

ONLY_IN = {  # package -> the modules that may import it
    "torch": ("model.",),
    "torchaudio": ("model.",),
    "transformers": ("model.",),
    "scrapy": (
        "crawler.spiders.",
        "crawler.crawl",
        "crawler.pipelines",
        "crawler.settings",
        "crawler.connection",
    ),
    "yt_dlp": ("dataset.downloader", "dataset.sources"),
    "sqlite3": ("crawler.ledger", "crawler.artifacts"),
    "av": (
        "dataset.decoding",
        "dataset.measures",
        "dataset.clips",
        "dataset.backends",
        "dataset.plots",
        "demo.render",
    ),
    "pydub": ("dataset.backends",),
    "pyarrow": ("dataset.",),
    "fsspec": ("dataset.places",),
}


def module_path(name: str) -> Path:
    return ROOT / (name.replace(".", "/") + ".py")


def imports(path: Path) -> set[str]:
    """Every module that a file imports, wherever in the file."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


def test_every_module_has_its_place_in_the_order() -> None:
    packages = ("crawler", "dataset", "model", "demo")
    files = [path for package in packages for path in (ROOT / package).rglob("*.py")]
    names = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in files
        if path.name != "__init__.py"
    }
    assert names | {"cli"} == set(ORDER)


def test_no_two_modules_share_a_file_name() -> None:
    names = [name.rsplit(".", 1)[-1] for name in ORDER]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("name", ORDER)
def test_imports_go_one_way(name: str) -> None:
    above = set(ORDER[: ORDER.index(name)])
    own = imports(module_path(name)).intersection(ORDER)
    assert own <= above, f"{name} imports {sorted(own - above)}, which come after it"


@pytest.mark.parametrize("name", ORDER)
def test_the_world_is_met_once(name: str) -> None:
    tops = {imported.split(".")[0] for imported in imports(module_path(name))}
    for package, allowed in ONLY_IN.items():
        if package in tops:
            assert name.startswith(allowed), f"{name} imports {package}"


def test_package_files_are_empty() -> None:
    for package in ("crawler", "crawler/spiders", "dataset", "model", "demo"):
        assert (ROOT / package / "__init__.py").read_text() == ""


def test_the_readme_tree_names_every_module_in_the_same_order() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    places = []
    for name in ORDER:
        line = re.search(rf"^\s*(spiders/)?{name.rsplit('.', 1)[-1]}\.py\s+\S", readme, re.M)
        assert line, f"README.md's tree has no line for {name}"
        places.append(line.start())
    for (first, earlier), (second, later) in pairwise(zip(ORDER, places, strict=True)):
        assert earlier < later, f"README.md's tree lists {second} before {first}"


def test_every_module_says_in_one_sentence_what_it_holds() -> None:
    for name in ORDER:
        docstring = ast.get_docstring(ast.parse(module_path(name).read_text(encoding="utf-8")))
        assert docstring and docstring.splitlines()[0].endswith("."), name
