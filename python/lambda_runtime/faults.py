"""The table of fault names, and how an error is described to whoever called the function."""

import os
import traceback

import _handlerd

MALFORMED_HANDLER_NAME = "Runtime.MalformedHandlerName"
BUILT_IN_MODULE_CONFLICT = "Runtime.BuiltInModuleConflict"
IMPORT_MODULE_ERROR = "Runtime.ImportModuleError"
USER_CODE_SYNTAX_ERROR = "Runtime.UserCodeSyntaxError"
HANDLER_NOT_FOUND = "Runtime.HandlerNotFound"
UNMARSHAL_ERROR = "Runtime.UnmarshalError"
MARSHAL_ERROR = "Runtime.MarshalError"
LAMBDA_CONTEXT_UNMARSHAL_ERROR = "Runtime.LambdaContextUnmarshalError"
BEFORE_SNAPSHOT_ERROR = "Runtime.BeforeSnapshotError"
AFTER_RESTORE_ERROR = "Runtime.AfterRestoreError"

OWN_MODULES = "lambda_runtime."


class Fault(Exception):
    """An error that the runtime names, rather than the class of an exception."""

    def __init__(self, error_type: str, message: str, stack_trace: list[str] | None = None):
        super().__init__(message)
        self.error_type = error_type
        self.message = message
        self.stack_trace = stack_trace or []


def describe(error: BaseException, request_id: str | None) -> dict:
    """What the caller gets to see. Only this exception: causes and contexts are left out.

    An exception whose `__str__` raises is not described: that error leaves this function, and ends
    the process as it does in Lambda.
    """
    if isinstance(error, Fault):
        error_type, message, stack_trace = error.error_type, error.message, error.stack_trace
    else:
        error_type, message, stack_trace = type(error).__name__, str(error), stack_trace_of(error)
    return {
        "errorMessage": message,
        "errorType": error_type,
        "requestId": request_id or "",
        "stackTrace": stack_trace,
    }


def stack_trace_of(error: BaseException) -> list[str]:
    frames = error.__traceback__
    while frames is not None and _is_ours(frames.tb_frame):
        frames = frames.tb_next
    # Through plain tuples, because a FrameSummary would be printed with its column markers.
    summaries = [(f.filename, f.lineno, f.name, f.line) for f in traceback.extract_tb(frames)]
    return traceback.format_list(summaries)


def _is_ours(frame) -> bool:
    return frame.f_globals.get("__name__", "").startswith(OWN_MODULES)


def to_json(description: dict) -> bytes:
    try:
        return _handlerd.dumps(description, ensure_ascii())
    except UnicodeEncodeError:  # a lone surrogate in the message: better escaped than lost
        return _handlerd.dumps(description, True)


def ensure_ascii() -> bool:
    """Whether JSON is written in ASCII only, as the runtimes before python3.12 did."""
    name, _, minor = os.environ.get("AWS_EXECUTION_ENV", "").rpartition(".")
    return not (name == "AWS_Lambda_python3" and minor.isdecimal() and int(minor) >= 12)


def unmarshal_fault(error: Exception) -> Fault:
    return Fault(UNMARSHAL_ERROR, f"Unable to unmarshal input: {error}")


def marshal_fault(error: BaseException) -> Fault:
    """Raises the error again if it is one that ends the process in Lambda."""
    if not isinstance(error, Exception) or getattr(error, "ends_process", False):
        raise error
    return Fault(MARSHAL_ERROR, f"Unable to marshal response: {error}")
