"""Decoding, cutting and measuring against tones whose every sample is known."""

import hashlib
import itertools
import math
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile as sf
from numpy.typing import NDArray

from crawler.errors import UserError
from dataset.audio import AudioError, Cut, CutConfig, Span, cut, join, load_segment, measure, probe
from dataset.schema import ErrorClass

FRAME_S = 0.025  # one codec frame
CODECS = {
    "a.webm": ("libopus", 48_000),
    "a.m4a": ("aac", 44_100),
    "a.ogg": ("libopus", 48_000),
    "a.mp3": ("libmp3lame", 44_100),
}
Wave = NDArray[np.float32]


def clicks(seconds: int, rate: int) -> Wave:
    """A 10-ms tone every 1.01 s, so that its place in a second tells which: (2, num_samples)."""
    wave = np.zeros(seconds * rate, dtype=np.float32)
    burst = np.arange(rate // 100) / rate
    for second in range(seconds):
        at = round(second * 1.01 * rate)
        wave[at : at + len(burst)] = 0.8 * np.sin(2 * np.pi * 1000 * burst)
    return np.stack([wave, wave])


def encode(path: Path, codec: str, wave: Wave, rate: int) -> None:
    with av.open(path, "w") as container:
        stream = container.add_stream(codec, rate=rate, layout="stereo")
        stream.bit_rate = 96_000
        frame = av.AudioFrame.from_ndarray(wave, format="fltp", layout="stereo")
        frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
        fits = av.AudioResampler(format=stream.codec_context.format.name)
        for piece in fits.resample(frame):
            container.mux(stream.encode(piece))
        container.mux(stream.encode(None))


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("media")
    for name, (codec, rate) in CODECS.items():
        encode(folder / name, codec, clicks(12, rate), rate)
    return folder


def onsets_s(samples: NDArray[np.float32], rate: int) -> list[float]:
    loud = np.flatnonzero(np.abs(samples) > 0.15)
    return [
        loud[0] / rate,
        *(b / rate for a, b in itertools.pairwise(loud) if b - a > 4000),
    ]


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


def test_loudness_and_peak_of_a_calibrated_tone(tmp_path: Path) -> None:
    """EBU Tech 3341, case 1: a stereo 1-kHz tone at -23 dBFS is -23 LUFS."""
    at = np.arange(48_000 * 20) / 48_000
    tone = 10 ** (-23 / 20) * np.sin(2 * np.pi * 1000 * at)
    sf.write(tmp_path / "t.wav", np.stack([tone, tone], axis=1), 48_000, subtype="FLOAT")
    ((done, _),) = cut_ok(tmp_path / "t.wav", [Span(0.0, None)], tmp_path)
    assert done.loudness_lufs == pytest.approx(-23.0, abs=0.1)
    assert done.true_peak_dbtp == pytest.approx(-23.0, abs=0.1)
    sf.write(tmp_path / "s.wav", np.zeros(48_000), 48_000)
    ((silent, _),) = cut_ok(tmp_path / "s.wav", [Span(0.0, None)], tmp_path)
    assert (silent.loudness_lufs, silent.true_peak_dbtp) == (None, None)


def test_measures_of_a_clip_made_by_hand(tmp_path: Path) -> None:
    rate = 16_000
    tone = np.round(16_384 * np.sin(2 * np.pi * 1000 * np.arange(rate) / rate)).astype(np.int16)
    clip = np.concatenate([np.zeros(rate // 2, np.int16), tone, np.zeros(rate // 4, np.int16)])
    clip[rate] = 32_767
    sf.write(tmp_path / "c.flac", clip, rate, subtype="PCM_16")
    found = measure(tmp_path / "c.flac")
    assert found.num_samples == len(clip)
    assert found.pcm_md5 == hashlib.md5(clip.astype("<i2").tobytes()).hexdigest()
    assert found.sha256 == hashlib.sha256((tmp_path / "c.flac").read_bytes()).hexdigest()
    assert found.silence_head_s == pytest.approx(0.5, abs=0.02)
    assert found.silence_tail_s == pytest.approx(0.25, abs=0.02)
    assert found.silence_ratio == pytest.approx(0.75 / 1.75, abs=0.02)
    assert found.clipping_ratio == pytest.approx(1 / len(clip))
    assert found.dc_offset == pytest.approx(clip.mean() / 32_768)
    assert found.bandwidth_hz == pytest.approx(1000, abs=60)


@pytest.mark.parametrize("silent", [True, False])
def test_measures_of_silence_and_of_a_fragment(tmp_path: Path, silent: bool) -> None:
    clip = np.full(7, 0 if silent else 9_000, np.int16)
    sf.write(tmp_path / "c.flac", clip, 16_000, subtype="PCM_16")
    found = measure(tmp_path / "c.flac")
    assert found.silence_ratio == (1.0 if silent else 0.0)
    assert found.silence_head_s == (7 / 16_000 if silent else 0.0)
    assert math.isfinite(found.bandwidth_hz)


@pytest.mark.parametrize("name", CODECS)
def test_a_probe_tells_the_decoded_length(media: Path, name: str) -> None:
    found = probe(media / name)
    assert found.duration_s == pytest.approx(12.0, abs=2 * FRAME_S)
    assert (found.sample_rate, found.channels) == (CODECS[name][1], 2)


@pytest.mark.parametrize("name", CODECS)
def test_a_segment_is_what_a_cut_gives(media: Path, tmp_path: Path, name: str) -> None:
    ((_, clip),) = cut_ok(media / name, [Span(5.5, 8.0)], tmp_path)
    segment = load_segment(media / name, sample_rate=16_000, start_s=5.5, duration_s=2.5)
    assert segment.dtype == np.float32
    assert segment.shape == clip.shape
    assert onsets_s(segment, 16_000) == pytest.approx(onsets_s(clip, 16_000), abs=FRAME_S)
    read = load_segment(tmp_path / "0.flac", sample_rate=16_000, start_s=1.0, duration_s=0.5)
    assert np.array_equal(read, clip[16_000:24_000])
    other = load_segment(tmp_path / "0.flac", sample_rate=8_000)
    assert len(other) == pytest.approx(20_000, abs=1)


def test_what_lies_beyond_the_end_of_a_segment_is_left_out(media: Path) -> None:
    tail = load_segment(media / "a.webm", sample_rate=16_000, start_s=11.0, duration_s=60.0)
    assert len(tail) == pytest.approx(16_000, abs=400)
    with pytest.raises(AudioError, match=r"nothing from 99"):
        load_segment(media / "a.webm", sample_rate=16_000, start_s=99.0)
    with pytest.raises(UserError, match="no file"):
        load_segment(media / "none.webm", sample_rate=16_000)


def damaged(media: Path, folder: Path) -> dict[str, tuple[bytes, ErrorClass]]:
    whole = (media / "a.webm").read_bytes()
    sf.write(folder / "nan.wav", np.full(4800, np.nan, np.float32), 48_000, subtype="FLOAT")
    sf.write(folder / "none.wav", np.zeros(0, np.float32), 48_000)
    wave = bytearray((folder / "none.wav").read_bytes())
    wave[40:44] = (10 * 3600 * 96_000 % 2**32).to_bytes(4, "little")  # ten hours in 50 bytes
    return {
        "html.webm": (b"<!doctype html><title>Sorry</title><p>no", ErrorClass.NOT_MEDIA),
        "empty.m4a": (b"", ErrorClass.NOT_MEDIA),
        "noise.mp3": (bytes(1000), ErrorClass.NOT_MEDIA),
        "cut.webm": (whole[: len(whole) // 2], ErrorClass.NETWORK),
        "nan.wav": ((folder / "nan.wav").read_bytes(), ErrorClass.NOT_MEDIA),
        "none.wav": ((folder / "none.wav").read_bytes(), ErrorClass.NO_AUDIO),
        "long.wav": (bytes(wave), ErrorClass.NO_AUDIO),
    }


def test_what_is_no_whole_recording_is_refused_with_its_class(media: Path, tmp_path: Path) -> None:
    for name, (body, expected) in damaged(media, tmp_path).items():
        (tmp_path / name).write_bytes(body)
        with pytest.raises(AudioError) as caught:
            probe(tmp_path / name)
        assert caught.value.error_class is expected, name


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30, -65.0])
@pytest.mark.parametrize("rate", [16_000, 48_000])
def test_samples_that_are_no_sound_are_refused_on_every_path(
    tmp_path: Path, value: float, rate: int
) -> None:
    samples = np.full((rate, 2), 0.1, np.float32)
    samples[rate // 2, 1] = value
    sf.write(tmp_path / "a.wav", samples, rate, subtype="FLOAT")
    with pytest.raises(AudioError, match=r"a\.wav has samples that are no numbers") as caught:
        load_segment(tmp_path / "a.wav", sample_rate=16_000)  # read as it is, or resampled
    assert caught.value.error_class is ErrorClass.NOT_MEDIA
    for work in (probe, lambda path: cut(path, [Span(0, None)], [tmp_path / "b"], CutConfig())):
        with pytest.raises(AudioError, match=r"a\.wav has samples"):
            work(tmp_path / "a.wav")


@pytest.mark.parametrize("name", ["a: b.webm", "http://x.webm", "concat:a%20b?c#d.webm"])
def test_a_name_with_a_colon_is_a_name(
    media: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes((media / "a.webm").read_bytes())
    monkeypatch.chdir(tmp_path)
    for given in (path, Path(name)):
        assert probe(given).duration_s == pytest.approx(12.0, abs=2 * FRAME_S)
        assert len(load_segment(given, sample_rate=16_000, duration_s=1.0)) == 16_000


def test_a_picture_has_no_audio(tmp_path: Path) -> None:
    with av.open(tmp_path / "p.mp4", "w") as container:
        stream = container.add_stream("mpeg4", rate=5)
        stream.width = stream.height = 32
        for _ in range(5):
            picture = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8))
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    with pytest.raises(AudioError) as caught:
        probe(tmp_path / "p.mp4")
    assert caught.value.error_class is ErrorClass.NO_AUDIO


def test_settings_that_make_no_clip_are_refused() -> None:
    with pytest.raises(UserError, match=r"sample_rate 10 is not in 8000"):
        CutConfig(sample_rate=10)


def test_files_of_different_forms_are_joined_without_a_gap(tmp_path: Path) -> None:
    """Against NumPy: lossless files of one rate keep every sample, others are resampled."""
    rng = np.random.default_rng(1)
    pieces = [rng.integers(-9_000, 9_000, (n, 2), dtype=np.int16) for n in (8_000, 12_345)]
    paths = [tmp_path / "a.flac", tmp_path / "b.wav"]
    for path, piece in zip(paths, pieces, strict=True):
        sf.write(path, piece, 16_000)
    join(paths, tmp_path / "joined.flac", 16_000, 2)
    samples, rate = sf.read(tmp_path / "joined.flac", dtype="int16")
    assert rate == 16_000
    assert np.array_equal(samples, np.concatenate(pieces))
    sf.write(tmp_path / "mono.wav", pieces[0][:, 0], 32_000)
    join([paths[0], tmp_path / "mono.wav"], tmp_path / "other.flac", 16_000, 2)
    assert sf.info(tmp_path / "other.flac").frames == pytest.approx(12_000, abs=16)
    (tmp_path / "text.wav").write_text("no audio")
    with pytest.raises(AudioError):
        join([paths[0], tmp_path / "text.wav"], tmp_path / "none.flac", 16_000, 2)
