"""The handler as a WSGI application (gunicorn, granian)."""

import event
from lambda_function import lambda_handler

REASONS = {200: "200 OK"}


def app(environ, start_response):
    headers = {
        name[5:].replace("_", "-").lower(): value
        for name, value in environ.items()
        if name.startswith("HTTP_")
    }
    result = lambda_handler(
        *event.make(
            environ["REQUEST_METHOD"],
            environ["PATH_INFO"],
            environ["QUERY_STRING"],
            headers,
            environ.get("REMOTE_ADDR", ""),
        )
    )
    body = result["body"].encode()
    answer = list(result["headers"].items())
    answer.append(("content-length", str(len(body))))
    status = result["statusCode"]
    start_response(REASONS.get(status) or f"{status} Unknown", answer)
    return [body]
