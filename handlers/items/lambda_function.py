"""A JSON API over a database, with one function for all of its paths.

    GET    /items        all items
    POST   /items        a new item: {"name": "tea", "price": 3.5}
    GET    /items/{id}   one item
    PUT    /items/{id}   change it
    DELETE /items/{id}   remove it

The database is a SQLite file, through Python's standard library; function.yaml says where it is.
"""

import base64
import json
import os
import sqlite3
from pathlib import Path


class BadRequest(Exception):
    """The caller made a mistake; its text tells them which."""


def open_database():
    # An absolute path in DATABASE stays as it is.
    path = Path(__file__).parent / os.environ["DATABASE"]
    path.parent.mkdir(parents=True, exist_ok=True)
    # Several environments may serve this function at once, each in a process of its own: SQLite
    # lets one write at a time, and the others wait for it, up to five seconds.
    database = sqlite3.connect(path, timeout=5, isolation_level=None)
    database.row_factory = sqlite3.Row
    database.execute(
        "CREATE TABLE IF NOT EXISTS items"
        " (id INTEGER PRIMARY KEY, name TEXT NOT NULL, price REAL NOT NULL)"
    )
    return database


# What stands outside of functions runs once per environment, not once per request.
database = open_database()


def lambda_handler(event, context):
    method = event["requestContext"]["http"]["method"]
    # /items/7 arrives with {"proxy": "7"}, /items without path parameters.
    item_id = (event.get("pathParameters") or {}).get("proxy")
    try:
        if item_id is None:
            return all_items(method, event)
        return one_item(method, item_id, event)
    except BadRequest as error:
        return answer(400, {"message": str(error)})


def all_items(method, event):
    if method == "GET":
        rows = database.execute("SELECT id, name, price FROM items ORDER BY id")
        return answer(200, {"items": [dict(row) for row in rows]})
    if method == "POST":
        item = read_item(event)
        cursor = database.execute("INSERT INTO items (name, price) VALUES (:name, :price)", item)
        created = {"id": cursor.lastrowid} | item
        return answer(201, created, {"location": f"/items/{cursor.lastrowid}"})
    return not_allowed("GET, POST")


def one_item(method, item_id, event):
    # A parameter (:id) is never part of the SQL text, so it cannot change what the text means.
    if method == "GET":
        query = "SELECT id, name, price FROM items WHERE id = :id"
        parameters = {"id": item_id}
    elif method == "PUT":
        query = "UPDATE items SET name = :name, price = :price WHERE id = :id RETURNING id"
        parameters = {"id": item_id} | read_item(event)
    elif method == "DELETE":
        query = "DELETE FROM items WHERE id = :id RETURNING id"
        parameters = {"id": item_id}
    else:
        return not_allowed("DELETE, GET, PUT")

    # All rows are fetched: a statement that has more to give keeps the database locked.
    rows = database.execute(query, parameters).fetchall()
    if not rows:
        return answer(404, {"message": f"there is no item {item_id}"})
    if method == "DELETE":
        return {"statusCode": 204}
    return answer(200, parameters | dict(rows[0]))


def read_item(event):
    body = event.get("body") or ""
    # API Gateway encodes bodies whose content-type is not one of text, JSON or XML.
    if event.get("isBase64Encoded"):
        body = base64.b64decode(body)
    try:
        item = json.loads(body)
    except ValueError:
        raise BadRequest("the body must be JSON") from None
    if not isinstance(item, dict):
        raise BadRequest("the body must be a JSON object")
    name, price = item.get("name"), item.get("price")
    if not isinstance(name, str) or not name.strip():
        raise BadRequest("`name` must be a text that is not empty")
    # In Python, True is a number too.
    if isinstance(price, bool) or not isinstance(price, int | float) or not 0 <= price < 1e12:
        raise BadRequest("`price` must be a number, 0 or more")
    return {"name": name.strip(), "price": float(price)}


def not_allowed(methods):
    return answer(405, {"message": f"this path takes {methods}"}, {"allow": methods})


def answer(status, body, headers=None):
    return {
        "statusCode": status,
        "headers": {"content-type": "application/json"} | (headers or {}),
        "body": json.dumps(body),
    }
