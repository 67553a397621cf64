"""Computes, in Python, for about 0.7 ms; ROUNDS is set by the benchmark for its interpreter."""

ROUNDS = 10_000


def lambda_handler(event, context):
    total = 0
    for number in range(ROUNDS):
        total += number & 7
    return {"statusCode": 200, "headers": {"content-type": "text/plain"}, "body": str(total)}
