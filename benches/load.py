"""Load by wrk."""

import json
import shutil
import subprocess

from peers import BENCHES
from processes import Problem, cpu_seconds

HEADERS = {
    "accept": "application/json",
    "accept-language": "en",
    "user-agent": "bench/1.0",
    "x-first": "one",
    "x-second": "two",
}


def check():
    if not shutil.which("wrk"):
        raise Problem("wrk is missing: apt install wrk")


def version():
    said = subprocess.run(["wrk", "--version"], capture_output=True, text=True).stdout
    return said.splitlines()[0].split(" [")[0]


def run(server, connections, seconds):
    """One run on one thread with kept-alive connections: what wrk saw, and the CPU time that the
    server's whole process tree used for it."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "30s"]
    command += ["-s", str(BENCHES / "report.lua")]
    for name, value in HEADERS.items():
        command += ["-H", f"{name}: {value}"]
    before = cpu_seconds(server.pid)
    done = subprocess.run([*command, server.url], capture_output=True, text=True)
    used = cpu_seconds(server.pid) - before
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if not lines:
        raise Problem(f"wrk: {done.stderr.strip() or done.stdout.strip()}")
    figures = json.loads(lines[-1])
    answered = figures["requests"]
    return {
        "peer": server.name,
        "connections": connections,
        "requests_per_second": answered / figures["seconds"],
        "p50_us": figures["p50_us"],
        "p99_us": figures["p99_us"],
        "cpu_us": used / answered * 1e6 if answered else None,
        "requests": answered,
        "errors": figures["bad_status"] + figures["failed"],
    }
