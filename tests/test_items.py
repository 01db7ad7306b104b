"""Works on disk."""

import json
from pathlib import Path

import pytest

from crawler.errors import SchemaVersionError, UserError
from crawler.items import (
    Movement,
    Note,
    Part,
    Person,
    Recording,
    Work,
    read_works,
    write_works,
)

WORK = Work(
    work_id="Ana-Alba-Duo-No-1",
    page_url="https://example.org/Ana-Alba-Duo-No-1/",
    composer=Person(name="Ana Alba", birth_year=1801),
    title="Duo No. 1",
    movements=(Movement(number=1, name="Allegro", typical_s=61),),
    facts={"Composed": "1830"},
    recordings=(
        Recording(
            recording_id="x",
            performers=("A", "B"),
            parts=(Part(video_id="x", youtube_id=None, url="/x", movement=1, end_s=3.5),),
        ),
    ),
    notes=(Note(source="Somebody", text="One line.\n\nAnother\u2028one <b>.", credit="©"),),
)


def test_works_come_back_in_the_order_of_their_ids(tmp_path: Path) -> None:
    import dataclasses

    other = dataclasses.replace(WORK, work_id="A")
    assert write_works(tmp_path / "works.jsonl", [WORK, other]) == 2
    assert read_works(tmp_path / "works.jsonl") == [other, WORK]


def test_missing_other_and_damaged_files_are_told_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "works.jsonl"
    with pytest.raises(UserError, match="run `earscribe crawl`"):
        read_works(path)
    path.write_text(json.dumps({"earscribe_works": 99}) + "\n")
    with pytest.raises(SchemaVersionError, match="works version 99"):
        read_works(path)
    for damage in ("", "no json\n", '["a list"]\n'):
        path.write_text(damage)
        with pytest.raises(UserError, match="not a works file"):
            read_works(path)
    write_works(path, [WORK])
    path.write_text(path.read_text()[:-40])
    with pytest.raises(UserError, match="line 2"):
        read_works(path)
