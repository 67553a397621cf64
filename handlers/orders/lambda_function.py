"""Logging, configuration and errors.

Order a tea:

    curl http://127.0.0.1:3000/orders -H 'content-type: application/json' -d '{"item": "tea"}'

A caller's mistake ("quantity": 0, say) is answered with 400. Something that nobody expected, such as
a payment that fails ("card": "declined"), is an exception: the caller learns only that there was an
"Internal Server Error", and you see the traceback in the terminal and in `handlerd logs orders`.
"""

import json
import logging
import os

# Lambda sets up the root logger; a logger of one's own says where a line comes from.
logger = logging.getLogger("orders")

# From function.yaml, or from a .env beside it, which wins.
CURRENCY = os.environ["CURRENCY"]
MOST_AT_ONCE = int(os.environ["MOST_AT_ONCE"])

PRICES = {"coffee": 4.2, "tea": 3.5}


class PaymentFailed(Exception):
    pass


def lambda_handler(event, context):
    try:
        order = json.loads(event.get("body") or "")
        problem = problem_with(order)
    except ValueError:
        problem = "the body must be JSON, with `content-type: application/json`"
    if problem:
        # With JSON logs, what is in `extra` becomes fields that one can search for.
        logger.warning("refused an order", extra={"problem": problem})
        return answer(400, {"message": problem})

    total = round(PRICES[order["item"]] * order["quantity"], 2)
    logger.debug("the order costs %s %s", total, CURRENCY)
    pay(order.get("card", "valid"), total)
    logger.info("took an order", extra={"item": order["item"], "total": total})
    receipt = {"order": context.aws_request_id, "total": total, "currency": CURRENCY}
    return answer(201, receipt)


def problem_with(order):
    if not isinstance(order, dict):
        return "the body must be a JSON object"
    if order.get("item") not in PRICES:
        return f"`item` must be one of: {', '.join(PRICES)}"
    quantity = order.get("quantity", 1)
    if type(quantity) is not int or not 1 <= quantity <= MOST_AT_ONCE:
        return f"`quantity` must be a whole number from 1 to {MOST_AT_ONCE}"
    order["quantity"] = quantity
    return None


def pay(card, total):
    if card == "declined":
        raise PaymentFailed(f"the bank declined a payment of {total} {CURRENCY}")


def answer(status, body):
    return {
        "statusCode": status,
        "headers": {"content-type": "application/json"},
        "body": json.dumps(body),
    }
