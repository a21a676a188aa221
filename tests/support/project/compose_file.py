"""docker-compose.yml as Compose sees it: anchors merged, variables filled in, commands split."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import Any

import yaml

from tests.support.project.source_tree import ROOT

FILE = ROOT / "docker-compose.yml"

VARIABLE = re.compile(r"\$\{(?P<name>[A-Z_]+)(?:(?P<kind>:[-?])(?P<rest>[^}]*))?\}")
"""Compose's ${NAME}, ${NAME:-default} and ${NAME:?message}."""


def document() -> dict[str, Any]:
    """The file with its anchors merged and its variables as they stand."""
    loaded: dict[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    return loaded


def services() -> dict[str, dict[str, Any]]:
    """Each service's definition by name."""
    found: dict[str, dict[str, Any]] = document()["services"]
    return found


def strings(node: object) -> list[str]:
    """Every string value anywhere below."""
    if isinstance(node, str):
        return [node]
    if isinstance(node, Mapping):
        return [text for value in node.values() for text in strings(value)]
    if isinstance(node, list):
        return [text for value in node for text in strings(value)]
    return []


def filled(text: str, values: Mapping[str, str]) -> str:
    """``text`` with its variables replaced as Compose does; a missing ``:?`` one is a KeyError."""

    def value(match: re.Match[str]) -> str:
        given = values.get(match["name"])
        if given:
            return given
        if match["kind"] == ":-":
            return match["rest"]
        raise KeyError(match["name"])

    return VARIABLE.sub(value, text).replace("$$", "$")


def command(name: str, values: Mapping[str, str] | None = None) -> list[str]:
    """A service's command, variables filled in."""
    raw = services()[name]["command"]
    words = shlex.split(raw) if isinstance(raw, str) else raw
    return [filled(word, values or {}) for word in words]


def environment(name: str, values: Mapping[str, str]) -> dict[str, str]:
    """A service's environment, variables filled in."""
    return {
        key: filled(str(value), values)
        for key, value in services()[name].get("environment", {}).items()
    }


def example_settings() -> dict[str, str]:
    """Names and values of .env.example."""
    lines = (ROOT / ".env.example").read_text(encoding="utf-8").splitlines()
    pairs = (line.partition("=") for line in lines if line and not line.startswith("#"))
    return {name: value for name, _, value in pairs}
