"""The user classes whose arrivals a schedule drives, and what the engine needs of them.

``OpenLoopUser`` registers its subclasses here. The engine reads this list and never imports that
class, which imports the engine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from worthit.contract.plan import PlanError
from worthit.load.schedule.arrival import Arrival

if TYPE_CHECKING:
    from locust.argument_parser import LocustArgumentParser
    from locust.env import Environment


class ScheduledUser(Protocol):
    """A user that serves the arrivals of a schedule."""

    host: str | None
    weight: float
    default_rate: ClassVar[str]
    plan_knobs: Mapping[str, Any]

    def __init__(self, environment: Environment) -> None: ...

    @classmethod
    def scenario_name(cls) -> str:
        """Return the scenario's name."""

    @classmethod
    def add_knobs(cls, parser: LocustArgumentParser) -> None:
        """Add the scenario's own arguments."""

    def on_start(self) -> None:
        """Get ready."""

    def arrive(self, arrival: Arrival) -> None:
        """Serve one arrival."""


_registered: list[type[ScheduledUser]] = []


def register(kind: type[ScheduledUser]) -> None:
    """Make a user class known."""
    _registered.append(kind)


def by_scenario_name() -> dict[str, type[ScheduledUser]]:
    """Return every known user class by its scenario's name."""
    return {kind.scenario_name(): kind for kind in _registered}


def scheduled(environment: Environment) -> list[type[ScheduledUser]]:
    """Return those of Locust's chosen user classes that a schedule drives."""
    chosen: Sequence[Any] = environment.user_classes
    return [kind for kind in _registered if kind in chosen]


def user_class(name: str) -> type[ScheduledUser]:
    """Return a known class by its own name, whether or not it was picked for this process."""
    found = [kind for kind in _registered if kind.__name__ == name]
    if not found:
        raise PlanError(
            f"The run needs the user class {name}, which this worker does not have; start every "
            "worker with the master's -f."
        )
    return found[-1]
