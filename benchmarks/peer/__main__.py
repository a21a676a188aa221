"""`python -m benchmarks.peer --port P`: serve the plain peer."""

from __future__ import annotations

import argparse

import uvicorn

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=8000)
    uvicorn.run(
        "benchmarks.peer.app:app",
        port=parser.parse_args().port,
        access_log=False,
        log_level="warning",
    )
