"""What the documents say of the project is so."""

import re
from pathlib import Path

import pytest

from dataset.schema import COLUMNS

ROOT = Path(__file__).parent.parent


def test_the_columns_are_all_described() -> None:
    text = (ROOT / "data" / "README.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    assert rows == [
        f"| `{c.name}` | {c.type}{'' if c.nullable else ', never null'} | {c.unit} | {c.meaning} |"
        for c in COLUMNS
    ]


def test_every_promise_names_tests_that_exist_or_is_open() -> None:
    text = (ROOT / "docs" / "contract.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \|.*\| (.*) \|$", text, re.M)
    assert [int(number) for number, _ in rows] == list(range(1, len(rows) + 1))
    assert len(rows) >= 14
    for number, held in rows:
        named = re.findall(r"`(test_\w+)::(test_\w+)`", held)
        assert named or "**open**" in held, f"promise {number} names no test and is not open"
        for module, test in named:
            source = (ROOT / "tests" / f"{module}.py").read_text(encoding="utf-8")
            assert f"def {test}(" in source, f"{module} has no {test}"


@pytest.mark.parametrize(
    "page", ["README.md", *sorted(p.name for p in (ROOT / "docs").glob("*.md"))]
)
def test_links_lead_somewhere(page: str) -> None:
    path = ROOT / page if page == "README.md" else ROOT / "docs" / page
    for target in re.findall(r"\]\(([^)#:]+)\)", path.read_text(encoding="utf-8")):
        assert (path.parent / target).exists(), f"{page} links to {target}"
