"""A movement in several files: each is fetched, and they become one source."""

import re
from pathlib import Path

from crawler.files import sha256_file
from dataset.decoding import join, probe
from dataset.sources import Source, SourceConfig, fetch_source

BETWEEN = re.compile(r" (?=https?://)")  # addresses in a pair's source_url


def addresses(url: str) -> list[str]:
    """The addresses of the files of one source, in the order of the music."""
    return BETWEEN.split(url)


def fetch_joined(url: str, target_stem: Path, config: SourceConfig) -> Source:
    """Fetch the files of `url` as `fetch_source` does, and join them into one FLAC file.

    It is whole or not at all: SourceError or AudioError of the first file that cannot be had or
    does not decode. It has no chapters, and a licence only if all the files have the same.
    """
    parts = [
        fetch_source(address, target_stem.with_name(f"{target_stem.name}-{number}"), config)
        for number, address in enumerate(addresses(url), start=1)
    ]
    heard = [probe(part.path) for part in parts]
    target = target_stem.with_name(f"{target_stem.name}.flac")
    channels = min(2, max(one.channels for one in heard))
    join([part.path for part in parts], target, heard[0].sample_rate, channels)
    for part in parts:
        part.path.unlink()
    licences = {part.licence for part in parts}
    return Source(
        path=target,
        sha256=sha256_file(target),
        duration_s=sum(one.duration_s for one in heard),
        title=parts[0].title,
        chapters=(),
        description="",
        format="+".join(part.format for part in parts),
        licence=licences.pop() if len(licences) == 1 else None,
        tools=parts[0].tools,
    )
