"""The first handler: open /hello in a browser, then /hello?name=Kim.

API Gateway hands over the request as `event`; what is returned becomes the response.
"""

import json


def lambda_handler(event, context):
    query = event.get("queryStringParameters") or {}
    name = query.get("name", "Lambda")
    return {"statusCode": 200, "body": json.dumps(f"Hello from {name}!")}
