"""The context object that a handler gets as its second argument."""

import json
import os
import time

from lambda_runtime import faults, log_setup
from lambda_runtime.faults import Fault

TRACE_FIELDS = ("traceparent", "tracestate", "baggage")


class LambdaContext:
    """One invocation, as the handler may ask about it."""

    def __init__(
        self,
        aws_request_id: str,
        client_context: str | None,
        cognito_identity: str | None,
        deadline_ms: int,
        invoked_function_arn: str | None = None,
        tenant_id: str | None = None,
    ):
        client_context = _parse(client_context, "Client Context") if client_context else None
        cognito_identity = _parse(cognito_identity, "Cognito Identity") if cognito_identity else None
        self.aws_request_id = aws_request_id
        (
            self.log_group_name,
            self.log_stream_name,
            self.function_name,
            self.memory_limit_in_mb,
            self.function_version,
        ) = _function or _read_function()
        self.invoked_function_arn = invoked_function_arn
        self.tenant_id = tenant_id
        self._w3c_fields = _take_trace_fields(client_context)
        self.client_context = None if client_context is None else ClientContext(client_context)
        self.identity = CognitoIdentity(cognito_identity)
        self._epoch_deadline_time_in_ms = deadline_ms

    def get_remaining_time_in_millis(self) -> int:
        return max(self._epoch_deadline_time_in_ms - int(time.time() * 1000), 0)

    def w3c(self) -> dict:
        return dict(self._w3c_fields)

    def log(self, message) -> None:
        log_setup.write(str(message))

    def __repr__(self):
        return (
            f"{type(self).__name__}(["
            f"aws_request_id={self.aws_request_id},"
            f"log_group_name={self.log_group_name},"
            f"log_stream_name={self.log_stream_name},"
            f"function_name={self.function_name},"
            f"memory_limit_in_mb={self.memory_limit_in_mb},"
            f"function_version={self.function_version},"
            f"invoked_function_arn={self.invoked_function_arn},"
            f"client_context={self.client_context},"
            f"identity={self.identity},"
            f"tenant_id={self.tenant_id}"
            "])"
        )


class _Record:
    """Fields and nothing else; a field that was not given is None."""

    __slots__ = ()

    def __repr__(self):
        fields = ",".join(f"{name}={getattr(self, name)}" for name in self.__slots__)
        return f"{type(self).__name__}([{fields}])"


class CognitoIdentity(_Record):
    __slots__ = ("cognito_identity_id", "cognito_identity_pool_id")

    def __init__(self, given: dict | None):
        self.cognito_identity_id = None if given is None else given.get("cognitoIdentityId")
        self.cognito_identity_pool_id = None if given is None else given.get("cognitoIdentityPoolId")


class ClientContext(_Record):
    __slots__ = ("custom", "env", "client")

    def __init__(self, given: dict):
        self.custom = given.get("custom")
        self.env = given.get("env")
        client = given.get("client")
        self.client = None if client is None else Client(client)


class Client(_Record):
    __slots__ = (
        "installation_id",
        "app_title",
        "app_version_name",
        "app_version_code",
        "app_package_name",
    )

    def __init__(self, given: dict):
        for name in self.__slots__:
            setattr(self, name, given.get(name))


_function: tuple | None = None


def _read_function() -> tuple:
    """Read when the first invocation comes, and then kept: reading the environment each time would
    cost more than the rest of the context."""
    global _function
    _function = (
        os.environ.get("AWS_LAMBDA_LOG_GROUP_NAME"),
        os.environ.get("AWS_LAMBDA_LOG_STREAM_NAME"),
        os.environ.get("AWS_LAMBDA_FUNCTION_NAME"),
        os.environ.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE"),
        os.environ.get("AWS_LAMBDA_FUNCTION_VERSION"),
    )
    return _function


def _parse(text: str, name: str):
    try:
        return json.loads(text)
    except Exception as error:
        message = f"Unable to parse {name} JSON: {error}"
        raise Fault(faults.LAMBDA_CONTEXT_UNMARSHAL_ERROR, message) from None


def _take_trace_fields(client_context) -> dict:
    """W3C trace fields travel in the client context, and are not part of it for the handler."""
    if not isinstance(client_context, dict):
        return {}
    given = client_context.pop("w3c", None)
    if not isinstance(given, dict):
        return {}
    return {name: given[name] for name in TRACE_FIELDS if isinstance(given.get(name), str)}
