"""In which order the tests run, and what their processes hear and inherit."""

from __future__ import annotations

import os
import signal

import pytest


def pytest_configure() -> None:
    """Hear Ctrl-C and a closed terminal also under `nohup` or as a background job.

    Both make them ignored, children inherit that, and what a signal does could not be tested.
    """
    # Tests that use gRPC start processes too, and its fork handlers now and then abort a child
    # before it is one of ours (ev_epoll1_linux.cc: Bad file descriptor).
    os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "false"
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Those on real servers first: they wait most, and short ones fill the gaps at the end."""
    items.sort(key=lambda item: item.get_closest_marker("integration") is None)
