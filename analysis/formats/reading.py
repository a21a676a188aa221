"""What is asked of the readers, and what they noticed: damage, what was passed over, remarks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from analysis.errors import InputError


class NotTracesError(InputError):
    """A whole file that is something else than traces: in a folder it is passed over."""


@dataclass(slots=True, kw_only=True)
class Reading:
    """One call of ``analysis.traces.read``: what the caller wants, and what is noted meanwhile."""

    skip_damaged: bool = False
    columns: Mapping[str, str] | None = None
    """Column of ours: the file's column, with ``:unit`` for a time; of CSV and other tables."""
    damaged: list[str] = field(default_factory=list)
    """What could not be read and was left out, as sentences."""
    passed_over: list[str] = field(default_factory=list)
    """What lies beside the traces and is none, as sentences."""
    remarks: list[str] = field(default_factory=list)
    """What was taken for granted, such as a unit of time, as sentences."""

    def damage(self, sentence: str, advice: str = "Record it again, or") -> None:
        """Note damage; raise ``InputError`` where the caller does not want the rest."""
        if not self.skip_damaged:
            raise InputError(f"{sentence}. {advice} ask for the rest with skip_damaged=True.")
        self.damaged.append(sentence)

    def remark(self, sentence: str) -> None:
        """Note what was taken for granted, once."""
        if sentence not in self.remarks:
            self.remarks.append(sentence)
