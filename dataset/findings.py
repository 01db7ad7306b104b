"""A broken promise of the data folder, and the kinds of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dataset.schema import COLUMNS

MISSING = frozenset({"missing_clip", "missing_part"})
WARNINGS = frozenset(
    {"orphan_clip", "temporary_file", "unfinished_split", "stale_split", "equal_text"}
)
OF_A_CLIP = frozenset(  # these have the path of a clip as their item
    {"missing_clip", "altered_clip", "unreadable_clip", "clip_path"}
    | {"sample_rate", "channels", "num_samples", "pcm_md5"}
)
OF_A_STATE = frozenset({"state", "status", "stage", "error_class", "bounds"})  # of a pair
SEEN = tuple(column.name for column in COLUMNS if column.name != "fingerprint")  # it is long
Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Finding:
    """One broken promise."""

    kind: str  # "missing_clip", "altered_clip", "leak", ...
    item: str  # the pair, clip or split concerned
    message: str
