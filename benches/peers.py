"""Who is measured: how each peer is had, and how it is started."""

import base64
import io
import json
import os
import shutil
import subprocess
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from processes import Client, Problem, Server, free_port

BENCHES = Path(__file__).resolve().parent
ROOT = BENCHES.parent
WORK = BENCHES / ".work"
APPS = BENCHES / "apps"
RUST_PEERS = WORK / "target" / "release"
NODE = WORK / "node"

# An interpreter that answers this is one that handlerd and the peers can share. The time is that of
# a small handler's work: builds of one version differ by a third.
PROBE = """
import ensurepip, json, os, platform, sys, sysconfig, timeit, venv
get = sysconfig.get_config_var
shared = os.path.join(get("LIBDIR") or "", get("INSTSONAME") or get("LDLIBRARY") or "")
work = "json.loads(json.dumps({'message': f'Hello, {n}', 'path': '/', 'numbers': [1, 2, 3]}))"
times = timeit.repeat(work, "import json; n = 1", number=5000, repeat=7)
print(json.dumps({"executable": sys.executable, "version": platform.python_version(),
    "work_us": min(times) / 5000 * 1e6, "compiler": platform.python_compiler(),
    "usable": sys.version_info >= (3, 10) and os.path.isfile(shared)}))
"""
DISTRIBUTION_PYTHONS = [f"/usr/bin/python3.{minor}" for minor in (13, 12, 11, 10)]


def choose_python(wanted):
    """One interpreter for all sides: the wanted one, else a distribution's, which is built with
    optimisation; what version managers build often is not."""
    candidates = [wanted] if wanted else [*DISTRIBUTION_PYTHONS, "/usr/bin/python3", "python3"]
    for candidate in filter(shutil.which, candidates):
        probe = subprocess.run([candidate, "-c", PROBE], capture_output=True, text=True)
        if probe.returncode == 0 and json.loads(probe.stdout)["usable"]:
            return json.loads(probe.stdout)
    raise Problem(
        f"none of {', '.join(candidates)} is a Python 3.10 or newer with venv, ensurepip and a "
        "shared library: name one with --python"
    )


@dataclass
class Machine:
    """What all peers are started from."""

    python: dict
    handlerd: Path
    versions: dict = field(default_factory=dict)

    def venv(self, name):
        return WORK / f"venv-{name}-{self.python['version']}"

    def bin(self, name, venv="peers"):
        return self.venv(venv) / "bin" / name

    def pip(self, packages, venv="peers"):
        """Installs what is not there yet, by name, into a virtual environment of the benchmark."""
        folder = self.venv(venv)
        if not (folder / "bin" / "pip").exists():
            run([self.python["executable"], "-m", "venv", folder], "a virtual environment")
        mark = folder / "installed" / "+".join(packages).replace("/", "_")
        if not mark.exists():
            run([folder / "bin" / "pip", "install", "--quiet", *packages], ", ".join(packages))
            mark.parent.mkdir(exist_ok=True)
            mark.touch()
        listing = run([folder / "bin" / "pip", "list", "--format=json"], "pip list")
        asked = {package.split("[")[0] for package in packages}
        found = {item["name"]: item["version"] for item in json.loads(listing)}
        self.versions |= {name: found[name] for name in asked & found.keys()}

    def npm(self, packages):
        if not shutil.which("npm"):
            raise Problem("npm is not installed")
        NODE.mkdir(parents=True, exist_ok=True)
        if not (NODE / "package.json").exists():
            (NODE / "package.json").write_text('{"private": true}\n')
        for package in packages:
            name = package.split("@")[0]
            manifest = NODE / "node_modules" / name / "package.json"
            if not manifest.exists():
                command = ["npm", "install", "--no-audit", "--no-fund", "--prefix", NODE]
                run([*command, *packages], ", ".join(packages))
            self.versions[name] = json.loads(manifest.read_text())["version"]


def run(command, what, **options):
    """Runs to the end; what went wrong is said by the last line of it."""
    command = [str(part) for part in command]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=1800, **options)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Problem(f"{what}: {error}") from error
    if done.returncode:
        lines = (done.stderr.strip() or done.stdout.strip()).splitlines() or ["no reason given"]
        telling = [line for line in lines if "error" in line.lower()] or lines
        raise Problem(f"{what}: {telling[-1][:200]}")
    return done.stdout


def build_handlerd():
    """The release build; where it is."""
    subprocess.run(["cargo", "build", "--release", "--bin", "handlerd"], cwd=ROOT, check=True)
    metadata = ["cargo", "metadata", "--format-version=1", "--no-deps"]
    target = json.loads(run(metadata, "cargo metadata", cwd=ROOT))["target_directory"]
    return Path(target) / "release" / "handlerd"


def build_rust_peer(machine, name):
    environment = os.environ | {"PYO3_PYTHON": machine.python["executable"]}
    manifest = BENCHES / "peers" / "Cargo.toml"
    command = ["cargo", "build", "--release", "--manifest-path", manifest, "--package", name]
    # From elsewhere: in this repository cargo is told that pyo3 needs no interpreter.
    run([*command, "--target-dir", WORK / "target"], name, cwd="/", env=environment)
    lock = (BENCHES / "peers" / "Cargo.lock").read_text().split("[[package]]")
    for crate in ("axum", "hyper", "tokio", "pyo3"):
        found = [part for part in lock if f'name = "{crate}"' in part]
        if found:
            machine.versions[f"{crate} (crate)"] = found[0].split('version = "')[1].split('"')[0]


@dataclass
class Peer:
    """`command` gets the machine, the port and the server's folder."""

    name: str
    says: str
    command: Callable
    install: Callable = lambda machine: None
    environment: dict = field(default_factory=dict)
    prepare: Callable = lambda machine, folder: None
    after_start: Callable = lambda server: None
    reload_command: Callable | None = None
    most_connections: int = 64
    quick: bool = False

    def start(self, machine, module="lambda_function", command=None, prepare=None):
        """A server of this peer in a folder of its own; a later `wait_for_answer` is needed."""
        port = free_port()
        folder = WORK / "run" / f"{self.name}-{port}"
        shutil.copytree(APPS, folder)
        if module != "lambda_function":
            shutil.copy(APPS / f"{module}.py", folder / "lambda_function.py")
        self.prepare(machine, folder)
        if prepare:
            prepare(folder)
        environment = clean_environment() | self.environment
        server = Server(
            self.name, (command or self.command)(machine, port, folder), port, folder, environment
        )
        try:
            self.after_start(server)
        except BaseException:
            server.stop()
            raise
        return server


def clean_environment():
    """Ours without what would change a server: settings of handlerd, AWS and other Pythons."""
    unwanted = ("HANDLERD_", "AWS_", "PYTHON", "VIRTUAL_ENV", "RUST_LOG", "PYENV")
    return {name: value for name, value in os.environ.items() if not name.startswith(unwanted)}


def handlerd_command(machine, port, folder, python=None):
    python = python or machine.python["executable"]
    ports = ["--port", port, "--api-port", free_port()]
    return [machine.handlerd, "serve", folder / "handlers", *ports, "--python", python]


def handlerd_folder(machine, folder):
    """The convention: a folder for each function."""
    write_function(folder, "hello", (folder / "lambda_function.py").read_text())


def write_function(folder, name, source, **properties):
    place = Path(folder) / "handlers" / name
    place.mkdir(parents=True, exist_ok=True)
    (place / "lambda_function.py").write_text(source)
    if properties:
        rows = [f"{key}: {value}" for key, value in properties.items()]
        (place / "function.yaml").write_text("\n".join(rows) + "\n")


def granian(interface, workers, *more):
    target = {"rsgi": "rsgi:app", "asgi": "asgi:app", "wsgi": "wsgi:app"}[interface]

    def command(machine, port, folder):
        options = ["--host", "127.0.0.1", "--port", port, "--workers", workers, "--no-ws", *more]
        return [machine.bin("granian"), "--interface", interface, *options, target]

    return command


def uvicorn(*more):
    def command(machine, port, folder):
        options = ["--port", port, "--no-access-log", "--log-level", "warning"]
        options += ["--loop", "uvloop", "--http", "httptools", *more]
        return [machine.bin("uvicorn"), "asgi:app", *options]

    return command


def gunicorn(*more):
    def command(machine, port, folder):
        return [machine.bin("gunicorn"), "--bind", f"127.0.0.1:{port}", *more, "wsgi:app"]

    return command


def functions_framework(*more):
    def command(machine, port, folder):
        options = ["--source", "cloud_function.py", "--target", "app", "--host", "127.0.0.1"]
        return [machine.bin("functions-framework"), *options, "--port", port, *more]

    return command


def awslambdaric(runtimes):
    def command(machine, port, folder):
        client = [machine.bin("python"), "-m", "awslambdaric", "lambda_function.lambda_handler"]
        return [RUST_PEERS / "runtime-api", f"127.0.0.1:{port}", runtimes, *client]

    return command


def embed(threads):
    def command(machine, port, folder):
        return [RUST_PEERS / "embed", f"127.0.0.1:{port}", threads, folder, "lambda_function"]

    return command


def serverless(*more):
    def command(machine, port, folder):
        ports = ["--httpPort", port, "--lambdaPort", free_port(), "--host", "127.0.0.1"]
        program = NODE / "node_modules" / ".bin" / "serverless"
        return [program, "offline", "start", *ports, "--noPrependStageInUrl", *more]

    return command


def serverless_folder(machine, folder):
    """It looks for plugins beside its configuration, and runs the `python3.11` of PATH."""
    (folder / "node_modules").symlink_to(NODE / "node_modules")
    minor = ".".join(machine.python["version"].split(".")[:2])
    configuration = folder / "serverless.yml"
    configuration.write_text(configuration.read_text().replace("python3.11", f"python{minor}"))
    (folder / "bin").mkdir()
    for name in (f"python{minor}", "python3", "python"):
        (folder / "bin" / name).symlink_to(machine.python["executable"])


def serverless_command(machine, port, folder):
    path = f"PATH={folder / 'bin'}:{os.environ['PATH']}"
    return ["/usr/bin/env", path, *serverless()(machine, port, folder)]


def serverless_reload(machine, port, folder):
    path = f"PATH={folder / 'bin'}:{os.environ['PATH']}"
    return ["/usr/bin/env", path, *serverless("--reloadHandler")(machine, port, folder)]


SIGNED = "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/{}/aws4_request, Signature=0"


def deploy_to_ministack(server):
    """A function and an HTTP API in front of it, as one makes them on AWS."""
    server.wait_for_port()
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as code:
        code.write(server.folder / "lambda_function.py", "lambda_function.py")
    with Client(server.port) as client:

        def ask(service, path, document):
            headers = {
                "authorization": SIGNED.format(service),
                "content-type": "application/json",
            }
            status, body = client.send("POST", path, json.dumps(document), headers)
            if status >= 300:
                raise Problem(f"{path}: {status} {body[:150]!r}")
            return json.loads(body)

        function = ask(
            "lambda",
            "/2015-03-31/functions",
            {
                "FunctionName": "hello",
                "Runtime": "python3.11",
                "Role": "arn:aws:iam::000000000000:role/bench",
                "Handler": "lambda_function.lambda_handler",
                "Code": {"ZipFile": base64.b64encode(archive.getvalue()).decode()},
            },
        )
        api = ask("apigateway", "/v2/apis", {"name": "bench", "protocolType": "HTTP"})["apiId"]
        integration = ask(
            "apigateway",
            f"/v2/apis/{api}/integrations",
            {
                "integrationType": "AWS_PROXY",
                "integrationUri": function["FunctionArn"],
                "payloadFormatVersion": "2.0",
            },
        )["integrationId"]
        route = {"routeKey": "GET /hello", "target": f"integrations/{integration}"}
        ask("apigateway", f"/v2/apis/{api}/routes", route)
        ask("apigateway", f"/v2/apis/{api}/stages", {"stageName": "$default", "autoDeploy": True})
    server.path = f"/_aws/execute-api/{api}/$default{server.path}"


def ministack_command(machine, port, folder):
    variables = [f"GATEWAY_PORT={port}", "IOT_MTLS_PORT=0", f"STATE_DIR={folder / 'state'}"]
    variables.append(f"PATH={machine.bin('python', 'ministack').parent}:{os.environ['PATH']}")
    return ["/usr/bin/env", *variables, machine.bin("ministack", "ministack")]


def pip(*packages, venv="peers"):
    return lambda machine: machine.pip(packages, venv)


def rust(name):
    return lambda machine: build_rust_peer(machine, name)


def runtime_client(machine):
    build_rust_peer(machine, "runtime-api")
    machine.pip(["awslambdaric"])


GRANIAN = pip("granian[reload]")
UVICORN = pip("uvicorn", "uvloop", "httptools", "watchfiles")
LAMBDA = {
    "AWS_LAMBDA_FUNCTION_NAME": "hello",
    "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128",
    "AWS_REGION": "us-east-1",
}


def all_peers():
    """In the order of the tables: handlerd and what it is compared to most come first."""
    gthread = ["--workers", "2", "--worker-class", "gthread", "--threads", "8"]
    return [
        Peer(
            "axum-hello",
            "axum, one thread, a constant answer: the floor",
            lambda machine, port, folder: [RUST_PEERS / "axum-hello", f"127.0.0.1:{port}"],
            rust("axum-hello"),
            quick=True,
        ),
        Peer(
            "handlerd",
            "release build, default settings, its request log written to a file",
            handlerd_command,
            prepare=handlerd_folder,
            reload_command=handlerd_command,
            quick=True,
        ),
        Peer(
            "handlerd-quiet",
            "the same with RUST_LOG=warn: no request log, as all others here",
            handlerd_command,
            prepare=handlerd_folder,
            environment={"RUST_LOG": "warn"},
        ),
        Peer(
            "embed",
            "axum with CPython in its own process, one Python thread, no isolation",
            embed(1),
            rust("embed"),
            quick=True,
        ),
        Peer(
            "granian-rsgi-w1",
            "granian, RSGI, 1 worker",
            granian("rsgi", 1),
            GRANIAN,
            reload_command=granian("rsgi", 1, "--reload"),
            quick=True,
        ),
        Peer("granian-rsgi-w2", "granian, RSGI, 2 workers", granian("rsgi", 2), GRANIAN),
        Peer("granian-asgi-w1", "granian, ASGI, 1 worker", granian("asgi", 1), GRANIAN),
        Peer("granian-asgi-w2", "granian, ASGI, 2 workers", granian("asgi", 2), GRANIAN),
        Peer("granian-wsgi-w1", "granian, WSGI, 1 worker", granian("wsgi", 1), GRANIAN),
        Peer("granian-wsgi-w2", "granian, WSGI, 2 workers", granian("wsgi", 2), GRANIAN),
        Peer(
            "uvicorn-w1",
            "uvicorn with uvloop and httptools, 1 worker",
            uvicorn(),
            UVICORN,
            reload_command=uvicorn("--reload"),
            quick=True,
        ),
        Peer("uvicorn-w2", "the same, 2 workers", uvicorn("--workers", "2"), UVICORN),
        Peer(
            "gunicorn-gthread",
            "gunicorn, 2 workers of 8 threads",
            gunicorn(*gthread),
            pip("gunicorn"),
            reload_command=gunicorn("--reload"),
        ),
        Peer(
            "gunicorn-sync",
            "gunicorn, 2 sync workers (no keep-alive)",
            gunicorn("--workers", "2"),
            pip("gunicorn"),
        ),
        Peer(
            "functions-framework",
            "Google's functions-framework, default settings",
            functions_framework(),
            pip("functions-framework"),
            reload_command=functions_framework("--debug"),
        ),
        Peer(
            "awslambdaric-x1",
            "AWS's runtime client, 1 process, behind a minimal Runtime API server",
            awslambdaric(1),
            runtime_client,
            LAMBDA,
        ),
        Peer("awslambdaric-x2", "the same, 2 processes", awslambdaric(2), runtime_client, LAMBDA),
        Peer(
            "ministack",
            "MiniStack, HTTP API in front of a Lambda function",
            ministack_command,
            pip("ministack", venv="ministack"),
            after_start=deploy_to_ministack,
            most_connections=16,
        ),
        Peer(
            "serverless-offline",
            "serverless 3 with serverless-offline 13",
            serverless_command,
            lambda machine: machine.npm(["serverless@3", "serverless-offline@13"]),
            prepare=serverless_folder,
            reload_command=serverless_reload,
            most_connections=16,
            environment={"SLS_TELEMETRY_DISABLED": "1", "SLS_NOTIFICATIONS_MODE": "off"},
        ),
    ]
