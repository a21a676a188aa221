"""The pictures of README.md and docs/, from a real run's report.

``python -m tests.support.project.report_pictures RUN`` writes docs/images/: the headline figure
as the run has it, and a screenshot of the report's waterfalls, taken by a headless Chromium.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

from tests.support.project.source_tree import ROOT

IMAGES = ROOT / "docs" / "images"

WIDTH_PIXELS = 1000
"""A page's width on a laptop; the report's text column and a margin."""


def take(run: Path) -> list[Path]:
    """Write the pictures and give their paths."""
    IMAGES.mkdir(exist_ok=True)
    headline, waterfalls = IMAGES / "headline.png", IMAGES / "waterfalls.png"
    shutil.copyfile(run / "figures" / "headline.png", headline)
    browser_path = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH_PIXELS, "height": 800})
        page.goto((run / "report.html").resolve().as_uri())
        page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
        page.locator("#traces").screenshot(path=waterfalls)
        browser.close()
    return [headline, waterfalls]


if __name__ == "__main__":
    for picture in take(Path(sys.argv[1])):
        sys.stdout.write(f"{picture.relative_to(ROOT)}: {picture.stat().st_size // 1024} KiB\n")
