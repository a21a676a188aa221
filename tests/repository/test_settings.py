"""Every setting of the service is an arm's to set, or worthit's, or fixed."""

from __future__ import annotations

from itertools import combinations

from reference_service.settings import Settings
from worthit.cli.terminal.running import OWN_SERVERS, _forget_settings
from worthit.experiments.model import FIXED_SETTINGS, RESERVED_SETTINGS, SERVICE_SETTINGS

KINDS = (SERVICE_SETTINGS, RESERVED_SETTINGS, FIXED_SETTINGS)


def test_the_three_kinds_are_all_settings_of_the_service() -> None:
    """A new setting belongs to exactly one of the three; write it there."""
    of_the_service = {name.upper() for name in Settings.model_fields}
    ours = {name for kind in KINDS for name in kind if not name.startswith("OTEL_")}

    assert of_the_service == ours
    assert [] == [one & other for one, other in combinations(KINDS, 2) if one & other]


def test_none_of_them_reaches_an_arm_from_the_shell() -> None:
    """In capitals or not: the service reads both. Own servers and all else stay."""
    kept = {"PATH": "/bin", "LOG_LEVELS": "x", **dict.fromkeys(OWN_SERVERS, "own")}
    settings = {name for kind in KINDS for name in kind}
    spelled = settings | {name.lower() for name in settings}
    environ = dict.fromkeys(spelled, "left in the shell") | kept

    _forget_settings(environ)

    assert environ == kept
