"""The handler as an ASGI application (uvicorn, granian)."""

import event
from lambda_function import lambda_handler


async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    result = lambda_handler(
        *event.make(
            scope["method"],
            scope["path"],
            scope["query_string"].decode("latin-1"),
            headers,
            scope["client"][0],
        )
    )
    body = result["body"].encode()
    answer = [(name.encode(), value.encode()) for name, value in result["headers"].items()]
    answer.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": result["statusCode"], "headers": answer})
    await send({"type": "http.response.body", "body": body})
