"""Somebody's catalog: Flask, SQLAlchemy, psycopg2. Nothing of ours, no telemetry of its own.

The change: with ``CHANGE=on`` a product that was read once is not read again.
"""

from __future__ import annotations

import os
from typing import Any

from flask import Flask, Response, jsonify
from sqlalchemy import create_engine, text

engine = create_engine(os.environ["DB_URL"], pool_size=4)
app = Flask("catalog")
remembered: dict[int, dict[str, Any]] = {}


def product(number: int) -> dict[str, Any]:
    """Read a product, or remember it."""
    if number in remembered:
        return remembered[number]
    with engine.connect() as connection:
        found = connection.execute(
            text("SELECT id, name FROM products WHERE id = :id"), {"id": number}
        )
        row = dict(found.mappings().one())
    if os.environ["CHANGE"] == "on":
        remembered[number] = row
    return row


@app.get("/products/<int:number>")
def show(number: int) -> Response:
    """Answer with a product and what is in stock, which changes all the time."""
    row = product(number)
    with engine.connect() as connection:
        stock = connection.execute(
            text("SELECT quantity FROM stock WHERE product_id = :id"), {"id": number}
        ).scalar()
    return jsonify(row | {"stock": stock})
