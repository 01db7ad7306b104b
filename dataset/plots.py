"""Pictures and sounds of the report: inline SVG, bars, spectrograms, short Opus excerpts."""

import base64
import io
import math
import struct
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import av
import numpy as np
from numpy.typing import NDArray

from dataset.hypertext import LABEL, escape, isolated

WIDTH, HEIGHT = 360, 168  # of a histogram, in the units of its viewBox
LEFT, RIGHT, TOP, BOTTOM = 30, 8, 14, 24
BINS = 24  # columns of a histogram, about
CENTRAL = (2.5, 97.5)  # percentiles
OPUS_BITS_PER_S = 24_000
OPUS_HZ = 48_000
FLOOR_DB = -70.0  # of a spectrogram, below its loudest cell
# Anchors of a perceptually even ramp from night blue to cream, for 256 palette entries.
RAMP = ((9, 10, 28), (52, 22, 86), (119, 32, 109), (188, 55, 84), (239, 118, 52), (251, 243, 191))


@dataclass(frozen=True, slots=True)
class Band:
    """A range to compare with: the central 95 % of something."""

    low: float
    high: float
    unit: str
    name: str  # of what has it


# ---------------------------------------------------------------- histograms and bars


def histogram(
    title: str,
    values: Sequence[float],
    unit: str = "",
    band: Band | None = None,
    *,
    step: float | None = None,
    years: bool = False,
) -> str:
    """A figure with an SVG histogram of the finite values.

    `band` is shaded where the axis reaches it, and its range drawn beside that of the values.
    `step` is the width of a column, None = a round one; `years` have no thousands.
    """
    values = sorted(value for value in values if math.isfinite(value))
    if not values:
        return f'<figure><figcaption>{escape(title)}</figcaption><p class="quiet">none</p></figure>'
    span, size = values[-1] - values[0], max(abs(values[-1]), abs(values[0]))
    step = step or nice_step(span if span > 1e-6 * size else size or 1.0, BINS)
    if all(value % 1 == 0 for value in values):
        step = max(step, 1.0)
    counted = Counter(math.floor(value / step + 1e-9) for value in values)
    first, last = min(counted), max(counted)
    counts = [counted[place] for place in range(first, last + 1)]
    axis = _Axis(first * step, (last + 1) * step, step, max(counts), years)
    low, middle, high = (_brief(values[place]) for place in (0, len(values) // 2, -1))
    summary = (
        f"{len(values):,} value{'s' if len(values) > 1 else ''} from {axis.number(low)} to "
        f"{axis.number(high, unit)}, median {axis.number(middle)}"
    )
    shown = f"{title} ({unit})" if unit else title
    return (
        f"<figure><figcaption>{escape(shown)}</figcaption>"
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}: '
        f'{escape(summary)}">{_shade(axis, band)}{_columns(axis, counts, unit)}{_ticks(axis)}</svg>'
        f'<p class="quiet">{escape(summary)}</p>{_beside(values, unit, band)}</figure>'
    )


def _beside(values: Sequence[float], unit: str, band: Band | None) -> str:
    """The central 95 % of sorted values beside those of something else, on a logarithmic scale."""
    if band is None:
        return ""
    low, high = (float(np.percentile(values, share)) for share in CENTRAL)
    own = Band(low, high, unit, "this corpus")
    within = sum(band.low <= value <= band.high for value in values) / len(values)
    least = max(1e-9, min(own.low, band.low))
    span = math.log(max(own.high, band.high, least * 1.001) / least)

    def bar(one: Band, kind: str) -> str:
        left = 100 * math.log(max(one.low, least) / least) / span
        width = 100 * math.log(max(one.high, least) / least) / span - left
        ends = f"{_number(_brief(one.low))} to {_number(_brief(one.high), one.unit)}"
        return (
            f"<li><bdi>{escape(one.name)}</bdi><b>{escape(ends)}</b>"
            f'<i class="{kind}" style="margin-left:{left:.1f}%;width:{width:.1f}%"></i></li>'
        )

    return (
        f'<p class="quiet">Central 95 %, logarithmic; {100 * within:.0f} % lie in the range of '
        f"{escape(band.name)}:</p>"
        f'<ul class="bars">{bar(own, "own")}{bar(band, "other")}</ul>'
    )


def nice_step(span: float, bins: int) -> float:
    """1, 2 or 5 times a power of ten, so that at most about `bins` steps make up `span`."""
    least = max(span, 1e-9) / bins
    power = 10.0 ** math.floor(math.log10(least))
    return float(next(m * power for m in (1, 2, 5, 10) if m * power >= least * (1 - 1e-9)))


@dataclass(frozen=True, slots=True)
class _Axis:
    low: float
    high: float
    step: float
    most: int
    years: bool = False

    def number(self, value: float, unit: str = "") -> str:
        """A value of the axis."""
        return f"{value:.0f}" if self.years else _number(value, unit)

    def x(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return LEFT + min(1.0, max(0.0, share)) * (WIDTH - LEFT - RIGHT)

    def y(self, count: float) -> float:
        return HEIGHT - BOTTOM - count / self.most * (HEIGHT - TOP - BOTTOM)


def _shade(axis: _Axis, band: Band | None) -> str:
    if band is None or band.high < axis.low or band.low > axis.high:
        return ""
    left, right = axis.x(band.low), axis.x(band.high)
    size = f'width="{right - left:.1f}" height="{HEIGHT - TOP - BOTTOM}"'
    return (
        f'<rect class="band" x="{left:.1f}" y="{TOP}" {size}>'
        f"<title>central 95 % of {escape(band.name)}</title></rect>"
    )


def _columns(axis: _Axis, counts: Sequence[int], unit: str) -> str:
    shapes = []
    for position, count in enumerate(counts):
        low = axis.low + position * axis.step
        left, right, top = axis.x(low), axis.x(low + axis.step), axis.y(count)
        label = f"{axis.number(low)} to {axis.number(low + axis.step, unit)}: {count:,}"
        shapes.append(
            f'<rect class="column" x="{left + 0.5:.1f}" y="{top:.1f}" '
            f'width="{max(0.5, right - left - 1):.1f}" height="{HEIGHT - BOTTOM - top:.1f}">'
            f"<title>{escape(label)}</title></rect>"
        )
    return "".join(shapes)


def _ticks(axis: _Axis) -> str:
    base = HEIGHT - BOTTOM
    step = nice_step(axis.high - axis.low, 5)
    first = math.ceil(axis.low / step - 1e-9)
    places = [n * step for n in range(first, math.floor(axis.high / step + 1e-9) + 1)]
    labels = "".join(
        f'<text x="{axis.x(place):.1f}" y="{base + 15}" text-anchor="middle">'
        f"{axis.number(place)}</text>"
        for place in places[:-1]
    )
    last = axis.number(places[-1])
    return (
        f'<line class="axis" x1="{LEFT}" y1="{base}" x2="{WIDTH - RIGHT}" y2="{base}"/>{labels}'
        f'<text x="{min(axis.x(places[-1]), WIDTH - 2):.1f}" y="{base + 15}" '
        f'text-anchor="{"end" if axis.x(places[-1]) > WIDTH - 20 else "middle"}">{last}</text>'
        f'<text x="{LEFT - 5}" y="{TOP + 4}" text-anchor="end">{axis.most:,}</text>'
        f'<text x="{LEFT - 5}" y="{base}" text-anchor="end">0</text>'
    )


def _number(value: float, unit: str = "") -> str:
    """At most three digits after the point, none that says nothing."""
    shown = f"{value:,.3f}".rstrip("0").rstrip(".") if value % 1 else f"{value:,.0f}"
    return f"{shown} {unit}".rstrip()


def _brief(value: float) -> float:
    """A value for a sentence: one digit after the point will do for what has two before it."""
    return round(value, 1) if abs(value) >= 10 else value


def bars(title: str, counts: Mapping[str, int], most: int = 12) -> str:
    """A figure with one bar a value, the largest first; those beyond `most` are summed up."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    shown = dict(ordered[:most])
    rest = sum(count for _, count in ordered[most:])
    if rest:
        shown[f"{len(ordered) - most} others"] = rest
    return f"<figure><figcaption>{escape(title)}</figcaption>{bar_list(shown)}</figure>"


def bar_list(counts: Mapping[str, int]) -> str:
    """Labelled bars in the order given, the largest filling the width."""
    largest = max([1, *counts.values()])
    items = "".join(
        f"<li>{isolated(label, LABEL)}<b>{count:,}</b>"
        f'<i style="width:{100 * count / largest:.1f}%"></i></li>'
        for label, count in counts.items()
    )
    return f'<ul class="bars">{items}</ul>' if counts else '<p class="quiet">none</p>'


# ---------------------------------------------------------------- sound


def spectrogram(samples: NDArray[np.float32], sample_rate: int) -> bytes:
    """PNG of 480 x 96 log-frequency cells, in dB below the loudest; (num_samples,) mono."""
    n_fft, columns, rows = 2048, 480, 96
    padded = np.pad(samples.astype(np.float64), n_fft // 2)
    starts = np.linspace(0, len(padded) - n_fft, columns).astype(int)
    frames = np.stack([padded[start : start + n_fft] for start in starts])
    power = np.abs(np.fft.rfft(frames * np.hanning(n_fft), axis=1)) ** 2  # (columns, bins)
    edges = np.geomspace(60.0, sample_rate / 2, rows + 1) * n_fft / sample_rate
    spans = pairwise(edges.round().astype(int))  # bin k reaches from k - 1/2 to k + 1/2
    cells = [power[:, low : max(low + 1, high)].mean(axis=1) for low, high in spans]
    level = 10 * np.log10(np.stack(cells[::-1]) + 1e-12)  # (rows, columns), high notes on top
    shade = np.clip((level - level.max()) / -FLOOR_DB + 1, 0, 1)
    return png((shade * 255).astype(np.uint8))


def png(cells: NDArray[np.uint8]) -> bytes:
    """PNG of palette indices, (height, width)."""
    height, width = cells.shape
    places = np.linspace(0, len(RAMP) - 1, 256)
    ramp = [np.interp(places, range(len(RAMP)), [c[k] for c in RAMP]) for k in range(3)]
    palette = np.stack(ramp, axis=1).round().astype(np.uint8)
    lines = np.hstack([np.zeros((height, 1), np.uint8), cells])  # filter 0 before each line
    head = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    body = zlib.compress(lines.tobytes(), 9)
    chunks = ((b"IHDR", head), (b"PLTE", palette.tobytes()), (b"IDAT", body), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )


def opus(samples: NDArray[np.float32], sample_rate: int) -> bytes:
    """Ogg/Opus file of mono samples in -1..1, the same bytes for the same samples."""
    out = io.BytesIO()
    pcm = (np.clip(samples, -1, 1) * 32767).astype(np.int16)
    frame = av.AudioFrame.from_ndarray(pcm[None, :], format="s16", layout="mono")
    frame.sample_rate = sample_rate
    # bitexact: no random serial number, no encoder version
    with av.open(out, "w", format="ogg", container_options={"fflags": "+bitexact"}) as file:
        stream = file.add_stream("libopus", rate=OPUS_HZ, layout="mono")
        stream.bit_rate = OPUS_BITS_PER_S
        to_encoder = av.AudioResampler(
            format="s16", layout="mono", rate=OPUS_HZ, frame_size=stream.frame_size
        )
        for ready in (*to_encoder.resample(frame), *to_encoder.resample(None), None):
            file.mux(stream.encode(ready))
    return out.getvalue()


def data_uri(kind: str, body: bytes) -> str:
    """The body as an address that needs no second file."""
    return f"data:{kind};base64,{base64.b64encode(body).decode()}"
