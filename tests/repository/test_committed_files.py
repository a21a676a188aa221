"""What may not stand in any committed file."""

from __future__ import annotations

import re

from tests.support.project.source_tree import ROOT, spelled, tracked_files

LARGEST_TEXT_BYTES = 3_000_000


def texts() -> list[tuple[str, str]]:
    """Every committed text file with its content."""
    found = []
    for path in tracked_files():
        content = path.read_bytes()
        if len(content) < LARGEST_TEXT_BYTES and b"\0" not in content:
            found.append((spelled(path), content.decode("utf-8", errors="replace")))
    return found


def test_the_lock_file_names_no_registry() -> None:
    """requirements.lock pins every distribution with hashes and names no index, host or path."""
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    pins = re.findall(r"^([A-Za-z0-9._-]+)==\S+", lock, flags=re.MULTILINE)

    assert re.findall(r"https?://\S+|--(?:extra-)?index-url.*|file:\S+", lock) == []
    assert len(pins) > 50
    assert len(pins) <= lock.count("--hash=sha256:")


def test_no_file_names_a_place_on_the_writers_machine() -> None:
    """No committed file holds an absolute path of a home, work or scratch folder."""
    place = re.compile(r"(?<![\w.])/(?:home|Users|work|root)/[\w.]+")
    found = [
        f"{name}: {match[0]}"
        for name, text in texts()
        if not name.startswith("tests/repository/")
        for match in place.finditer(text)
    ]

    assert found == []


def test_no_file_holds_unfinished_work() -> None:
    """No committed file holds a merge mark or a note about work still to be done."""
    mark = re.compile(r"^(<{7}|>{7}) |\b(FIXME|XXX|TODO)\b", flags=re.MULTILINE)
    found = [
        f"{name}: {match[0]}"
        for name, text in texts()
        if not name.startswith("tests/repository/")
        for match in mark.finditer(text)
    ]

    assert found == []
