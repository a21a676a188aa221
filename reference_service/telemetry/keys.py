"""Hashes what an answer depends on: equal inputs can be recognised, their values not read.

The hash has no secret: whoever can guess a value, such as a user id, can recognise its hash.
"""

from __future__ import annotations

import hashlib


def hashed_key(*parts: str) -> str:
    """Return 16 hex digits that are the same for the same parts in every process."""
    digest = hashlib.blake2b("\0".join(parts).encode(), digest_size=8, person=b"worthit.key")
    return digest.hexdigest()
