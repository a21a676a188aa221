"""Were the arms interleaved?

The blocks of two arms are compared in pairs, which is sound as long as the machine is the same for
both of a pair. When all blocks of one arm came before those of the other, whatever drifted
meanwhile (clock speed, neighbours, caches, the size of a table) looks like a difference.
"""

from __future__ import annotations

from collections.abc import Iterator

from analysis.checks.run_checks import Issue, Level
from analysis.rundir.manifest import Manifest

APART_VALID_BLOCKS = 2.0
"""How far apart, in blocks of the two arms, the blocks of a pair may stand on average. With a
random walk of 1 % a block and nothing to find, side by side (1) cries wolf in 5 %, at 2 in 8 %, at
3 in 12 to 15 %, and 12 blocks after 12 others in 61 %."""


def about_interleaving(manifest: Manifest) -> list[Issue]:
    """Arms whose blocks do not stand beside the baseline's."""
    found = {arm: said_of(manifest, manifest.baseline or "", arm) for arm in manifest.treatments}
    seldom = {arm: sentence for arm, sentence in found.items() if sentence}
    if not seldom:
        return list(_one_after_the_other(manifest))
    (_, sentence), *others = seldom.items()
    if others:
        sentence += f" The same is true of {', '.join(arm for arm, _ in others)}."
    return [Issue(Level.SUSPECT, sentence)]


def _one_after_the_other(manifest: Manifest) -> Iterator[Issue]:
    """Too few blocks for an interval of a time, yet numbers stand side by side in the report."""
    baseline = manifest.baseline or ""
    ran = {block.arm for block in manifest.measured_blocks}
    for arm in manifest.treatments:
        if {baseline, arm} <= ran and not took_turns(manifest, baseline, arm):
            yield Issue(
                Level.NOTED,
                f"{baseline} and {arm} ran one wholly before the other: what drifted in the"
                " machine meanwhile is in their difference.",
            )


def said_of(manifest: Manifest, first: str, second: str) -> str:
    """What is wrong with two arms that were not interleaved; empty if they were."""
    pairs = _pairs(manifest, first, second)
    apart = sum(pairs) / len(pairs) if pairs else 0.0
    if apart <= APART_VALID_BLOCKS:
        return ""
    return (
        f"The arms were not interleaved: the two blocks of a pair of {first} and {second} ran"
        f" {apart:.3g} blocks apart on average; interleaved blocks run 1 apart. What drifted in"
        " the machine meanwhile looks like a difference, so intervals and decisions may be false"
        " alarms: interleave the blocks (A B, B A, A B)."
    )


def took_turns(manifest: Manifest, first: str, second: str) -> bool:
    """Whether two arms ran by turns or side by side, and not the one wholly after the other."""
    ran = [
        [block for block in manifest.measured_blocks if block.arm == arm]
        for arm in (first, second)
    ]
    if not all(ran):
        return False
    one, two = (
        (min(block.start_ns for block in own), max(block.end_ns for block in own)) for own in ran
    )
    return one[0] < two[1] and two[0] < one[1]


def _pairs(manifest: Manifest, first: str, second: str) -> list[int]:
    """How far apart the blocks of each pair of the two arms ran, counted in their blocks."""
    own = [block for block in manifest.measured_blocks if block.arm in (first, second)]
    places: dict[int, dict[str, int]] = {}
    for place, block in enumerate(sorted(own, key=lambda block: block.start_ns)):
        places.setdefault(block.pair, {})[block.arm] = place
    return [abs(at[first] - at[second]) for at in places.values() if len(at) > 1]
