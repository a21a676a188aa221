"""What somebody asked for and cannot have."""

from __future__ import annotations


class UserMistakeError(Exception):
    """Something asked for cannot be; the message says what was found, expected and to do."""
