#!/usr/bin/env python3
"""Minutes of load with crashes and reloads: does anything grow?

    python3 benches/soak.py [--minutes 10] [--handlerd PATH]

First the peak is measured, with the same mix; then half of it is asked for. One request in a hundred
ends its environment with os._exit, and every ten seconds new code is saved. Each second memory,
descriptors, threads and processes of the gateway are read. Level means: from the second minute to the
last, the gateway's resident memory grows by less than 5 % and 8 MiB, descriptors and threads end where
they began, no process is left over, and nothing but the crashes has failed.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import peers
import processes
from peers import BENCHES

CODE = """
import os

VERSION = {version}


def lambda_handler(event, context):
    if (event.get("queryStringParameters") or {{}}).get("crash"):
        os._exit(7)
    return {{"statusCode": 200, "body": str(VERSION)}}
"""
CONNECTIONS = 16
SAVE_EVERY = 10.0
PATIENCE = 60.0


def save(folder, version):
    """As an editor does: beside, then renamed."""
    target = folder / "handlers" / "soak" / "lambda_function.py"
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_suffix(".tmp")
    beside.write_text(CODE.format(version=version))
    beside.rename(target)


def load(port, seconds, pause):
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--timeout", "30s", "-s"]
    command += [str(BENCHES / "soak.lua"), f"http://127.0.0.1:{port}", "--", str(pause)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return json.loads([line for line in said.splitlines() if line.startswith("{")][-1])


def pause_for(port, wanted):
    """The milliseconds of pause with which this rate comes about."""
    best = (float("inf"), 1)
    for pause in (0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32):
        figures = load(port, 3, pause)
        rate = figures["requests"] / figures["seconds"]
        best = min(best, (abs(rate - wanted), pause))
        if rate < wanted / 2:
            break
    return best[1]


def sample(pid):
    status = dict(
        line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines()
    )
    return {
        "rss_kib": int(status["VmRSS"].split()[0]),
        "threads": int(status["Threads"]),
        "descriptors": len(os.listdir(f"/proc/{pid}/fd")),
        "processes": len(processes.tree(pid)),
    }


def slope_per_minute(samples, figure):
    """By least squares."""
    times = [moment / 60 for moment, _ in samples]
    values = [one[figure] for _, one in samples]
    middle, mean = statistics.fmean(times), statistics.fmean(values)
    spread = sum((moment - middle) ** 2 for moment in times)
    pairs = zip(times, values, strict=True)
    return sum((moment - middle) * (value - mean) for moment, value in pairs) / spread


def soak(server, folder, seconds, pause):
    """Samples by the second, versions saved, and what the load saw."""
    seen, version = {}, 1
    ended = threading.Event()

    def ask():
        seen.update(load(server.port, seconds, pause))
        ended.set()

    threading.Thread(target=ask).start()
    samples, began, saved = [], time.monotonic(), time.monotonic()
    while not ended.wait(1.0):
        now = time.monotonic()
        samples.append((now - began, sample(server.pid)))
        if now - saved >= SAVE_EVERY:
            version, saved = version + 1, now
            save(folder, version)
    return samples, version, seen


def at_rest(server, folder, version):
    """What there is with one environment, of new code: after that the others go by themselves."""
    save(folder, version)
    body, began = "", time.monotonic()
    while body != str(version):
        with processes.Client(server.port) as client:
            body = client.get("/soak")[1].decode()
        if time.monotonic() - began > PATIENCE:
            break
    # Facts that settle by themselves: what is the same for five seconds.
    last, since = sample(server.pid), time.monotonic()
    while time.monotonic() - since < 5 and time.monotonic() - began < PATIENCE:
        time.sleep(0.25)
        now = sample(server.pid)
        if any(now[name] != last[name] for name in ("threads", "descriptors", "processes")):
            since = time.monotonic()
        last = now
    return last, body


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--minutes", type=float, default=10)
    arguments.add_argument("--handlerd", type=Path)
    options = arguments.parse_args()
    binary = options.handlerd.resolve() if options.handlerd else peers.build_handlerd()
    processes.adopt_orphans()
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        save(folder, 0)
        command = [binary, "serve", "--port", processes.free_port()]
        command += ["--api-port", processes.free_port()]
        server = processes.Server(
            "handlerd", command, command[3], folder, peers.clean_environment()
        )
        server.path = "/soak"
        try:
            server.wait_for_answer()
            peak = load(server.port, 5, 0)
            peak = peak["requests"] / peak["seconds"]
            pause = pause_for(server.port, peak / 2)
            # What is opened once a minute is open from then on.
            time.sleep(max(0.0, 70 - (time.perf_counter() - server.began)))
            first, _ = at_rest(server, folder, 1)
            seconds = int(options.minutes * 60)
            samples, version, seen = soak(server, folder, seconds, pause)
            last, body = at_rest(server, folder, version + 1)
        finally:
            server.stop()
            processes.end_all_descendants()
    return report(peak, samples, seen, version, first, last, body)


def report(peak, samples, seen, version, first, last, body):
    settled = [one for one in samples if one[0] >= min(60, samples[-1][0] / 5)]
    tenth = max(1, len(settled) // 10)
    begin = statistics.median(one["rss_kib"] for _, one in settled[:tenth])
    end = statistics.median(one["rss_kib"] for _, one in settled[-tenth:])
    crashes = seen["requests"] // 100
    rows = [
        ("peak with this mix", f"{peak:,.0f} requests/s"),
        ("asked for", f"{seen['requests'] / seen['seconds']:,.0f} requests/s"),
        ("requests, crashes, reloads", f"{seen['requests']:,}, {crashes:,}, {version - 1}"),
        ("p50, p99", f"{seen['p50_us'] / 1e3:.2f} ms, {seen['p99_us'] / 1e3:.2f} ms"),
        ("answers that are no 200", f"{seen['bad_status']:,} (crashes asked for: {crashes:,})"),
        ("connections that failed", f"{seen['failed']}"),
        ("resident, first and last tenth", f"{begin / 1024:.1f} MiB, {end / 1024:.1f} MiB"),
        ("slope", f"{slope_per_minute(settled, 'rss_kib'):+.1f} KiB/min"),
    ]
    for name in ("descriptors", "threads", "processes"):
        most = max(one[name] for _, one in samples)
        rows.append(
            (f"{name} at rest, before and after", f"{first[name]}, {last[name]} (most {most})")
        )
    for name, value in rows:
        print(f"| {name} | {value} |")
    # One crash may have been under way, and each connection keeps a count of its own.
    wrong = []
    if end - begin >= 8 * 1024 or end > begin * 1.05:
        wrong.append("memory grows")
    if seen["failed"] or abs(seen["bad_status"] - crashes) > CONNECTIONS + 1:
        wrong.append("requests failed")
    for name in ("descriptors", "threads", "processes"):
        if last[name] > first[name]:
            wrong.append(f"{name} are left over")
    if body != str(version + 1):
        wrong.append(f"the last code is not served: {body} in place of {version + 1}")
    print("level" if not wrong else f"NOT level: {', '.join(wrong)}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
