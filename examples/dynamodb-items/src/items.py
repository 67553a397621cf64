"""Items in a DynamoDB table.

GET    /items        all items
PUT    /items        a new item, or an old one changed: {"id": "1", "name": "tea", "price": 3.5}
GET    /items/{id}   one item
DELETE /items/{id}   remove it
"""

import base64
import json
import os
from decimal import Decimal

import boto3

# Made once per environment: the connection is kept from one request to the next. Which DynamoDB it
# leads to is said outside: nothing here knows whether it is AWS's.
table = boto3.resource("dynamodb").Table(os.environ["TABLE"])


class BadRequest(Exception):
    """The caller made a mistake; its text tells them which."""


def lambda_handler(event, context):
    try:
        return ROUTES[event["routeKey"]](event)
    except BadRequest as error:
        return answer(400, {"message": str(error)})


def list_items(event):
    items = []
    page = table.scan()
    items += page["Items"]
    # A page has a megabyte at most.
    while "LastEvaluatedKey" in page:
        page = table.scan(ExclusiveStartKey=page["LastEvaluatedKey"])
        items += page["Items"]
    return answer(200, {"items": sorted(items, key=lambda item: item["id"])})


def put_item(event):
    item = read_item(event)
    table.put_item(Item=item)
    return answer(200, item)


def get_item(event):
    item_id = event["pathParameters"]["id"]
    # Consistent: whoever has just put an item finds it.
    item = table.get_item(Key={"id": item_id}, ConsistentRead=True).get("Item")
    return answer(200, item) if item else not_found(item_id)


def delete_item(event):
    item_id = event["pathParameters"]["id"]
    deleted = table.delete_item(Key={"id": item_id}, ReturnValues="ALL_OLD")
    return {"statusCode": 204} if "Attributes" in deleted else not_found(item_id)


ROUTES = {
    "GET /items": list_items,
    "PUT /items": put_item,
    "GET /items/{id}": get_item,
    "DELETE /items/{id}": delete_item,
}


def read_item(event):
    body = event.get("body") or ""
    if event.get("isBase64Encoded"):
        body = base64.b64decode(body)
    try:
        # DynamoDB's numbers are decimal; boto3 takes no float, which would not be what was written.
        item = json.loads(body, parse_float=Decimal, parse_constant=no_number)
    except ValueError:
        raise BadRequest("the body must be JSON") from None
    if not isinstance(item, dict):
        raise BadRequest("the body must be a JSON object")
    for name in ("id", "name"):
        if not isinstance(item.get(name), str) or not item[name].strip():
            raise BadRequest(f"`{name}` must be a text that is not empty")
    price = item.get("price")
    if type(price) not in (int, Decimal) or not 0 <= price < 10**9 or round(price, 2) != price:
        raise BadRequest("`price` must be a number from 0 with two decimals at most")
    return {"id": item["id"], "name": item["name"].strip(), "price": price}


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
