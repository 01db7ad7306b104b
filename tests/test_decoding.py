"""Decoding against tones whose every sample is known."""

from pathlib import Path

import av
import numpy as np
import pytest
import soundfile as sf
from made_audio import CODECS, FRAME_S, make_media, onsets_s

from crawler.errors import UserError
from dataset.clips import CutConfig, Span
from dataset.cutting import cut
from dataset.decoding import AudioError, join, load_segment, probe
from dataset.pairs import ErrorClass


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_media(tmp_path_factory.mktemp("media"))


@pytest.mark.parametrize("name", CODECS)
def test_a_probe_tells_the_decoded_length(media: Path, name: str) -> None:
    found = probe(media / name)
    assert found.duration_s == pytest.approx(12.0, abs=2 * FRAME_S)
    assert (found.sample_rate, found.channels) == (CODECS[name][1], 2)


@pytest.mark.parametrize("name", CODECS)
def test_a_segment_is_what_a_cut_gives(media: Path, tmp_path: Path, name: str) -> None:
    cut(media / name, [Span(5.5, 8.0)], [tmp_path / "0.flac"], CutConfig())
    clip, _ = sf.read(tmp_path / "0.flac", dtype="float32")
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
    for work in (
        probe,
        lambda path: cut(path, [Span(0, None)], [tmp_path / "b.flac"], CutConfig()),
    ):
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
