"""What is measured, one function each. All of it is raw figures; `report` makes tables of them."""

import os
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import load
from peers import embed, handlerd_command, write_function
from processes import Client, Problem, cpu_seconds, pss_mb, tree

CONNECTIONS = (1, 16, 64)


def throughput(servers, most, rounds, seconds, progress):
    """Interleaved: every server has its turn in every round, and the order is turned round from
    one round to the next, so that a busy neighbour hits all alike."""
    for server in servers:
        load.run(server, min(16, most[server.name]), 1)
    samples = []
    for number in range(rounds):
        for connections in CONNECTIONS:
            for server in servers if number % 2 == 0 else reversed(servers):
                if connections > most[server.name]:
                    continue
                sample = load.run(server, connections, seconds) | {"round": number}
                samples.append(sample)
                progress(
                    f"round {number + 1}/{rounds} c={connections:<3} {server.name:<20} "
                    f"{sample['requests_per_second']:>9,.0f}/s {sample['cpu_us'] or 0:>6.1f} us"
                )
    return samples


def start_up(peer, machine, times):
    """Seconds from the start of the process to the first 200."""
    taken = []
    for _ in range(times):
        server = peer.start(machine)
        try:
            taken.append(server.wait_for_answer())
        finally:
            server.stop()
    return taken


VERSIONED = """
VERSION = "{:06d}"


def lambda_handler(event, context):
    return {{"statusCode": 200, "headers": {{"content-type": "text/plain"}}, "body": VERSION}}
"""


def saves(peer, machine, count, patience=3.0):
    """Seconds from the beginning of a save to the first answer of the new code. Every version has
    as many bytes as the last, and saves come as fast as they are seen: the worst for caches that
    go by size and time. Stale: not seen within `patience`."""

    def prepare(folder):
        (folder / "lambda_function.py").write_text(VERSIONED.format(0))
        if peer.name.startswith("handlerd"):
            write_function(folder, "hello", VERSIONED.format(0))

    server = peer.start(machine, command=peer.reload_command, prepare=prepare)
    try:
        server.wait_for_answer()
        file = server.folder / "lambda_function.py"
        if peer.name.startswith("handlerd"):
            file = server.folder / "handlers" / "hello" / "lambda_function.py"
        time.sleep(1)  # A watcher may start later than the server; no wait of ours is measured.
        taken, stale, failed = [], 0, 0
        for number in range(1, count + 1):
            began = time.perf_counter()
            file.write_text(VERSIONED.format(number))
            seen, refused = _until_new(server, f"{number:06d}".encode(), began + patience)
            failed += refused
            if seen:
                taken.append(seen - began)
            else:
                stale += 1
        return {"seconds": taken, "stale": stale, "of": count, "failed": failed}
    finally:
        server.stop()


def _until_new(server, wanted, deadline):
    """When the new code answered first, and how many requests failed until then."""
    client, refused = None, 0
    while time.perf_counter() < deadline:
        try:
            client = client or Client(server.port, timeout=2)
            status, body = client.get(server.path)
            refused += status != 200
            if body == wanted:
                return time.perf_counter(), refused
        except Exception:  # a server that restarts breaks a request in any way it likes
            client, refused = None, refused + 1
            time.sleep(0.001)
    return None, refused


WHO_AM_I = """{imports}
import os


def lambda_handler(event, context):
    return {{"statusCode": 200, "headers": {{"content-type": "text/plain"}},
             "body": str(os.getpid())}}
"""
STANDARD = "import base64, datetime, decimal, hashlib, json, logging, re, urllib.request, uuid"


def cold_starts(handlerd, machine, imports, times, python=None, options=()):
    """Seconds from a request that finds no environment to its answer: the one environment there
    was is killed first, and has gone before the request is sent."""

    def prepare(folder):
        write_function(folder, "hello", WHO_AM_I.format(imports=imports), Timeout=30)

    def command(machine, port, folder):
        return [*handlerd_command(machine, port, folder, python), *options]

    server = handlerd.start(machine, command=command, prepare=prepare)
    try:
        server.wait_for_answer()
        # What handlerd imports ahead when nobody asks is there after a moment.
        time.sleep(4)
        taken = []
        with Client(server.port) as client:
            pid = int(client.get(server.path)[1])
            for _ in range(times):
                if pid not in tree(server.pid):
                    raise Problem("the handler's process is not one of handlerd's")
                os.kill(pid, signal.SIGKILL)
                _until(lambda pid=pid: not Path(f"/proc/{pid}").exists(), "the killed has gone")
                time.sleep(0.05)  # and handlerd has heard of it
                began = time.perf_counter()
                status, body = client.get(server.path)
                taken.append(time.perf_counter() - began)
                if status != 200 or int(body) == pid:
                    raise Problem(f"after a kill the answer was {status} {body[:80]!r}")
                pid = int(body)
        return taken
    finally:
        server.stop()


SLOW = """
import time


def lambda_handler(event, context):
    time.sleep(0.4)
    return {"statusCode": 200, "body": ""}
"""


def environment_memory(handlerd, machine):
    """PSS of the whole with one environment, and of each further one."""

    def prepare(folder):
        write_function(folder, "hello", SLOW)

    server = handlerd.start(machine, prepare=prepare)
    try:
        server.wait_for_answer()
        one, processes = pss_mb(server.pid), len(tree(server.pid))

        def ask(_):
            with Client(server.port) as client:
                return client.get(server.path)[0]

        with ThreadPoolExecutor(12) as threads:
            answers = list(threads.map(ask, range(36)))
        more = len(tree(server.pid)) - processes
        if more < 1 or set(answers) != {200}:
            raise Problem(f"{more} more environments, answers {set(answers)}")
        return {"one": one, "each": (pss_mb(server.pid) - one) / more, "more": more}
    finally:
        server.stop()


LATE = """
import time


def lambda_handler(event, context):
    if (event.get("queryStringParameters") or {}).get("late"):
        time.sleep(60)
    return {"statusCode": 200, "body": ""}
"""


def timeouts(handlerd, machine, times):
    """Seconds after T = 1 s at which the answer to a handler that hangs came, and from there to
    the answer of the next request."""

    def prepare(folder):
        write_function(folder, "hello", LATE, Timeout=1)

    server = handlerd.start(machine, prepare=prepare)
    try:
        server.wait_for_answer()
        late, replaced = [], []
        with Client(server.port) as client:
            for _ in range(times):
                began = time.perf_counter()
                status, _ = client.get("/hello?late=1")
                ended = time.perf_counter()
                if status < 500:
                    raise Problem(f"a handler that hangs was answered with {status}")
                late.append(ended - began - 1.0)
                status, _ = client.get("/hello")
                replaced.append(time.perf_counter() - ended)
                if status != 200:
                    raise Problem(f"after a timeout the answer was {status}")
        return {"late": late, "replaced": replaced}
    finally:
        server.stop()


def working_handlers(handlerd, embedding, machine, rounds, seconds, progress):
    """Handlers that compute or wait, against as many threads of the in-process embedding."""
    calibrate = (
        "import cpu_bound as m, timeit\n"
        "print(min(timeit.repeat(lambda: m.lambda_handler(None, None), number=20, repeat=9)) / 20)"
    )
    apps = Path(load.BENCHES) / "apps"
    said = subprocess.run(
        [machine.python["executable"], "-B", "-c", calibrate],
        cwd=apps,
        capture_output=True,
        text=True,
        check=True,
    )
    per_call = float(said.stdout)
    loops = round(10_000 * 0.0007 / per_call)

    def set_rounds(folder):
        for file in folder.rglob("lambda_function.py"):
            file.write_text(file.read_text().replace("10_000", str(loops)))

    samples = []
    for module, connections in (("cpu_bound", 8), ("sleep_5ms", 32)):
        servers = []
        try:
            for peer, command in ((handlerd, None), (embedding, embed(connections))):
                servers.append(peer.start(machine, module, command, set_rounds))
            for server in servers:
                server.wait_for_answer()
                load.run(server, connections, 1)
            for number in range(rounds):
                for server in servers if number % 2 == 0 else reversed(servers):
                    sample = load.run(server, connections, seconds)
                    samples.append(sample | {"handler": module, "round": number})
                    progress(
                        f"{module} c={connections} {server.name}: "
                        f"{sample['requests_per_second']:,.0f}/s"
                    )
        finally:
            for server in servers:
                server.stop()
    return samples


def idle(servers):
    """Memory and processes, and how much CPU each uses when nobody asks anything."""
    found = {
        server.name: {"pss_mb": pss_mb(server.pid), "processes": len(tree(server.pid))}
        for server in servers
    }
    before = {server.name: cpu_seconds(server.pid) for server in servers}
    began = time.perf_counter()
    time.sleep(2)
    spent = time.perf_counter() - began
    for server in servers:
        used = cpu_seconds(server.pid) - before[server.name]
        found[server.name]["cpu_percent"] = used / spent * 100
    return found


def _until(fact, what):
    began = time.perf_counter()
    while not fact():
        if time.perf_counter() - began > 10:
            raise Problem(f"never true: {what}")
        time.sleep(0.0005)
