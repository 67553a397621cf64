"""Sets up Python's logging as Lambda does, and writes what the runtime itself has to log."""

import contextlib
import json
import logging
import os
import time
import traceback

from lambda_runtime import faults

TEXT_FORMAT = "[%(levelname)s]\t%(asctime)s.%(msecs)03dZ\t%(aws_request_id)s\t%(message)s\n"
TEXT_TIME = "%Y-%m-%dT%H:%M:%S"
JSON_TIME = "%Y-%m-%dT%H:%M:%SZ"

# Log viewers drop leading spaces; these they keep.
NO_BREAK_SPACE = "\u00a0"

INIT_WARNING = (
    "LAMBDA_WARNING: Unhandled exception. The most likely cause is an issue in the function code. "
    "However, in rare cases, a Lambda runtime update can cause unexpected function behavior. "
    "For functions using managed runtimes, runtime updates can be triggered by a function change, "
    "or can be applied automatically. To determine if the runtime has been updated, check the "
    "runtime version in the INIT_START log entry. If this error correlates with a change in the "
    "runtime version, you may be able to mitigate this error by temporarily rolling back to the "
    "previous runtime version. For more information, see "
    "https://docs.aws.amazon.com/lambda/latest/dg/runtimes-update.html\r"
)

# Attributes of every log record; what else a record carries came with `extra=`.
RECORD_ATTRIBUTES = frozenset(
    """
    name msg args levelname levelno pathname filename module exc_info exc_text stack_info lineno
    funcName created msecs relativeCreated thread threadName processName process aws_request_id
    tenant_id _frame_type
""".split()
)

_request_id: str | None = None
_tenant_id: str | None = None
_json_format = False
# Values that are not JSON are printed rather than lost with the whole record.
_encode = json.JSONEncoder(ensure_ascii=False, default=str).encode


def set_up() -> None:
    """Gives the root logger its one handler. Anything a zygote's imports left there is dropped."""
    global _json_format
    _json_format = os.environ.get("AWS_LAMBDA_LOG_FORMAT", "").upper() == "JSON"
    logging.Formatter.converter = time.gmtime
    handler = StandardOutput()
    handler.setFormatter(JsonFormatter() if _json_format else logging.Formatter(TEXT_FORMAT, TEXT_TIME))
    handler.addFilter(_add_invocation)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    level = os.environ.get("AWS_LAMBDA_LOG_LEVEL", "")
    level = "DEBUG" if level == "TRACE" else level.upper()
    if level in logging._nameToLevel:
        root.setLevel(level)


def set_request_id(request_id: str | None, tenant_id: str | None = None) -> None:
    global _request_id, _tenant_id
    _request_id = request_id
    _tenant_id = tenant_id


def write(text: str) -> None:
    """One log event to standard output, past whatever the function has put in place of `sys.stdout`.

    Lambda sends events in frames. Here they are told apart by lines, so each one ends its line.
    """
    if not text.endswith("\n"):
        text += "\n"
    rest = text.encode("utf-8", "backslashreplace")
    # A function that has closed this descriptor is not heard any more; it is answered all the same.
    with contextlib.suppress(OSError):
        while rest:
            rest = rest[os.write(1, rest) :]


def log_init_warning() -> None:
    logging.warning(INIT_WARNING)


def log_fault(description: dict) -> None:
    """What the log says of an error that the function did not catch."""
    if _json_format:
        stamped = {"timestamp": time.strftime(JSON_TIME, time.gmtime()), "level": "ERROR", **description}
        write(faults.to_json(stamped).decode())
    else:
        write("\n".join(_fault_lines(description)))


def _fault_lines(description: dict) -> list[str]:
    error_type, message = description["errorType"], description["errorMessage"]
    first = ": ".join(part for part in (error_type, message) if part)
    lines = [f"[ERROR] {first}" if first else "[ERROR]", "Traceback (most recent call last):"]
    for entry in description["stackTrace"]:
        for line in entry.splitlines() or [""]:
            unindented = line.lstrip(" ")
            lines.append(NO_BREAK_SPACE * (len(line) - len(unindented)) + unindented)
    return lines


def _add_invocation(record: logging.LogRecord) -> bool:
    record.aws_request_id = _request_id or ""
    record.tenant_id = _tenant_id
    return True


class StandardOutput(logging.Handler):
    """Lets errors in formatting reach the caller of `logging.info(...)`, as Lambda's handler does."""

    def emit(self, record: logging.LogRecord) -> None:
        write(self.format(record))


class JsonFormatter(logging.Formatter):
    def __init__(self):
        super().__init__(datefmt=JSON_TIME)

    def format(self, record: logging.LogRecord) -> str:
        # Lambda knows the standard levels only: others count as the next lower one.
        record.levelno = min(50, max(0, record.levelno)) // 10 * 10
        record.levelname = logging.getLevelName(record.levelno)
        error_type, error, frames = record.exc_info or (None, None, None)
        message_is_object = isinstance(record.msg, dict) and not record.args
        fields = {
            "timestamp": self.formatTime(record, self.datefmt),
            "level": record.levelname,
            "message": record.msg if message_is_object else record.getMessage(),
            "logger": record.name,
            "stackTrace": traceback.format_tb(frames) if record.exc_info else None,
            "errorType": error_type.__name__ if record.exc_info else None,
            "errorMessage": str(error) if record.exc_info else None,
            "requestId": getattr(record, "aws_request_id", None),
            "location": (f"{record.pathname}:{record.funcName}:{record.lineno}" if record.exc_info else None),
        }
        if getattr(record, "tenant_id", None) is not None:
            fields["tenantId"] = record.tenant_id
        for name, value in record.__dict__.items():
            if name not in RECORD_ATTRIBUTES and name not in fields:
                fields[name] = value
        return _encode({name: value for name, value in fields.items() if value is not None})
