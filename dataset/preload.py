"""What workers have loaded before they begin: their tasks, and the extractors of yt-dlp.

The fork server imports this once; every worker would else take a second for its first fetch.
"""

import dataset.tasks  # noqa: F401
from dataset.sources import SourceConfig, warm_up

warm_up(SourceConfig())
