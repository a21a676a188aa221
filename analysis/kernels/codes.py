"""What plain numbers stand for in the kernels' columns: spans without a parent, kinds of spans.

numba keeps machine code by the file of a kernel alone: whoever changes a number here must touch
the kernels that import it.
"""

from __future__ import annotations

ROOT = -1
"""The parent of a span that names none."""
MISSING = -2
"""The parent of a span whose parent is not in the trace: a root of what is left, and reported."""
CUT = -3
"""The parent of a span that was its own ancestor: cut at its earliest span, and reported."""
REPEAT = -4
"""A span delivered twice with the same content: counted once, and reported."""

OTHER, SERVER, CLIENT, PRODUCER, CONSUMER = range(5)
"""Span kinds, as far as the shape of a trace depends on them."""
