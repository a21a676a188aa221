"""Their locustfile, but for its base class: ten objects in turn, and the path is no name."""

import itertools
import os

from locust import task

from worthit.load import OpenLoopUser


class Shop(OpenLoopUser):
    """Somebody who looks at one thing after another."""

    numbers = itertools.count()

    @task
    def look(self) -> None:
        """Ask for the next."""
        self.client.get(f"{os.environ['ASKED_PATH']}/{next(self.numbers) % 10}")
