"""The handler as a Google Cloud Function (functions-framework)."""

import event
import functions_framework
from lambda_function import lambda_handler


@functions_framework.http
def app(request):
    headers = {name.lower(): value for name, value in request.headers.items()}
    result = lambda_handler(
        *event.make(
            request.method,
            request.path,
            request.query_string.decode("latin-1"),
            headers,
            request.remote_addr,
        )
    )
    return result["body"], result["statusCode"], result["headers"]
