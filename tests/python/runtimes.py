"""Runs one function in the two runtimes: AWS's own against a small Runtime API, and ours."""

import base64
import dataclasses
import http.client
import http.server
import json
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

REQUEST_ID = "8b3c2f0e-7f0a-4b58-9d0b-4f5a3d8a3e{:02d}"
FUNCTION_ARN = "arn:aws:lambda:eu-central-1:123456789012:function:hello"
FAR_DEADLINE = 4102444800000


@dataclasses.dataclass
class Invocation:
    event: bytes | object = dataclasses.field(default_factory=dict)
    client_context: str | None = None
    cognito_identity: str | None = None
    tenant_id: str | None = None
    trace_id: str | None = "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=0"
    deadline_ms: int = FAR_DEADLINE

    @property
    def payload(self) -> bytes:
        return self.event if isinstance(self.event, bytes) else json.dumps(self.event).encode()


@dataclasses.dataclass
class Run:
    """What could be seen of a run: an outcome for each invocation, one for init if it failed."""

    outcomes: list[tuple]  # ("response", body) | ("error", body) | ("init error", body) | ("exit", n)
    log: str


def environment(runtime: str, task_root: Path, handler: str, extra: dict) -> dict:
    return {
        "AWS_EXECUTION_ENV": f"AWS_Lambda_{runtime}",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128",
        "AWS_LAMBDA_FUNCTION_NAME": "hello",
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/hello",
        "AWS_LAMBDA_LOG_STREAM_NAME": "2025/01/01/[$LATEST]0123456789abcdef0123456789abcdef",
        "AWS_REGION": "eu-central-1",
        "LAMBDA_TASK_ROOT": str(task_root),
        "LANG": "C.UTF-8",
        "PATH": os.defpath,
        "TZ": ":UTC",
        "_HANDLER": handler,
        **extra,
    }


# --- AWS's ---------------------------------------------------------------------------------------


# A description of the error for X-Ray comes in a header, however long.
http.client._MAXLINE = 2 << 20


class RuntimeApi(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, invocations: list[Invocation]):
        super().__init__(("127.0.0.1", 0), RuntimeApiHandler)
        self.waiting = list(enumerate(invocations))
        self.outcomes = []
        self.all_answered = threading.Event()
        self.closed = threading.Event()


class RuntimeApiHandler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if not self.server.waiting:
            self.server.all_answered.set()
            self.server.closed.wait()
            self.close_connection = True
            return
        number, invocation = self.server.waiting.pop(0)
        headers = {
            "Content-Type": "application/json",
            "Lambda-Runtime-Aws-Request-Id": REQUEST_ID.format(number),
            "Lambda-Runtime-Deadline-Ms": str(invocation.deadline_ms),
            "Lambda-Runtime-Invoked-Function-Arn": FUNCTION_ARN,
            "Lambda-Runtime-Trace-Id": invocation.trace_id,
            "Lambda-Runtime-Client-Context": invocation.client_context,
            "Lambda-Runtime-Cognito-Identity": invocation.cognito_identity,
            "Lambda-Runtime-Aws-Tenant-Id": invocation.tenant_id,
        }
        self.answer(200, invocation.payload, headers)

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        kinds = {
            "/response": "response",
            "/init/error": "init error",
            "/error": "error",
        }
        kind = next(kind for ending, kind in kinds.items() if self.path.endswith(ending))
        if self.headers["Content-Type"] == "application/unknown":
            kind = "raw response"
        self.server.outcomes.append((kind, body))
        self.answer(202, b"", {})

    def answer(self, status, body, headers):
        self.send_response(status)
        for name, value in headers.items():
            if value is not None:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def run_aws(task_root: Path, variables: dict, invocations: list[Invocation]) -> Run:
    server = RuntimeApi(invocations)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    process = subprocess.Popen(
        [sys.executable, "-B", "-m", "awslambdaric", variables["_HANDLER"]],
        # Log frames share standard output with what is printed, so that their order is seen.
        env={
            **variables,
            "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{server.server_port}",
            "_LAMBDA_TELEMETRY_LOG_FD": "1",
        },
        cwd=task_root,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    output = bytearray()
    reader = threading.Thread(target=lambda: output.extend(process.stdout.read()))
    reader.start()
    try:
        while process.poll() is None and not server.all_answered.wait(0.01):
            pass
        process.kill()
        exited = process.wait()
        reader.join()
    finally:
        server.closed.set()
        server.shutdown()
        server.server_close()
    outcomes = list(server.outcomes)
    if not server.all_answered.is_set() and not any(kind == "init error" for kind, _ in outcomes):
        outcomes.append(("exit", exited))
    return Run(outcomes, _without_frames(bytes(output)))


FRAME = re.compile(rb"\xa5\x5a\x00.", re.DOTALL)


def _without_frames(output: bytes) -> str:
    """Each frame becomes lines of its own."""
    text, at = [], 0
    while header := FRAME.search(output, at):
        text.append(output[at : header.start()].decode())
        length = int.from_bytes(output[header.end() : header.end() + 4], "big")
        start = header.end() + 12
        message = output[start : start + length].decode()
        text.append(message if message.endswith("\n") else message + "\n")
        at = start + length
    text.append(output[at:].decode())
    return "".join(text)


# --- ours ----------------------------------------------------------------------------------------


def run_ours(task_root: Path, variables: dict, invocations: list[Invocation], import_path: str) -> Run:
    order = {
        "settings": {
            "environment": {**variables, "AWS_LAMBDA_RUNTIME_API": "127.0.0.1:9001"},
            "task_root": str(task_root),
            "layers": [],
            "bytecode_cache": None,
        },
        "invocations": [
            {
                **dataclasses.asdict(invocation),
                "event": base64.b64encode(invocation.payload).decode(),
                "request_id": REQUEST_ID.format(number),
                "invoked_function_arn": FUNCTION_ARN,
            }
            for number, invocation in enumerate(invocations)
        ],
    }
    results, give = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-B", str(Path(__file__).with_name("environment_process.py")), str(give)],
        env={"PYTHONPATH": import_path, "LANG": "C.UTF-8"},
        pass_fds=[give],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    os.close(give)
    received = bytearray()
    reader = threading.Thread(target=lambda: received.extend(open(results, "rb").read()))
    reader.start()
    log, _ = process.communicate(json.dumps(order).encode())
    reader.join()
    outcomes = []
    for line in received.splitlines():
        kind, body = json.loads(line)
        outcomes.append((kind, base64.b64decode(body)))
    if len(outcomes) < len(invocations) and not any(kind == "init error" for kind, _ in outcomes):
        outcomes.append(("exit", process.returncode))
    return Run(outcomes, log.decode())
