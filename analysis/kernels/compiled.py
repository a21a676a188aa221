"""Compiled kernels: how the loops over spans are turned into machine code.

``compiled`` is numba's ``njit`` with the settings every kernel of this package shares: the
interpreter lock is released, so that partitions can run in threads, and the machine code is cached
on disk, so that only the first run on a machine pays for compiling: some 20 s, and it says so.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, TypeVar, cast

from numba import njit
from numba.core import event
from typing_extensions import override

_LOGGER = logging.getLogger(__name__)
_Kernel = TypeVar("_Kernel", bound=Callable[..., Any])


def compiled(kernel: _Kernel) -> _Kernel:
    """Give ``kernel``, to be compiled at its first call.

    Keep the result on disk where a folder for it can be written.

    numba looks for a place beside the source, then in the user's cache folder. A read-only install
    without a home has neither: the kernel is then compiled anew in each process, which is slow
    once and never wrong.
    """
    try:
        return cast("_Kernel", njit(cache=True, nogil=True)(kernel))
    except RuntimeError:  # "no locator available": nowhere to keep the machine code
        return cast("_Kernel", njit(nogil=True)(kernel))


class _Announcement(event.Listener):
    """Says once in a process that the time goes into compiling; reading the disk is no event."""

    told = False

    @override
    def on_start(self, event: object) -> None:
        """Say it before the first kernel."""
        del event
        if not self.told:
            self.told = True
            _LOGGER.info("The analysis is compiled for this machine: once, in about 20 s.")

    @override
    def on_end(self, event: object) -> None:
        """Say nothing."""


event.register("numba:compile", _Announcement())  # type: ignore[no-untyped-call] # numba has no types
