"""Experiment texts and plans for tests."""

from __future__ import annotations

from worthit.experiments.model import Experiment
from worthit.experiments.reading import check_text

SMALL = """\
name = "small"
question = "Is it worth it?"

[load]
rates_per_s = [5, 20]
blocks = 4
block_s = 2
warmup_s = 3

[[arms]]
name = "off"
env = { REDIS_ENABLED = false }

[[arms]]
name = "on"
env = { REDIS_ENABLED = true }
"""


def experiment(text: str = SMALL, **replacements: str) -> Experiment:
    """The small experiment with lines replaced: key -> the whole new right-hand side."""
    lines = []
    for line in text.splitlines():
        key = line.partition("=")[0].strip()
        lines.append(f"{key} = {replacements[key]}" if key in replacements else line)
    return check_text("\n".join(lines), name="small.toml")
