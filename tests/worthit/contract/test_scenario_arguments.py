from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from worthit.contract.scenario_arguments import ARGUMENTS, SCENARIOS, Value


@pytest.mark.parametrize(
    ("name", "value", "accepted"),
    [
        ("popular", 1, True),
        ("popular", 3.0, True),
        ("popular", "20", True),
        ("popular", 0, False),
        ("popular", 1.5, False),
        ("popular", True, False),
        ("popular", float("inf"), False),
        ("cold_fraction", 0, True),
        ("cold_fraction", "0.5", True),
        ("cold_fraction", 1.01, False),
        ("cold_fraction", float("nan"), False),
        ("zipf_exponent", 2.5, True),
        ("zipf_exponent", -1, False),
        ("zipf_exponent", "many", False),
        ("order", "uniform", True),
        ("order", "sideways", False),
    ],
)
def test_a_value_that_its_scenario_would_refuse_is_refused(
    name: str, value: Value, *, accepted: bool
) -> None:
    """Counts are whole and from 1, fractions from 0 to 1, numbers finite; choices are listed."""
    assert accepted == ARGUMENTS[name].accepts(value)


def test_every_default_is_accepted_and_every_argument_has_help() -> None:
    """A scenario can be run as it stands."""
    for arguments in SCENARIOS.values():
        for argument in arguments:
            assert argument.accepts(argument.default)
            assert argument.help


OF_A_USER = """
from locust import task
from worthit.contract.scenario_arguments import Argument, whole_number_from_1
from worthit.load.open_loop import OpenLoopUser


class Shop(OpenLoopUser):
    arguments = (
        Argument(name="basket_size", takes=whole_number_from_1, default=3, help="Things."),
    )

    @task
    def buy(self):
        pass


from locust.argument_parser import LocustArgumentParser

parser = LocustArgumentParser(default_config_files=[])
Shop.add_knobs(parser)
Shop.add_knobs(parser)
print(parser.parse_args([]).basket_size, parser.parse_args(["--basket-size", "5"]).basket_size)
parser.parse_args(["--basket-size", "0"])
"""


def test_a_scenario_of_a_users_own_file_declares_its_arguments(tmp_path: Path) -> None:
    """They become Locust's, with their default, and a value that will not do is refused."""
    (tmp_path / "shop.py").write_text(OF_A_USER, encoding="utf-8")

    ended = subprocess.run(
        [sys.executable, "shop.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert "3 5" == ended.stdout.strip(), ended.stderr
    assert 2 == ended.returncode
    assert "argument --basket-size: invalid whole_number_from_1 value: '0'" in ended.stderr
