"""What every section needs to know of the run: its arms, what was cached, what was emulated."""

from __future__ import annotations

from dataclasses import dataclass

from analysis.figures import style
from analysis.manifest import Manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """The run in the words of the report."""

    arms: tuple[str, ...]
    """The baseline first."""
    treatment: str | None
    """The arm that is held against the baseline; the first, when there are several."""
    cached_operation: str | None
    """Such as ``personality.lookup``."""
    cached_collection: str | None
    """Such as ``personalities``."""
    profile: str
    """Latency profile: ``seed`` emulates."""

    @property
    def baseline(self) -> str | None:
        """The arm that the others are held against."""
        return self.arms[0] if self.arms else None

    @property
    def columns(self) -> tuple[tuple[str | None, str], ...]:
        """The arms with their labels, for tables that put them side by side."""
        return tuple((arm, self.label(arm)) for arm in self.arms)

    def emulated(self, what: str) -> str:
        """Say what the latency profile did to this section's numbers."""
        if self.profile == "native":
            return "Nothing: profile native."
        if self.profile == "seed":
            return what
        return "Not known: this run says nothing of a latency profile."

    def label(self, arm: str | None) -> str:
        """The arm as a person says it."""
        return style.arm_label(arm) if arm else "all"


def setting_of(manifest: Manifest) -> Setting:
    """Read it from the manifest."""
    baseline = manifest.baseline
    return Setting(
        arms=(*((baseline,) if baseline else ()), *manifest.treatments),
        treatment=manifest.treatments[0] if manifest.treatments else None,
        cached_operation=manifest.cached_operation,
        cached_collection=manifest.cached_collection,
        profile=manifest.profile,
    )
