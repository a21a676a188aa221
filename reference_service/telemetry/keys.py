"""What an answer depends on, as a hash: equal keys can be told, values are hidden from the eye.

Not from one who can guess them: the hash has no secret, so a list of users can be tried.
"""

from __future__ import annotations

import hashlib


def hashed_key(*parts: str) -> str:
    """Return 16 hex digits that are the same for the same parts in every process."""
    digest = hashlib.blake2b("\0".join(parts).encode(), digest_size=8, person=b"worthit.key")
    return digest.hexdigest()
