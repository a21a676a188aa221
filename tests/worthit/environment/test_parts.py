"""Which parts an environment has: what variables choose, before anything is started."""

from __future__ import annotations

import pytest

from worthit.environment.parts import forwarding_recorder
from worthit.process.workspace import Workspace


@pytest.mark.parametrize(
    ("endpoint", "copied"),
    [
        ("http://localhost:4318", False),
        ("http://127.0.0.1:4317", False),
        ("http://localhost:4319", True),
        ("http://collector:4318", True),
        ("no address", True),
    ],
)
def test_the_recorder_sends_itself_no_copy(endpoint: str, copied: bool) -> None:  # noqa: FBT001 - a parameter of the test's
    """A shell set up for the service names the recorder's own ports: that would never end."""
    environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint}
    with Workspace() as workspace:
        recorder = forwarding_recorder(workspace, environ, http_port=4318, grpc_port=4317)

    assert (recorder.forward == endpoint) is copied
    assert (recorder.forward is None) is not copied
