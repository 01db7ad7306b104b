"""A source and its spans -> clips, by the backend of the settings."""

from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path

from dataset.backends import Blocks, decode
from dataset.clips import Cut, CutConfig, Span, writing
from dataset.decoding import AudioError
from dataset.measures import Meter
from dataset.pairs import ErrorClass
from dataset.shaping import shape


def cut(
    source: Path,
    spans: Sequence[Span],
    targets: Sequence[Path],
    config: CutConfig,
    *,
    levels: bool = True,
) -> list[Cut | AudioError]:
    """Cut every span of `source` into its target in one pass over it, in 16-bit samples.

    A span's borders are rounded to the sample, so that neighbours neither overlap nor lose one;
    a clip is the same whatever else is cut with it. Without `levels` the source's loudness and
    true peak are not measured. A span without music gives an AudioError in its place; raises
    AudioError when the source does not decode.
    """
    meters = [Meter(*span.borders_s(config.sample_rate)) for span in spans if levels]
    pieces = list(targets)
    if config.shapes:
        pieces = [target.with_name(f"{target.name}.wav") for target in targets]
    try:
        with closing(decode(source, config, meters)) as blocks:
            lengths = write_spans(blocks, spans, pieces, config)
        levels_found = [meter.result() for meter in meters] or [(None, None)] * len(spans)
        return [
            finish(span, length, paths, config, level)
            for span, length, paths, level in zip(
                spans, lengths, zip(pieces, targets, strict=True), levels_found, strict=True
            )
        ]
    finally:
        for piece in set(pieces).difference(targets):
            piece.unlink(missing_ok=True)


def write_spans(
    blocks: Blocks, spans: Sequence[Span], pieces: Sequence[Path], config: CutConfig
) -> list[tuple[int, int]]:
    """Write what lies in each span; returns where: (first sample, the one after the last)."""
    bounds = [span.bounds(config.sample_rate) for span in spans]
    written = [(0, 0)] * len(spans)
    codec = "wav" if config.shapes else config.codec
    with ExitStack() as stack:
        writes = [
            stack.enter_context(writing(piece, codec, config.sample_rate, config.channels))
            for piece in pieces
        ]
        for at, samples in blocks:
            for number, (first, stop) in enumerate(bounds):
                low, high = max(first - at, 0), int(min(stop - at, len(samples)))
                if low < high:
                    writes[number](samples[low:high])
                    begun = written[number][0] if written[number][1] else at + low
                    written[number] = (begun, at + high)
            if at + len(samples) >= max(stop for _, stop in bounds):
                break
    return written


def finish(
    span: Span,
    written: tuple[int, int],
    paths: tuple[Path, Path],
    config: CutConfig,
    level: tuple[float | None, float | None],
) -> Cut | AudioError:
    """What became of one span: its piece is shaped into its target where the two differ."""
    first, stop = written
    piece, target = paths
    if first == stop:
        message = f"nothing between {span.start_s} s and {span.end_s} s"
        return AudioError(ErrorClass.BAD_BOUNDS, message)
    if config.shapes:
        try:
            low, high = shape(piece, target, config)
        except AudioError as error:
            return error
        first, stop = first + low, first + high
    return Cut(first / config.sample_rate, stop / config.sample_rate, *level)
