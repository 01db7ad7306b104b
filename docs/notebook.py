# %% [markdown]
# # Looking into a corpus
# Cells in the percent format: Jupyter (with jupytext), VS Code and Spyder open this file as a
# notebook; `python docs/notebook.py` runs it. `EARSCRIBE_DATA` names the data folder.

# %%
import os
from pathlib import Path

from dataset.decoding import load_segment
from dataset.index import read_pairs
from dataset.parts import load_split, split_names

DATA = Path(os.environ.get("EARSCRIBE_DATA", "data/demo-run"))

# %% [markdown]
# The index: only the columns that are named are read, and only the rows that fit are kept.

# %%
pairs = read_pairs(
    DATA,
    where="status = 'ok' AND duration_s > 1",
    columns=["pair_id", "composer", "ensemble", "caption", "duration_s", "audio"],
).to_pandas()
print(f"{len(pairs)} pairs, {pairs['duration_s'].sum() / 60:.1f} minutes")
print(pairs.groupby("composer")["duration_s"].agg(["count", "mean"]).round(1))

# %% [markdown]
# What has no music, and why.

# %%
states = read_pairs(DATA, columns=["status", "error_class", "filter_reason"]).to_pandas()
print(states.fillna("").value_counts())

# %% [markdown]
# One pair: its text, and the first five seconds of its clip as samples in -1..1, 16,000 a second.

# %%
first = pairs.iloc[0]
samples = load_segment(DATA / first["audio"]["path"], sample_rate=16_000, duration_s=5.0)
print(first["caption"])
print(samples.shape, float(abs(samples).max()))

# %% [markdown]
# A split, as the pairs that training reads.

# %%
for name in split_names(DATA)[:1]:
    train = load_split(DATA, name, "train")
    print(f"{name}: {len(train)} pairs to learn from, such as {train[0].title}")
