"""The user class whose load does not wait for the service.

Subclass it and give it ``arrive`` or ordinary tasks:

    from locust import task
    from worthit.load import OpenLoopUser

    class Shop(OpenLoopUser):
        host = "http://127.0.0.1:8000"

        @task
        def browse(self):
            self.client.get("/")

``locust -f shop.py --headless --arrival-rate 100 --duration 20`` sends 100 requests per second for
20 seconds, whatever the service does meanwhile. One instance per worker serves all arrivals, each
in a greenlet of its own: keep what belongs to one arrival in local variables, not on ``self``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, cast

import gevent
from gevent import Greenlet, getcurrent
from gevent.pool import Group
from locust import FastHttpUser
from locust.argument_parser import LocustArgumentParser
from locust.user.task import LOCUST_STATE_WAITING
from typing_extensions import override

from worthit.contract.scenario_arguments import Argument
from worthit.load import install, scenarios
from worthit.load.requests.cookies import QuietCookieJar
from worthit.load.schedule.arrival import Arrival

if TYPE_CHECKING:
    from locust.env import Environment

_FOREVER_SECONDS = 3600.0


class OpenLoopUser(FastHttpUser):
    """A user whose arrivals follow a schedule, independent of responses."""

    abstract = True
    scenario: ClassVar[str] = ""
    """The scenario's name in baggage and tables; the class's name when empty."""
    default_rate: ClassVar[str] = "10"
    """Arrivals per second, in --arrival-rate's words, when neither a plan nor that argument says
    otherwise."""
    concurrency = 20_000
    """Connections a worker may hold to one host; --max-in-flight is the cap that is reported."""
    network_timeout = 60.0
    connection_timeout = 10.0

    arguments: ClassVar[tuple[Argument, ...]] = ()
    """The scenario's own arguments."""

    @override
    def __init_subclass__(cls, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        if not cls.__dict__.get("abstract", False):
            if cls.arrive is not OpenLoopUser.arrive and not cls.tasks:
                cls.tasks = [scheduled]  # Locust warns of a user without tasks
            install.install()
            scenarios.register(cls)

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self.client.cookiejar = self.client.client.cookiejar = QuietCookieJar()
        self.plan_knobs: Mapping[str, Any] = {}
        """The knobs of the whole run; ``knobs`` is what holds for the arrival."""

    @classmethod
    def scenario_name(cls) -> str:
        """Return the scenario's name."""
        return cls.scenario or cls.__name__

    @classmethod
    def add_knobs(cls, parser: LocustArgumentParser) -> None:
        """Add ``arguments`` to Locust's; override it to add others.

        Their values arrive in ``self.knobs`` by ``dest``. Of an argument that several scenarios
        share, the first to ask adds it.
        """
        for argument in cls.arguments:
            if argument.flag not in parser._option_string_actions:  # noqa: SLF001 - argparse has no public way to ask
                parser.add_argument(
                    argument.flag,
                    type=argument.takes,
                    default=argument.default,
                    choices=argument.choices or None,
                    help=argument.help,
                )

    @property
    def knobs(self) -> Mapping[str, Any]:
        """The values of the scenario's own arguments, for the arrival being served."""
        arrival: Arrival | None = getattr(getcurrent(), "worthit_arrival", None)
        own = None if arrival is None else arrival.block.knobs
        return self.plan_knobs if own is None else own

    @property
    def arrival(self) -> Arrival:
        """The arrival that the running greenlet serves."""
        return cast("Arrival", getcurrent().worthit_arrival)

    def arrive(self, arrival: Arrival) -> None:
        """Serve one arrival: override this, or give the class tasks, drawn by weight."""
        tasks = self.tasks
        if not tasks:
            raise NotImplementedError(
                f"{type(self).__name__} has neither arrive() nor tasks; give it one of them."
            )
        chosen = tasks[arrival.integer("task", len(tasks))]
        if isinstance(chosen, type):
            raise TypeError(
                f"{chosen.__name__} is a TaskSet; an arrival needs a plain @task method."
            )
        cast("Callable[[OpenLoopUser], None]", chosen)(self)

    @override
    def start(self, group: Group) -> Greenlet:
        """Start the greenlet that Locust counts as a user; it only waits to be stopped."""
        self._group = group
        self._state = LOCUST_STATE_WAITING
        self._greenlet = group.spawn(_wait_to_be_stopped, self)
        return self._greenlet


def scheduled(user: OpenLoopUser) -> None:
    """Stand on Locust's page for what the schedule has the user do."""
    user.arrive(user.arrival)


def _wait_to_be_stopped(_user: OpenLoopUser) -> None:
    """Take the user as an argument, because Locust finds it there."""
    while True:
        gevent.sleep(_FOREVER_SECONDS)
