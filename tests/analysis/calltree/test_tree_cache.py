import gc
from collections.abc import Callable

import pandas as pd
import pytest

from analysis import critical_path, self_time, shares
from analysis.calltree import call_tree
from tests.support.traces.span_tables import MS, spans

_TABLE = spans(
    {"id": "a", "takes": 100},
    {"id": "b", "parent": "a", "start": 10, "takes": 40},
    {"id": "c", "parent": "a", "start": 60, "takes": 20},
).assign(follows_from=pd.array([False, False, False], dtype="boolean"))


def _answers(table: pd.DataFrame) -> list[object]:
    return [
        self_time.self_time(table).tolist(),
        critical_path.sections(table).to_dict("list"),
        shares.request_shares(table)[["name", "self_ms", "share"]].to_dict("list"),
    ]


def test_one_table_is_planted_once_for_many_questions() -> None:
    """Self time, sections and shares of one table are answered from the same trees."""
    table = _TABLE.copy()
    planted = call_tree.build_trees(table)

    _answers(table)

    assert planted is call_tree.build_trees(table)
    assert planted is not call_tree.build_trees(table.copy())


def _change_in_place(table: pd.DataFrame) -> None:
    table.loc[2, "start_ns"] = 70 * MS


def _lose_a_duration(table: pd.DataFrame) -> None:
    table.loc[1, "duration_ns"] = pd.NA


def _rename(table: pd.DataFrame) -> None:
    table.loc[1, "name"] = "other"


def _replace_a_column(table: pd.DataFrame) -> None:
    table["parent_span_id"] = [None, "a", "b"]


def _turn_a_reference(table: pd.DataFrame) -> None:
    table.loc[1, "follows_from"] = True


@pytest.mark.parametrize(
    "change",
    [_change_in_place, _lose_a_duration, _rename, _replace_a_column, _turn_a_reference],
)
def test_a_changed_table_is_another_one(change: Callable[[pd.DataFrame], None]) -> None:
    """Whatever is changed in a table, the answers are those of a fresh table."""
    table = _TABLE.copy()
    planted = call_tree.build_trees(table)

    change(table)

    assert planted is not call_tree.build_trees(table)
    assert _answers(table.copy()) == _answers(table)


def test_nothing_is_kept_of_a_table_that_is_gone() -> None:
    """The trees go when their table goes: partitions do not pile up."""
    table = _TABLE.copy()
    call_tree.build_trees(table)

    del table
    gc.collect()

    assert call_tree._REMEMBERED._kept is None
