"""In which order the tests run."""

from __future__ import annotations

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Those on real servers first: they wait most, and short ones fill the gaps at the end."""
    items.sort(key=lambda item: item.get_closest_marker("integration") is None)
