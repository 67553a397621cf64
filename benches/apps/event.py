"""What stands in for a gateway in front of the Python servers: a request as an API Gateway event.

Kept as cheap as it can be, so that the figures are those of the servers.
"""

import itertools
import time

_count = itertools.count()


class Context:
    __slots__ = ("aws_request_id",)

    def __init__(self, request_id):
        self.aws_request_id = request_id


def make(method, path, query, headers, source_ip):
    """The event in payload format 2.0 and its context; `headers` has lower-case names."""
    request_id = f"00000000-0000-0000-0000-{next(_count):012x}"
    parameters = {}
    for pair in query.split("&") if query else ():
        name, _, value = pair.partition("=")
        parameters[name] = value
    event = {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": query,
        "headers": headers,
        "queryStringParameters": parameters,
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "bench",
            "domainName": headers.get("host"),
            "domainPrefix": "localhost",
            "http": {
                "method": method,
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": source_ip,
                "userAgent": headers.get("user-agent"),
            },
            "requestId": request_id,
            "routeKey": "$default",
            "stage": "$default",
            "time": "01/Jan/2026:00:00:00 +0000",
            "timeEpoch": int(time.time() * 1000),
        },
        "isBase64Encoded": False,
    }
    return event, Context(request_id)
