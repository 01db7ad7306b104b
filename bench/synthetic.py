"""A site of any size for the crawl's bench: works and articles made from their numbers."""

import re
from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import urlsplit

from crawler.items import Movement, Note, Part, Person, Recording, Work
from demo.faults import Answer, html_answer
from demo.markup import markup_of, render_article, render_work
from demo.site import Corpus

MOVEMENTS = ("Allegro con brio", "Andante", "Menuetto. Allegretto", "Finale. Presto")
WORK = re.compile(r"/chamber-music/Bench-Quartet-No-(\d{5})/")
ARTICLE = re.compile(r"/article/Bench-Article-(\d{5})/")
PROSE = (
    "The {name} begins with a quiet figure in the cello, which the violins take up one after the "
    "other and carry through number {number} of the series. A second idea, broader and brighter, "
    "stands against it, and the two of them share the middle of the movement."
)


class Synthetic(Corpus):
    """A corpus that makes a page when it is asked for; it holds no works and reads no file."""

    def answer(self, target: str, address: str) -> Answer:
        """The page of a number, or what an empty corpus answers."""
        path = urlsplit(target).path
        if found := WORK.fullmatch(path):
            return work_answer(int(found[1]))
        if found := ARTICLE.fullmatch(path):
            return article_answer(int(found[1]))
        return super().answer(target, address)


def seeds(pages: int, articles: int = 0) -> Iterable[str]:
    """The paths of works and articles, a page each."""
    yield from (f"/chamber-music/Bench-Quartet-No-{number:05}/" for number in range(pages))
    yield from (f"/article/Bench-Article-{number:05}/" for number in range(articles))


@lru_cache(maxsize=4096)
def work_answer(number: int) -> Answer:
    """The page of a work; the same number gives the same bytes."""
    work = bench_work(number)
    return html_answer(render_work(work, markup_of(work.work_id)))


@lru_cache(maxsize=4096)
def article_answer(number: int) -> Answer:
    """The page of an article."""
    text = "\n\n".join(PROSE.format(name=name, number=number) for name in MOVEMENTS)
    return html_answer(render_article({"title": f"Bench article {number}", "text": text}))


def bench_work(number: int) -> Work:
    """A string quartet with four movements, three recordings of four videos, and two notes."""
    slug = f"Bench-Quartet-No-{number:05}"
    text = "\n\n".join(PROSE.format(name=name, number=number) for name in MOVEMENTS)
    return Work(
        work_id=slug,
        page_url=f"/chamber-music/{slug}/",
        composer=Person(name="Bench Composer", birth_year=1806, death_year=1851),
        title=f"String Quartet No. {number + 1} in d minor",
        key="d minor",
        instrumentation="2 violins, viola and cello",
        movements=tuple(
            Movement(number=index, name=name, typical_s=300 + index)
            for index, name in enumerate(MOVEMENTS, start=1)
        ),
        facts={"Composed": "1824 (age 18)", "Duration": "25 minutes (approximately)"},
        recordings=tuple(bench_recording(number, take) for take in range(3)),
        notes=(
            Note(source="Bench Catalogue", text=text, credit="Made for measurements."),
            Note(source="Bench Essays", text=text),
        ),
        related=("Another Composer", "A Third"),
    )


def bench_recording(number: int, take: int) -> Recording:
    """Four videos, a movement each."""
    parts = tuple(
        Part(
            video_id=f"b{number:05}{take}{index:04}{index}",
            youtube_id=f"b{number:05}{take}{index:04}",
            url="",
            movement=index,
            duration_s=300.0 + take,
            name=name,
        )
        for index, name in enumerate(MOVEMENTS, start=1)
    )
    players = (f"Bench Quartet {take + 1}",)
    return Recording(recording_id=parts[0].video_id, performers=players, parts=parts)
