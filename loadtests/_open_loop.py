"""The user class whose load does not wait for the service: subclass it, give it ``arrive`` or ordinary tasks.

    from locust import task
    from loadtests._open_loop import OpenLoopUser

    class Shop(OpenLoopUser):
        host = "http://127.0.0.1:8000"

        @task
        def browse(self):
            self.client.get("/")

``locust -f shop.py --headless --arrival-rate 100 --duration 20`` sends 100 requests a second for 20 seconds, whatever the
service does meanwhile. One instance a worker serves all arrivals, each in a greenlet of its own: keep what belongs to one
arrival in local variables, not on ``self``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, cast

import gevent
from gevent import getcurrent
from locust import FastHttpUser
from locust.argument_parser import LocustArgumentParser
from locust.user.task import LOCUST_STATE_WAITING

from loadtests._arrival import Arrival

if TYPE_CHECKING:
    from locust.env import Environment

_FOREVER_SECONDS = 3600.0


class OpenLoopUser(FastHttpUser):
    """A user whose arrivals follow a schedule, independent of responses."""

    abstract = True
    scenario: ClassVar[str] = ""
    """The scenario's name in baggage and tables; the class's name when empty."""
    default_rate: ClassVar[str] = "10"
    """Arrivals a second, in --arrival-rate's words, when neither a plan nor that argument says otherwise."""
    concurrency = 20_000
    """Connections a worker may hold to one host; --max-in-flight is the cap that is reported."""
    network_timeout = 60.0
    connection_timeout = 10.0

    knobs: Mapping[str, Any]
    """The values of the scenario's own arguments for this run."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if not cls.__dict__.get("abstract", False):
            from loadtests import _install  # noqa: PLC0415 - _install needs this class

            _install.install()
            _install.register(cls)

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self.knobs = {}

    @classmethod
    def scenario_name(cls) -> str:
        """Return the scenario's name."""
        return cls.scenario or cls.__name__

    @classmethod
    def add_knobs(cls, parser: LocustArgumentParser) -> None:
        """Override to give the scenario arguments of its own; their values arrive in ``self.knobs`` under their ``dest``."""

    @property
    def arrival(self) -> Arrival:
        """The arrival that the running greenlet serves."""
        return cast("Arrival", getcurrent().worthit_arrival)

    def arrive(self, arrival: Arrival) -> None:
        """Serve one arrival; override this, or give the class tasks, of which one is drawn by weight."""
        tasks = self.tasks
        if not tasks:
            raise NotImplementedError(
                f"{type(self).__name__} has neither arrive() nor tasks; give it one of them."
            )
        chosen = tasks[arrival.integer("task", len(tasks))]
        chosen(self)  # type: ignore[call-arg,arg-type] - a task of this class, called as Locust calls it

    def run(self) -> None:
        """Wait to be stopped: the arrivals come from the schedule, not from this user's own loop."""
        self._state = LOCUST_STATE_WAITING
        while True:
            gevent.sleep(_FOREVER_SECONDS)
