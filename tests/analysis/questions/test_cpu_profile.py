"""Which code burns the CPU: sampled stacks of which the truth is known."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis.errors import InputError
from analysis.questions.cpu_profile import answer as question
from analysis.questions.cpu_profile.answer import CpuProfile, Node
from analysis.questions.cpu_profile.figure import boxes
from analysis.questions.measured import measured
from analysis.rundir.profiles import read_profiles
from analysis.rundir.run import open_run
from analysis.stats.family import NOT_DECIDED
from analysis.stats.intervals import decide
from tests.support.runs.synthetic_run import Truth, write_run

COMMON_MS = {"main;parse": 2.0, "main;answer;encode": 3.0, "main;answer": 0.5}
HOT = "main;answer;hot (planted.py:1)"
HOT_MS = 1.0
"""Per request, in the arm `on` alone."""


def profiled(folder: Path, seed: int, *, hot_ms: float = HOT_MS, others: int = 0) -> CpuProfile:
    """A run whose service burns a known CPU per request, sampled 100 times per second of it.

    `others` are functions of 0.3 ms that burn the same in both arms.
    """
    run = write_run(folder, Truth(rates_per_s=(40.0,), pairs=12, block_s=2.5), seed=seed)
    manifest = json.loads((run / "manifest.json").read_text())
    requests = pd.read_parquet(run / "requests.parquet")
    rng = np.random.default_rng(seed)
    rows = []
    (run / "profiles").mkdir()
    total = {"off": 0.0, "on": 0.0}
    for block in manifest["blocks"]:
        arm = block["arm"]
        truth = COMMON_MS | ({HOT: hot_ms} if arm == "on" and hot_ms else {})
        truth |= {f"main;other{number}": 0.3 for number in range(others)}
        sent = int((requests["block"] == block["block"]).sum())
        # what a block burns scatters, and what samples see of it is a Poisson count
        burnt = {stack: sent * ms * rng.gamma(400, 1 / 400) for stack, ms in truth.items()}
        rows.append((block["start_ns"], total[arm], arm))
        total[arm] += sum(burnt.values()) / 1e3
        rows.append((block["end_ns"], total[arm], arm))
        # a sampler that falls behind takes only some of its samples, in each block another part
        taken = rng.uniform(0.4, 1.0)
        seen = Counter({stack: int(rng.poisson(taken * ms / 10)) for stack, ms in burnt.items()})
        lines = [f"{stack} {count}\n" for stack, count in seen.items() if count]
        if not block["warmup"]:
            (run / "profiles" / f"block-{block['block']}-0.collapsed").write_text("".join(lines))
    counters = pd.DataFrame(
        {
            "t_ns": [t_ns for t_ns, _, _ in rows],
            "source": "service",
            "name": "cpu_seconds",
            "labels": [json.dumps({"arm": arm}) for _, _, arm in rows],
            "value": [value for _, value, _ in rows],
        }
    )
    kept = pd.read_parquet(run / "counters.parquet")
    kept = kept[kept["source"] != "service"]
    pd.concat([kept, counters]).to_parquet(run / "counters.parquet", index=False)
    return question.answer(measured(open_run(run)))


def test_a_function_planted_in_one_arm_is_named_first_with_its_cpu_in_the_interval(
    tmp_path: Path,
) -> None:
    """1 ms per request, in "on" alone: it is first in all of 6 runs, and held in 5 of them."""
    held = 0
    for seed in range(6):
        first = profiled(tmp_path / str(seed), seed).moved[0]
        assert first.function == "hot (planted.py:1)"
        assert first.before.value == 0.0
        assert first.decided == "higher"
        assert first.difference.low is not None
        assert first.difference.high is not None
        held += first.difference.low <= HOT_MS <= first.difference.high
    assert held >= 5


def test_of_many_functions_that_burn_the_same_none_moved(tmp_path: Path) -> None:
    """Each of 33 by its own interval would be false in 4 of 5 runs; together in one of 20."""
    found = [profiled(tmp_path / str(seed), seed, hot_ms=0.0, others=30) for seed in range(6)]
    alone = [row for one in found for row in one.moved if decide(row.difference) != NOT_DECIDED]
    said = [row for one in found for row in one.moved if row.decided != NOT_DECIDED]

    assert len(alone) >= 4
    assert len(said) <= 1


def test_the_functions_add_up_to_the_cpu_that_the_process_counted(tmp_path: Path) -> None:
    """Samples only divide, also where many were lost; the flame graph's root is the whole."""
    found = profiled(tmp_path / "run", 1)
    roots = [node for node in found.nodes if node.parent is None]
    for arm, whole in found.whole.items():
        itself = [row.itself.value or 0.0 for row in found.functions if row.arm == arm]
        assert sum(itself) == pytest.approx(whole.value)
        assert sum(node.cpu_ms[arm] for node in roots) == pytest.approx(whole.value)
    assert found.whole["off"].value == pytest.approx(sum(COMMON_MS.values()), rel=0.03)


def test_a_call_that_burns_all_its_caller_does_is_drawn_in_its_place() -> None:
    """Main → run → (a 3 ms, b 1 ms): main and run are one box, a and b stand below it."""
    cpu = {"main": 4.0, "run": 4.0, "a": 3.0, "b": 1.0}
    parents = {"main": None, "run": 0, "a": 1, "b": 1}
    nodes = [
        Node(function=name, parent=parents[name], cpu_ms={"off": ms}) for name, ms in cpu.items()
    ]
    drawn = {
        nodes[box.node].function: (box.depth, box.left, box.width)
        for box in boxes(nodes, lambda node: node.cpu_ms["off"])
    }
    assert drawn == {"run": (0, 0.0, 4.0), "a": (1, 0.0, 3.0), "b": (1, 3.0, 1.0)}


def test_a_file_that_is_no_profile_is_refused_with_the_line_found(tmp_path: Path) -> None:
    """The message names the file and the line."""
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "block-1-0.collapsed").write_text("main;work many\n")
    with pytest.raises(InputError, match=r"block-1-0.collapsed: 'main;work many'"):
        read_profiles(tmp_path)


def test_a_stack_of_which_the_sampler_read_nothing_is_left_out(tmp_path: Path) -> None:
    """Py-spy writes it as a count without a function, as in a run of the demo."""
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "block-3-0.collapsed").write_text(
        " 1\nmain (a.py:1);work (a.py:7) 4\n"
    )
    found = read_profiles(tmp_path)
    assert [(one.block, one.stack, one.samples) for one in found] == [
        (3, ("main (a.py:1)", "work (a.py:7)"), 4)
    ]
