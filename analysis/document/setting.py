"""What every section needs to know of the run: its arms, what was cached, what was emulated."""

from __future__ import annotations

from dataclasses import dataclass

from analysis.drawing import style
from analysis.rundir.manifest import Manifest

MOST_SIDE_BY_SIDE = 3
"""A sweep has seven arms and more: drawn side by side they can no longer be told apart, so
figures show the baseline and the arm that the answer is about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """The run in the words of the report."""

    arms: tuple[str, ...]
    """The baseline first, then the treatment, then the others in the manifest's order."""
    treatment: str | None
    """The arm that the answer is about; it is held against the baseline."""
    cached_operation: str | None
    """Such as ``personality.lookup``."""
    cached_collection: str | None
    """Such as ``personalities``."""
    profile: str
    """Latency profile: ``seed`` emulates."""
    same_draws: bool = True
    """Whether both arms were sent the same requests: by our scenarios alone."""

    @property
    def baseline(self) -> str | None:
        """The arm that the others are held against."""
        return self.arms[0] if self.arms else None

    @property
    def shown(self) -> tuple[str, ...]:
        """The arms that a figure puts side by side; the tables have all of them."""
        return self.arms if len(self.arms) <= MOST_SIDE_BY_SIDE else self.arms[:2]

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
        return ""  # somebody else's service: nobody emulates anything there

    def label(self, arm: str | None) -> str:
        """The arm as a person says it."""
        return style.arm_label(arm) if arm else "all"


def setting_of(manifest: Manifest, told: str | None = None) -> Setting:
    """Read it from the manifest; ``told`` is the arm that the answer chose among several."""
    baseline, others = manifest.baseline, manifest.treatments
    first = told if told in others else next(iter(others), None)
    ordered = sorted(others, key=lambda arm: arm != first)
    return Setting(
        arms=(*((baseline,) if baseline else ()), *ordered),
        treatment=first,
        cached_operation=manifest.cached_operation,
        cached_collection=manifest.cached_collection,
        profile=manifest.profile,
        same_draws=bool(manifest.scenario),
    )
