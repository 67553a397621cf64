"""The runtime's steps, in the order in which an execution environment takes them.

`prepare` in the zygote, `rehearse` in a child that waits to be needed; after the fork `start` and `load`;
in a template `take_snapshot`, and after its forks `restore`; then for each invocation `begin`, and one of
the faults if it fails. SystemExit and KeyboardInterrupt pass through: they end the process.
"""

import contextlib
import gc
import importlib
import io
import os
import sys
import time
from collections.abc import Iterable

import _handlerd

from lambda_runtime import faults, loader, log_setup, snapshot

# Of the standard library, what nearly every handler imports, and cheaply.
IMPORTED_AHEAD = """
    json logging datetime time decimal urllib.parse re base64 uuid hashlib hmac random math
    string collections.abc functools itertools contextlib typing dataclasses enum io copy
    calendar textwrap traceback warnings weakref threading heapq struct operator pathlib types
""".split()

# What many import, above all the AWS SDK and web frameworks. Most of the time goes here, so it is
# for when nobody is waiting.
IMPORTED_WHEN_IDLE = """
    urllib.request urllib.error http.client http.cookies ssl socket select selectors secrets
    asyncio concurrent.futures.thread queue contextvars email.message email.utils
    logging.handlers tempfile shutil subprocess signal inspect ast locale bisect numbers
    fractions statistics csv gzip zlib zipfile binascii pickle glob fnmatch platform pprint html
    mimetypes configparser argparse xml.etree.ElementTree importlib.metadata importlib.resources
""".split()

_interpreter_path: list[str] = []


def prepare(preload: Iterable[str] = ()) -> None:
    """Done once, in the zygote: everything here is inherited ready-made by each environment.

    None of these modules starts a thread, keeps a file open, or draws random numbers that a fork
    would hand out twice (`random` itself seeds anew after a fork).
    """
    if sys.flags.no_site:
        _find_packages()
    _import(IMPORTED_AHEAD)
    # The other JSON parser, and what the encoder looks up on first use.
    with contextlib.suppress(ValueError):
        _handlerd.loads(b"?")
    _handlerd.dumps([sys.modules["decimal"].Decimal(1)], True)
    _interpreter_path[:] = [entry for entry in sys.path if entry]
    for name in preload:
        try:
            importlib.import_module(name)
        except Exception as error:  # what cannot be had is not worth the environments
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            print(f"warning: could not preload `{name}`: {reason}", file=sys.stderr, flush=True)
    _freeze()


def _find_packages() -> None:
    """What Python does at its start unless told not to, but without the code in .pth files: that is
    why it was told not to. The folders that such files name are searched all the same."""
    import site

    def add_folders(folder: str, name: str, known_paths):
        with contextlib.suppress(OSError, UnicodeError):
            with open(os.path.join(folder, name), encoding="utf-8-sig") as file:
                lines = [line.strip() for line in file]
            for line in lines:
                named = os.path.abspath(os.path.join(folder, line))
                is_code = line.startswith(("#", "import ", "import\t"))
                if line and not is_code and os.path.isdir(named) and named not in sys.path:
                    sys.path.append(named)
        return known_paths

    site.addpackage = add_folders
    site.main()


def prepare_more() -> None:
    """Also in the zygote, when it is idle. Environments forked before it import these themselves."""
    _import(IMPORTED_WHEN_IDLE)
    _freeze()


def _import(names: list[str]) -> None:
    for name in names:
        with contextlib.suppress(ImportError):  # a Python built without ssl is still a Python
            importlib.import_module(name)


def _freeze() -> None:
    """Frozen objects are not visited by later collections, which would write to, and so copy, every
    page that the environments share."""
    loader.remember_ahead()
    gc.collect()
    gc.freeze()


def start(settings: dict) -> None:
    """Makes the forked process an environment of one function, before any of its code runs."""
    _replace_environment(settings["environment"])
    _given.update(settings["environment"])
    _open_standard_streams()
    task_root, layers = settings["task_root"], list(settings["layers"])
    roots = [task_root, *layers]
    # Where it is set, PYTHONPATH was not there when the zygote's interpreter started.
    extra = [entry for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry]
    inherited = _interpreter_path or [entry for entry in sys.path if entry]
    sys.path[:] = list(dict.fromkeys([*roots, *extra, *inherited]))
    sys.argv = ["/var/runtime/bootstrap.py"]
    sys.dont_write_bytecode = True
    loader.forget_shadowed(roots)
    loader.install(roots, settings["bytecode_cache"])
    snapshot.install()
    if (random := sys.modules.get("random")) is not None:
        random.seed()
    if (tempfile := sys.modules.get("tempfile")) is not None:
        tempfile.tempdir = None  # TMPDIR may name another one now
    os.chdir(task_root)
    log_setup.set_up()


def rehearse() -> None:
    """In a spare child of the zygote, while nobody waits: `start`, `load` and an invocation as far as they
    leave nothing behind that `start` does not replace. Memory that is written to now is copied now."""
    _replace_environment({f"VARIABLE_{number}": str(number) * 20 for number in range(30)})
    _open_standard_streams()
    sys.path_importer_cache.clear()
    loader.forget_shadowed(["/nonexistent/handlerd"])
    with contextlib.suppress(ImportError):
        importlib.import_module("handlerd_spare")
    names: dict = {}
    exec(compile(_REHEARSED, "lambda_function.py", "exec"), names)
    event = _handlerd.loads(b'{"version": "2.0", "headers": {"host": "a"}, "numbers": [1, 2.5, null, true]}')
    _handlerd.dumps(names["lambda_handler"](event, None), True)


_REHEARSED = """
import json
import os

class Rehearsal:
    name = os.environ.get("VARIABLE_1")

def lambda_handler(event, context):
    return {"statusCode": 200, "body": json.dumps({"event": event, "name": Rehearsal.name})}
"""


def take_snapshot() -> None:
    """In a template, when the function is loaded: what is done once for all that are forked from it."""
    snapshot.run_before_snapshot()
    sys.stdout.flush()
    sys.stderr.flush()
    # What is garbage may still hold a file or a socket open.
    gc.collect()
    gc.freeze()


def restore(settings: dict) -> None:
    """In each fork of a template: what must be its own, then the hooks. `random` itself seeds anew after
    a fork, OpenSSL too; `uuid`, `secrets` and `os.urandom` ask the kernel."""
    for name, value in settings["environment"].items():
        # What the function has set to something else stays.
        former = _given.get(name)
        if value != former and os.environ.get(name) == former:
            os.environ[name] = value
    if (tempfile := sys.modules.get("tempfile")) is not None:
        tempfile.tempdir = None
    if (numpy_random := sys.modules.get("numpy.random")) is not None:
        numpy_random.seed()
    snapshot.run_after_restore()


# The variables that this environment, or its template, was started with.
_given: dict[str, str] = {}


def ensure_ascii() -> bool:
    return faults.ensure_ascii()


def load():
    return loader.load(os.environ["_HANDLER"])


def begin(request_id: str, trace_id: str | None = None, tenant_id: str | None = None) -> None:
    log_setup.set_request_id(request_id, tenant_id)
    if trace_id is not None:
        # What `os.environ[...] =` does, without keeping every value for ever as `setenv` would.
        value = os.fsencode(trace_id)
        os.environ._data[b"_X_AMZN_TRACE_ID"] = value
        _handlerd.set_trace_id(value)
    elif "_X_AMZN_TRACE_ID" in os.environ:
        del os.environ["_X_AMZN_TRACE_ID"]


def init_fault(error: Exception) -> bytes:
    """Logs what went wrong while the function was loaded, and describes it to the caller."""
    description = faults.describe(error, None)
    log_setup.log_init_warning()
    log_setup.log_fault(description)
    return faults.to_json(description)


def invoke_fault(error: Exception, request_id: str) -> bytes:
    """Logs what went wrong in an invocation, and describes it to the caller."""
    description = faults.describe(error, request_id)
    log_setup.log_fault(description)
    return faults.to_json(description)


def _replace_environment(environment: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()


def _open_standard_streams() -> None:
    """Anew, because the zygote's were something else; unbuffered, so that nothing is lost when the
    environment is killed. The error handlers are those of Lambda's C.UTF-8 locale."""
    for name, number, errors in (("stdout", 1, "surrogateescape"), ("stderr", 2, "backslashreplace")):
        raw = open(number, "wb", buffering=0, closefd=False)
        stream = io.TextIOWrapper(raw, encoding="utf-8", errors=errors, newline="\n", write_through=True)
        stream.mode = "w"
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
