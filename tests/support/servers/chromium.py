"""A headless Chromium, where there is one."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
"""What the program is called on Debian, Ubuntu and elsewhere."""

QUIET = (
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-gpu",
)
"""Keeps the browser from talking to anybody by itself."""


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start one with a profile of its own; skips the test, saying so, where there is none."""
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"no Chromium on PATH (looked for {', '.join(NAMES)}); .ci/run installs one")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=found, args=list(QUIET), chromium_sandbox=False
        )
        try:
            yield browser
        finally:
            browser.close()
