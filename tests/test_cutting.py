"""Cutting against tones whose every sample is known."""

import errno
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import av
import numpy as np
import pytest
import soundfile as sf
from made_audio import CODECS, FRAME_S, make_media, onsets_s
from numpy.typing import NDArray

from crawler.errors import UserError
from dataset.clips import Cut, CutConfig, Span, writing
from dataset.cutting import cut
from dataset.decoding import AudioError, as_frame, load_segment
from dataset.measures import measure
from dataset.pairs import ErrorClass


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_media(tmp_path_factory.mktemp("media"))


def cut_ok(source: Path, spans: list[Span], folder: Path) -> list[tuple[Cut, NDArray[np.float32]]]:
    targets = [folder / f"{n}.flac" for n in range(len(spans))]
    found = []
    for done, target in zip(cut(source, spans, targets, CutConfig()), targets, strict=True):
        assert isinstance(done, Cut), done
        samples, rate = sf.read(target, dtype="float32")
        assert rate == 16_000
        assert sf.info(target).subtype == "PCM_16"
        assert len(samples) == round((done.actual_end_s - done.actual_start_s) * rate)
        found.append((done, samples))
    return found


@pytest.mark.parametrize("name", CODECS)
def test_clips_begin_and_end_where_they_are_asked_to(
    media: Path, tmp_path: Path, name: str
) -> None:
    (first, a), (second, b) = cut_ok(media / name, [Span(1.5, 4.5), Span(6.75, 9.25)], tmp_path)
    assert (first.actual_start_s, first.actual_end_s) == (1.5, 4.5)
    assert (second.actual_start_s, second.actual_end_s) == (6.75, 9.25)
    assert onsets_s(a, 16_000) == pytest.approx([0.52, 1.53, 2.54], abs=FRAME_S)
    assert onsets_s(b, 16_000) == pytest.approx([0.32, 1.33, 2.34], abs=FRAME_S)


@pytest.mark.parametrize("name", CODECS)
def test_neighbours_neither_overlap_nor_lose_a_sample(
    media: Path, tmp_path: Path, name: str
) -> None:
    whole, *pieces = cut_ok(
        media / name,
        [Span(0, None), Span(0, 3.33337), Span(3.33337, 7.1), Span(7.1, None)],
        tmp_path,
    )
    assert np.array_equal(whole[1], np.concatenate([samples for _, samples in pieces]))
    assert len(whole[1]) / 16_000 == pytest.approx(12.0, abs=2 * FRAME_S)


def test_an_impulse_stays_at_its_sample(tmp_path: Path) -> None:
    """The resampler adds no delay: 44.1 kHz, 2 s in, is sample 32,000 at 16 kHz."""
    wave = np.zeros(44_100 * 3, dtype=np.float32)
    wave[88_200] = 0.9
    sf.write(tmp_path / "i.wav", wave, 44_100, subtype="FLOAT")
    ((_, samples),) = cut_ok(tmp_path / "i.wav", [Span(1.0, 2.5)], tmp_path)
    assert int(np.argmax(np.abs(samples))) == 16_000


def test_a_span_beyond_the_end_fails_alone(media: Path, tmp_path: Path) -> None:
    targets = [tmp_path / "a.flac", tmp_path / "b.flac"]
    found = cut(media / "a.webm", [Span(50.0, 60.0), Span(1.0, 2.0)], targets, CutConfig())
    assert isinstance(found[0], AudioError)
    assert found[0].error_class is ErrorClass.BAD_BOUNDS
    assert isinstance(found[1], Cut)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"sample_rate": 10}, "sample_rate 10 is not in 8000..192000 Hz"),
        ({"trim_silence_s": -1.0}, "trim_silence_s -1.0 is not in 0..60 s"),
        ({"fade_s": float("nan")}, "fade_s nan is not in 0..60 s"),
        ({"loudness_lufs": 3.0}, "loudness_lufs 3.0 is not in -50..-5 LUFS"),
        ({"codec": "opus", "sample_rate": 44_100}, "sample_rate 44100: Opus has one of 8000, 12"),
        ({"backend": "ffmpeg"}, "backend 'ffmpeg' lacks the command ffmpeg: install"),
        ({"backend": "pydub"}, "backend 'pydub' lacks the "),
    ],
)
def test_settings_that_make_no_clip_are_refused(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, Any], said: str
) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UserError) as caught:
        CutConfig(**given)
    assert str(caught.value).startswith(f"fetch.cut.{said}")


def test_a_clip_is_the_same_whatever_is_cut_with_it(media: Path, tmp_path: Path) -> None:
    for name in CODECS:
        spans = [Span(0.0, 5.0), Span(6.1, 9.7), Span(7.0, None)]
        together = cut_ok(media / name, spans, tmp_path)
        for span, (done, samples) in zip(spans, together, strict=True):
            ((alone, same),) = cut_ok(media / name, [span], tmp_path)
            assert alone == done
            assert np.array_equal(samples, same), (name, span)


def test_a_clip_cannot_begin_before_the_sound_does(tmp_path: Path) -> None:
    """The pictures begin at 0, the sound half a second later."""
    with av.open(tmp_path / "late.mkv", "w") as container:
        pictures = container.add_stream("mpeg4", rate=10)
        pictures.width = pictures.height = 32
        sound = container.add_stream("pcm_s16le", rate=16_000, layout="mono")
        for _ in range(30):
            picture = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8))
            container.mux(pictures.encode(picture))
        container.mux(pictures.encode(None))
        noise = np.random.default_rng(1).integers(-9_000, 9_000, (32_000, 1), dtype=np.int16)
        container.mux(sound.encode(as_frame(noise, 16_000, at=8_000)))
        container.mux(sound.encode(None))
    (done, samples), (later, rest) = cut_ok(
        tmp_path / "late.mkv", [Span(0.0, 1.0), Span(1.0, 1.5)], tmp_path
    )
    assert (done.actual_start_s, done.actual_end_s) == (0.5, 1.0)
    assert np.array_equal(np.round(samples * 32_768), noise[:8_000, 0])
    assert (later.actual_start_s, later.actual_end_s) == (1.0, 1.5)
    assert np.array_equal(np.round(rest * 32_768), noise[8_000:16_000, 0])


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("codec", ["flac", "opus", "wav"])
def test_a_clip_of_every_form_holds_every_sample(
    media: Path, tmp_path: Path, codec: Literal["flac", "opus", "wav"], channels: Literal[1, 2]
) -> None:
    config = CutConfig(codec=codec, channels=channels, sample_rate=24_000)
    target = tmp_path / f"clip.{codec}"
    for _ in range(2):
        [done] = cut(media / "a.wav", [Span(1.5, 4.5)], [target], config)
    assert isinstance(done, Cut)
    assert measure(target).num_samples == 72_000
    samples = load_segment(target, sample_rate=24_000)
    assert onsets_s(samples, 24_000) == pytest.approx([0.52, 1.53, 2.54], abs=0.003)
    part = load_segment(target, sample_rate=24_000, start_s=1.5, duration_s=0.25)
    assert np.abs(part - samples[36_000:42_000]).max() < 0.01
    decoded = load_segment(target, sample_rate=8_000)  # not as libsndfile reads it
    assert onsets_s(decoded, 8_000) == pytest.approx([0.52, 1.53, 2.54], abs=0.003)
    again = tmp_path / f"again.{codec}"
    cut(media / "a.wav", [Span(1.5, 4.5)], [again], config)
    assert again.read_bytes() == target.read_bytes()


def test_levels_that_are_not_asked_for_are_not_measured(media: Path, tmp_path: Path) -> None:
    [done] = cut(media / "a.m4a", [Span(1, 3)], [tmp_path / "a.flac"], CutConfig(), levels=False)
    assert done == Cut(1.0, 3.0, None, None)


@pytest.mark.parametrize(("free", "number"), [(1_000, errno.ENOSPC), (10**9, errno.EIO)])
def test_a_disk_that_takes_no_more_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, number: int
) -> None:
    """libsndfile only says "System error": a full disk is told by what is left on it."""
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    with pytest.raises(OSError) as caught, writing(Path("/dev/full"), "flac", 16_000, 1) as write:
        for _ in range(9):
            write(np.random.default_rng(1).integers(-9_000, 9_000, (65_536, 1), dtype=np.int16))
    assert caught.value.errno == number
