"""An execution environment without the Rust side: takes the same steps in the same order.

Reads what to do from standard input, and writes one line of JSON per outcome to the file descriptor
that is its argument.
"""

import base64
import json
import os
import sys

import _handlerd
from lambda_runtime import bootstrap, faults
from lambda_runtime.context import LambdaContext

RESULTS = int(sys.argv[1])  # before the runtime gives the function an argv of its own


def main() -> None:
    order = json.load(sys.stdin)
    bootstrap.prepare()
    # As in a zygote's spare child: nothing of it may be seen later.
    bootstrap.rehearse()
    bootstrap.start(order["settings"])
    try:
        handler = bootstrap.load()
    except Exception as error:
        tell("init error", bootstrap.init_fault(seen_from_rust(error)))
        sys.exit(1)
    ensure_ascii = bootstrap.ensure_ascii()
    for invocation in order["invocations"]:
        bootstrap.begin(invocation["request_id"], invocation["trace_id"], invocation["tenant_id"])
        try:
            tell(*invoke(handler, invocation, ensure_ascii))
        except Exception as error:
            if getattr(error, "ends_process", False):
                raise
            tell("error", bootstrap.invoke_fault(seen_from_rust(error), invocation["request_id"]))


def invoke(handler, invocation: dict, ensure_ascii: bool) -> tuple[str, bytes]:
    try:
        context = LambdaContext(
            invocation["request_id"],
            invocation["client_context"],
            invocation["cognito_identity"],
            invocation["deadline_ms"],
            invocation["invoked_function_arn"],
            invocation["tenant_id"],
        )
        event = unmarshal(base64.b64decode(invocation["event"]))
        result = handler(event, context)
    except Exception as error:
        raise seen_from_rust(error) from None
    if isinstance(result, bytes):
        return "raw response", result
    try:
        return "response", _handlerd.dumps(result, ensure_ascii)
    except BaseException as error:
        raise faults.marshal_fault(error) from None


def unmarshal(payload: bytes):
    try:
        return _handlerd.loads(payload)
    except Exception as error:
        raise faults.unmarshal_fault(error) from None


def seen_from_rust(error: Exception) -> Exception:
    """Without the frames of this file: Rust has none."""
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename == __file__:
        frames = frames.tb_next
    return error.with_traceback(frames)


def tell(kind: str, body: bytes) -> None:
    line = json.dumps([kind, base64.b64encode(body).decode()])
    os.write(RESULTS, line.encode() + b"\n")


main()
