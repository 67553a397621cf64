"""Waits, as a handler does that asks a database."""

import time

RESULT = {"statusCode": 200, "headers": {"content-type": "text/plain"}, "body": "slept"}


def lambda_handler(event, context):
    time.sleep(0.005)
    return RESULT
