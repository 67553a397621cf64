"""Items in a PostgreSQL table.

GET    /items        all items
PUT    /items        a new item, or an old one changed: {"id": "1", "name": "tea", "price": 3.5}
GET    /items/{id}   one item
DELETE /items/{id}   remove it
"""

import base64
import json
import os
import ssl
from decimal import Decimal
from urllib.parse import parse_qs, unquote, urlsplit

import pg8000.native

COLUMNS = "id, name, price"


class BadRequest(Exception):
    """The caller made a mistake; its text tells them which."""


class Database:
    """One connection per environment, which serves one request at a time, as the function does."""

    def __init__(self, url):
        self.url = urlsplit(url)
        self.connection = None

    def run(self, statement, **values):
        """Tried once more if the connection has broken: the server may have been started anew.

        Every statement here may be run twice: the second time changes nothing.
        """
        if self.connection:
            try:
                return self.connection.run(statement, **values)
            except (pg8000.native.InterfaceError, OSError):
                self.connection = None
            except pg8000.native.DatabaseError as error:
                # 57P01 and its neighbours: the server says goodbye.
                if not error.args[0]["C"].startswith("57P"):
                    raise
                self.connection = None
        self.connection = self.connect()
        return self.connection.run(statement, **values)

    def connect(self):
        def text(part):
            return unquote(part) if part is not None else None

        mode = parse_qs(self.url.query).get("sslmode", ["prefer"])[0]
        connection = pg8000.native.Connection(
            user=text(self.url.username) or "postgres",
            password=text(self.url.password),
            host=self.url.hostname or "localhost",
            port=self.url.port or 5432,
            database=text(self.url.path.removeprefix("/")) or None,
            ssl_context=ssl.create_default_context() if mode == "verify-full" else None,
            timeout=5,
            application_name="items",
        )
        # Two environments may come here at once; the lock lets one of them make the table.
        connection.run("SELECT pg_advisory_lock(7201)")
        connection.run(
            "CREATE TABLE IF NOT EXISTS items"
            " (id TEXT PRIMARY KEY, name TEXT NOT NULL, price NUMERIC(11, 2) NOT NULL)"
        )
        connection.run("SELECT pg_advisory_unlock(7201)")
        return connection


database = Database(os.environ["DATABASE_URL"])


def lambda_handler(event, context):
    try:
        return ROUTES[event["routeKey"]](event)
    except BadRequest as error:
        return answer(400, {"message": str(error)})


def list_items(event):
    rows = database.run(f"SELECT {COLUMNS} FROM items ORDER BY id")
    return answer(200, {"items": [item(row) for row in rows]})


def put_item(event):
    # A value (:name) is never part of the SQL text, so it cannot change what the text means.
    rows = database.run(
        f"INSERT INTO items ({COLUMNS}) VALUES (:id, :name, :price)"
        f" ON CONFLICT (id) DO UPDATE SET name = :name, price = :price RETURNING {COLUMNS}",
        **read_item(event),
    )
    return answer(200, item(rows[0]))


def get_item(event):
    item_id = event["pathParameters"]["id"]
    rows = database.run(f"SELECT {COLUMNS} FROM items WHERE id = :id", id=item_id)
    return answer(200, item(rows[0])) if rows else not_found(item_id)


def delete_item(event):
    item_id = event["pathParameters"]["id"]
    rows = database.run("DELETE FROM items WHERE id = :id RETURNING id", id=item_id)
    return {"statusCode": 204} if rows else not_found(item_id)


ROUTES = {
    "GET /items": list_items,
    "PUT /items": put_item,
    "GET /items/{id}": get_item,
    "DELETE /items/{id}": delete_item,
}


def item(row):
    item_id, name, price = row
    return {"id": item_id, "name": name, "price": price}


def read_item(event):
    body = event.get("body") or ""
    if event.get("isBase64Encoded"):
        body = base64.b64decode(body)
    try:
        given = json.loads(body, parse_float=Decimal, parse_constant=no_number)
    except ValueError:
        raise BadRequest("the body must be JSON") from None
    if not isinstance(given, dict):
        raise BadRequest("the body must be a JSON object")
    for name in ("id", "name"):
        value = given.get(name)
        if not isinstance(value, str) or not value.strip() or "\0" in value:
            raise BadRequest(f"`{name}` must be a text that is not empty")
    price = given.get("price")
    if type(price) not in (int, Decimal) or not 0 <= price < 10**9 or round(price, 2) != price:
        raise BadRequest("`price` must be a number from 0 with two decimals at most")
    return {"id": given["id"], "name": given["name"].strip(), "price": price}


def no_number(text):
    raise ValueError(text)


def not_found(item_id):
    return answer(404, {"message": f"there is no item `{item_id}`"})


def answer(status, content):
    body = json.dumps(content, default=number, ensure_ascii=False)
    return {"statusCode": status, "headers": {"content-type": "application/json"}, "body": body}


def number(value):
    if isinstance(value, Decimal):
        return int(value) if value == int(value) else float(value)
    raise TypeError(f"{value!r} is not JSON")
