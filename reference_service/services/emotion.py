"""Detects the emotion of a message."""

from __future__ import annotations

import re
from typing import Final, Protocol

from reference_service.models import Emotion

_WORD: Final = re.compile(r"[a-z']+")
_LEXICON: Final = {
    **dict.fromkeys(("happy", "glad", "great", "love", "wonderful", "thanks", "thank", "yay",
    "fun"), "joy"), **dict.fromkeys(("sad", "cry", "lonely", "miss", "lost", "hurt", "alone",
    "tired"), "sadness"), **dict.fromkeys(("angry", "hate", "furious", "annoyed", "unfair", "mad"),
    "anger"), **dict.fromkeys(("afraid", "scared", "worried", "anxious", "nervous", "fear"),
    "fear"), **dict.fromkeys(("wow", "surprised", "unexpected", "suddenly", "amazing"),
    "surprise"),
}  # fmt: skip
_WORDS_READ: Final = 200
"""A message's beginning says enough; the cost stays bounded."""


class EmotionDetector(Protocol):
    """Anything that tells an emotion; a model server could stand behind it."""

    async def detect(self, message: str) -> Emotion:
        """Return the strongest emotion and its share, 0 to 1."""


class LexiconEmotionDetector:
    """Counts words of a small lexicon: no model, no network."""

    async def detect(self, message: str) -> Emotion:
        """Return the label with most words; neutral when none is known."""
        words = _WORD.findall(message.lower())[:_WORDS_READ]
        counts: dict[str, int] = {}
        for word in words:
            label = _LEXICON.get(word)
            if label is not None:
                counts[label] = counts.get(label, 0) + 1
        if not counts:
            return Emotion(label="neutral", score=0.0)
        label = max(sorted(counts), key=counts.__getitem__)
        return Emotion(label=label, score=round(counts[label] / len(words), 3))
