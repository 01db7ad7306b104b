"""The columns of the index: the Arrow schema of a Pair, with units and meaning."""

from dataclasses import dataclass, field

import pyarrow as pa

from dataset.pairs import SCHEMA_VERSION


@dataclass(frozen=True, slots=True)
class Column:
    """One column of the index: Arrow type, unit ("" = none), meaning, whether it may be null."""

    name: str
    type: pa.DataType
    unit: str
    meaning: str
    nullable: bool = field(default=True, kw_only=True)


TEXT, INTEGER, REAL = pa.string(), pa.int32(), pa.float64()
# Parquet calls a list's values "element": under that name a file reads back as it was written.
TEXTS = pa.list_(pa.field("element", pa.string()))
NUMBERS = pa.list_(pa.field("element", pa.int16()))
AUDIO = pa.struct([pa.field("bytes", pa.binary()), pa.field("path", pa.string())])

# fmt: off
COLUMNS = (
    Column("pair_id", TEXT, "", "hash of work, movements, note source, text index and recording", nullable=False),
    Column("work_id", TEXT, "", "slug of the work's page", nullable=False),
    Column("level", TEXT, "", "how much the text speaks of: movement, part (several movements) or work", nullable=False),
    Column("movements", NUMBERS, "", "numbers of the movements, from 1; empty for a whole work", nullable=False),
    Column("recording_id", TEXT, "", "video_id of the recording's first part", nullable=False),
    Column("clip_id", TEXT, "", "hash of source bytes, real bounds and cutting fingerprint; texts may share a clip"),
    Column("caption", TEXT, "", "the cleaned text", nullable=False),
    Column("caption_raw", TEXT, "", "the text as the page has it", nullable=False),
    Column("note_source", TEXT, "", "who the page says the text is from", nullable=False),
    Column("text_index", INTEGER, "", "position of the text among its note's texts, from 0", nullable=False),
    Column("num_words", INTEGER, "words", "words of the caption, split at white space", nullable=False),
    Column("num_tokens", INTEGER, "tokens", "words and punctuation marks: a regular expression close to BERT's pre-tokenisation, no vocabulary", nullable=False),
    Column("align_method", TEXT, "", "how the text was given its movements", nullable=False),
    Column("align_score", REAL, "0..1", "how sure that is", nullable=False),
    Column("align_flags", TEXTS, "", "what speaks against it", nullable=False),
    Column("text_group", TEXT, "", "pair_id of the first pair whose text is the same or nearly so; null of a filtered pair"),
    Column("composer", TEXT, "", "name as the page prints it", nullable=False),
    Column("title", TEXT, "", "title of the work as the page prints it", nullable=False),
    Column("opus", TEXT, "", "opus or catalogue number"),
    Column("key", TEXT, "", "key of the work; minor keys in lower case"),
    Column("mode", TEXT, "", "major or minor, of the work's key"),
    Column("year", INTEGER, "year", "year of composition, the last one if several are given"),
    Column("instrumentation", TEXT, "", "players as the page prints them"),
    Column("instruments", TEXTS, "", "who plays, in English: from the players or the title; empty = not told", nullable=False),
    Column("ensemble", TEXT, "", "solo, duo, trio, ... or sonata: from the title or the number of players"),
    Column("movement_name", TEXT, "", "name of the first movement the text speaks of"),
    Column("tempo_class", TEXT, "", "slow, moderate or fast: from the movement's name"),
    Column("performers", TEXTS, "", "players of the recording", nullable=False),
    Column("source_url", TEXT, "", "where the audio is fetched; of a movement in several files all their addresses, with a space between", nullable=False),
    Column("youtube_id", TEXT, "", "11 characters, null for another host"),
    Column("start_s", REAL, "s", "beginning as asked; null = unknown"),
    Column("end_s", REAL, "s", "end as asked; null = unknown or to the end"),
    Column("bounds_source", TEXT, "", "page, chapter, description, file, override or unknown", nullable=False),
    Column("actual_start_s", REAL, "s", "beginning of the clip in the source"),
    Column("actual_end_s", REAL, "s", "end of the clip in the source"),
    Column("audio", AUDIO, "", "Hugging Face layout: bytes (only in exports) and path within the data folder"),
    Column("sample_rate", INTEGER, "Hz", "of the clip"),
    Column("num_samples", pa.int64(), "samples", "of the clip, per channel"),
    Column("sha256", TEXT, "", "of the clip's file"),
    Column("pcm_md5", TEXT, "", "of the clip's 16-bit little-endian samples"),
    Column("codec", TEXT, "", "of the clip: flac, opus or wav"),
    Column("loudness_lufs", REAL, "LUFS", "integrated loudness of the source's stretch before downmix (EBU R128)"),
    Column("true_peak_dbtp", REAL, "dBTP", "true peak of the source's stretch before downmix"),
    Column("silence_head_s", REAL, "s", "silence at the clip's beginning"),
    Column("silence_tail_s", REAL, "s", "silence at the clip's end"),
    Column("silence_ratio", REAL, "0..1", "share of silent frames in the clip"),
    Column("clipping_ratio", REAL, "0..1", "share of full-scale samples in the clip"),
    Column("dc_offset", REAL, "-1..1", "mean of the clip's samples"),
    Column("bandwidth_hz", REAL, "Hz", "frequency below which 99 % of the clip's energy lies"),
    Column("fingerprint", TEXT, "", "acoustic fingerprint of the clip"),
    Column("duplicate_of", TEXT, "", "clip_id of which this clip is an exact or acoustic duplicate"),
    Column("status", TEXT, "", "ok, failed, filtered or pending", nullable=False),
    Column("stage", TEXT, "", "the last stage that the pair entered: pair, source or cut", nullable=False),
    Column("error_class", TEXT, "", "why it failed"),
    Column("error_message", TEXT, "", "what the failing tool said"),
    Column("filter_reason", TEXT, "", "why it was filtered"),
    Column("page_url", TEXT, "", "canonical address of the page; table:<file name> for a row of a table", nullable=False),
    Column("page_sha256", TEXT, "", "of the stored page"),
    Column("config_fingerprint", TEXT, "", "hash of the settings that shape the clip"),
    Column("schema_version", INTEGER, "", "version of this schema", nullable=False),
    Column("text_rights", TEXT, "", "who holds the rights in the text", nullable=False),
    Column("audio_rights", TEXT, "", "who holds the rights in the audio", nullable=False),
    Column("redistributable", pa.bool_(), "", "whether text and audio may be passed on", nullable=False),
)
# fmt: on

PAIRS_SCHEMA = pa.schema(
    [
        pa.field(
            column.name,
            column.type,
            nullable=column.nullable,
            metadata={"unit": column.unit, "meaning": column.meaning},
        )
        for column in COLUMNS
    ],
    metadata={"earscribe_schema_version": str(SCHEMA_VERSION)},
)
