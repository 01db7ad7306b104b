"""The backends against each other, and the command against what it may do."""

import os
import re
import sys
import time
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import soundfile as sf
from made_audio import CODECS, FRAME_S, LENGTH_S, make_media, onsets_s, put_ffmpeg_on_path
from numpy.typing import NDArray

from dataset.backends import tools
from dataset.clips import Cut, CutConfig, Span
from dataset.cutting import cut
from dataset.decoding import AudioError
from dataset.pairs import ErrorClass

Backend = Literal["pyav", "ffmpeg", "pydub"]
SPANS = [Span(0.0, 3.33337), Span(3.33337, 7.1), Span(6.75, 9.25), Span(9.25, None)]
BEYOND = Span(50.0, 60.0)


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_media(tmp_path_factory.mktemp("media"))


@pytest.fixture(params=["ffmpeg", "pydub"])
def other(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Backend:
    put_ffmpeg_on_path(tmp_path, monkeypatch)
    if request.param == "pydub":
        pytest.importorskip("pydub")
    return request.param


def pieces(
    source: Path, folder: Path, backend: Backend
) -> tuple[list[Cut | AudioError], list[NDArray[np.int16]]]:
    targets = [folder / f"{backend}-{n}.flac" for n in range(len(SPANS) + 1)]
    done = cut(source, [*SPANS, BEYOND], targets, CutConfig(backend=backend))
    return done, [sf.read(target, dtype="int16")[0] for target in targets[:-1]]


@pytest.mark.parametrize("name", CODECS)
def test_every_backend_gives_the_same_samples(
    media: Path, tmp_path: Path, other: Backend, name: str
) -> None:
    """But for where the last frame ends, and for a decoder's samples made 16 bits before ours."""
    done, samples = pieces(media / name, tmp_path, "pyav")
    found, others = pieces(media / name, tmp_path, other)
    for ours, theirs in zip(samples, others, strict=True):
        length = min(len(ours), len(theirs))
        assert max(len(ours), len(theirs)) - length <= FRAME_S * 16_000
        assert np.abs(ours[: length - 32].astype(int) - theirs[: length - 32]).max() <= 2
    assert found[:-2] == done[:-2]
    assert isinstance(found[-1], AudioError)
    assert found[-1].error_class is ErrorClass.BAD_BOUNDS


@pytest.mark.parametrize("name", CODECS)
def test_the_spans_of_every_container_lie_where_they_are_asked_for(
    media: Path, tmp_path: Path, name: str
) -> None:
    """Every click where it was put, to a millisecond but for what the codec smears."""
    _, samples = pieces(media / name, tmp_path, "pyav")
    for span, clip in zip(SPANS, samples, strict=True):
        clicks = [1.01 * n - span.start_s for n in range(LENGTH_S)]
        length_s = len(clip) / 16_000
        inside = [at for at in clicks if 0.01 <= at <= length_s - 0.01]
        heard = [at for at in onsets_s(clip / 32_768, 16_000) if at > 0.005]
        assert heard == pytest.approx(inside, abs=0.003)


def test_a_name_that_looks_like_an_option_or_a_protocol_is_a_name(
    media: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other: Backend
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("-i.webm", "http:x.webm", "concat:a%20b|c#d.webm", "a b'c;[0].webm"):
        Path(name).write_bytes((media / "a.webm").read_bytes())
        target = Path(f"{name}.flac")
        [done] = cut(Path(name), [Span(1.0, 2.0)], [target], CutConfig(backend=other))
        assert isinstance(done, Cut), name
        assert sf.info(str(target.absolute())).frames == 16_000


def test_a_source_that_does_not_decode_is_refused(tmp_path: Path, other: Backend) -> None:
    (tmp_path / "text.m4a").write_text("<html>")
    with pytest.raises(AudioError, match=r"text\.m4a") as caught:
        cut(tmp_path / "text.m4a", [Span(0, 1)], [tmp_path / "a.flac"], CutConfig(backend=other))
    assert caught.value.error_class is ErrorClass.NOT_MEDIA


def fake_ffmpeg(folder: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    """A command that does what `body` says."""
    command = folder / "ffmpeg"
    command.write_text(f"#!{sys.executable}\nimport os, sys, time\n{body}\n")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


def test_what_the_command_says_last_is_told(
    media: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    after_some = "os.write(1, bytes(3001)); "
    for body, said in (
        ("sys.exit('out of luck')", "out of luck"),
        (after_some + "sys.exit('out of luck')", "out of luck"),
        (after_some + "os.kill(os.getpid(), 9)", "killed by SIGKILL"),
        (after_some + "os.kill(os.getpid(), 11)", "SIGSEGV"),
    ):
        fake_ffmpeg(tmp_path, monkeypatch, body)
        with pytest.raises(AudioError, match=rf"^a\.m4a: ffmpeg(:| was) {said}$"):
            cut(media / "a.m4a", [Span(0, 1)], [tmp_path / "a.flac"], CutConfig(backend="ffmpeg"))


def test_the_command_runs_in_our_process_group_and_ends_with_the_last_span(
    media: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its group is ours, so that who kills ours kills it; an endless one is stopped."""
    said = tmp_path / "said"
    fake_ffmpeg(
        tmp_path,
        monkeypatch,
        f"open({str(said)!r}, 'w').write(f'{{os.getpgrp()}} {{os.getpid()}}')\n"
        "while True: os.write(1, bytes(65536))",
    )
    begun_s = time.monotonic()
    [done] = cut(media / "a.m4a", [Span(1, 2)], [tmp_path / "a.flac"], CutConfig(backend="ffmpeg"))
    assert isinstance(done, Cut)
    assert time.monotonic() - begun_s < 20
    group, number = map(int, said.read_text().split())
    assert group == os.getpgrp()
    with pytest.raises(ProcessLookupError):
        os.kill(number, 0)


def test_the_versions_of_what_cuts_are_known(other: Backend) -> None:
    tools.cache_clear()
    found = tools(other)
    assert {"av", "soundfile", "ffmpeg"} <= found.keys()
    assert ("pydub" in found) == (other == "pydub")
    assert all(re.search(r"\d", version) for version in found.values())
    assert tools("pyav").keys() == {"av", "soundfile"}
