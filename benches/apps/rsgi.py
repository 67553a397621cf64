"""The handler as an RSGI application (granian's own interface)."""

import event
from lambda_function import lambda_handler


async def app(scope, protocol):
    headers = dict(scope.headers.items())
    source_ip = scope.client.rpartition(":")[0]
    result = lambda_handler(
        *event.make(scope.method, scope.path, scope.query_string, headers, source_ip)
    )
    protocol.response_str(result["statusCode"], list(result["headers"].items()), result["body"])
