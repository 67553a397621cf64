import json


def lambda_handler(event, context):
    query = event.get("queryStringParameters") or {}
    name = query.get("name", "Lambda")
    return {"statusCode": 200, "body": json.dumps(f"Hello from {name}!")}
