"""The handler that every server runs: reads the event, answers with five keys as JSON."""

import json


def lambda_handler(event, context):
    query = event.get("queryStringParameters") or {}
    http = event["requestContext"]["http"]
    body = {
        "message": f"Hello, {query.get('name', 'world')}!",
        "path": event["rawPath"],
        "method": http["method"],
        "requestId": context.aws_request_id,
        "x": query.get("x"),
    }
    return {
        "statusCode": 200,
        "headers": {"content-type": "application/json"},
        "body": json.dumps(body),
    }
