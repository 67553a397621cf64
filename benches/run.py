#!/usr/bin/env python3
"""Measures handlerd beside its peers: see README.md. Writes results/latest.md and its plots."""

import argparse
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import load
import measure
import report
from peers import BENCHES, WORK, Machine, all_peers, build_handlerd, choose_python
from processes import Problem, adopt_orphans, end_all_descendants


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--quick", action="store_true", help="the peers that matter most, 5 minutes")
    form.add_argument("--full", action="store_true", help="all peers (this is the default)")
    parser.add_argument(
        "--peers", metavar="A,B", help="only these, besides handlerd and axum-hello"
    )
    parser.add_argument("--rounds", type=int, metavar="N", help="[default: 7; quick: 3]")
    parser.add_argument(
        "--seconds", type=int, metavar="S", help="of a wrk run [default: 2; quick: 1]"
    )
    parser.add_argument("--python", metavar="PATH", help="the interpreter for all sides")
    parser.add_argument(
        "--handlerd", type=Path, metavar="PATH", help="this one instead of building"
    )
    parser.add_argument("--results", type=Path, metavar="FOLDER", default=BENCHES / "results")
    parser.add_argument(
        "--max-cpu-ratio",
        type=float,
        metavar="X",
        help="fail if handlerd's CPU per request is above X times axum hello's (median of rounds)",
    )
    options = parser.parse_args()
    options.rounds = options.rounds or (3 if options.quick else 7)
    options.seconds = options.seconds or (1 if options.quick else 2)
    return options


def chosen(options):
    peers = all_peers()
    names = {peer.name for peer in peers}
    wanted = names
    if options.peers:
        wanted = set(options.peers.split(","))
        if wanted - names:
            sys.exit(
                f"no such peer: {', '.join(wanted - names)}; there are {', '.join(sorted(names))}"
            )
    elif options.quick:
        wanted = {peer.name for peer in peers if peer.quick}
    wanted = wanted | {report.BASE, report.FLOOR}
    return [peer for peer in peers if peer.name in wanted]


def progress(text):
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


class Run:
    """What has been measured so far, and who could not be."""

    def __init__(self, machine, options):
        self.machine, self.options = machine, options
        self.missing = {}
        self.peers = []
        self.results = {"start_up": {}, "saves": {}, "idle": {}, "handlerd": {}, "samples": []}

    def attempt(self, what, measurement, *values):
        """A measurement that fails is named with its reason, and the others go on."""
        try:
            return measurement(*values)
        except (Problem, OSError, subprocess.SubprocessError) as problem:
            self.missing[what] = f"{type(problem).__name__}: {problem}"
            progress(f"{what}: {problem}")
            return None

    def install(self, peers):
        for peer in peers:
            progress(f"installing {peer.name}")
            self.attempt(peer.name, peer.install, self.machine)
        self.peers = [peer for peer in peers if peer.name not in self.missing]

    def peer(self, name):
        return next((peer for peer in self.peers if peer.name == name), None)

    def serve_all(self):
        servers = []
        try:
            for peer in self.peers:
                progress(f"starting {peer.name}")
                server = self.attempt(peer.name, peer.start, self.machine)
                if server:
                    servers.append(server)
                    if not self.attempt(peer.name, server.wait_for_answer):
                        servers.remove(server)
                        server.stop()
            self.peers = [peer for peer in self.peers if peer.name not in self.missing]
            self.results["idle"] = measure.idle(servers)
            most = {peer.name: peer.most_connections for peer in self.peers}
            rounds, seconds = self.options.rounds, self.options.seconds
            self.results["samples"] = measure.throughput(servers, most, rounds, seconds, progress)
            self.results["after_load"] = measure.idle(servers)
        finally:
            for server in servers:
                server.stop()

    def each_alone(self):
        for peer in self.peers:
            times = 5 if peer.quick else 3
            progress(f"start of {peer.name}")
            taken = self.attempt(
                f"start of {peer.name}", measure.start_up, peer, self.machine, times
            )
            self.results["start_up"][peer.name] = taken
            if peer.reload_command and (peer.name == report.BASE or not self.options.quick):
                progress(f"saves of {peer.name}")
                count = 100 if peer.name == report.BASE else 10
                found = self.attempt(
                    f"saves of {peer.name}", measure.saves, peer, self.machine, count
                )
                self.results["saves"][peer.name] = found

    def handlerd_alone(self):
        handlerd, own = self.peer(report.BASE), self.results["handlerd"]
        if not handlerd:
            return
        machine, quick = self.machine, self.options.quick

        def own_figure(name, measurement, *values):
            progress(name)
            own[name] = self.attempt(name, measurement, handlerd, machine, *values)

        own_figure("memory", measure.environment_memory)
        own_figure("cold_plain", measure.cold_starts, "import json", 20)
        own_figure("cold_stdlib", measure.cold_starts, measure.STANDARD, 20)
        own_figure("timeouts", measure.timeouts, 5 if quick else 20)
        if quick:
            return
        self.attempt("boto3", machine.pip, ["boto3"], "boto3")
        if "boto3" not in self.missing:
            python = machine.bin("python", "boto3")
            own_figure("cold_boto3", measure.cold_starts, "import boto3", 20, python)
            preload = ("--preload", "boto3")
            own_figure("cold_preloaded", measure.cold_starts, "import boto3", 20, python, preload)
        embedding = self.peer(report.EMBED)
        if embedding:
            rounds, seconds = self.options.rounds, self.options.seconds
            self.results["working"] = self.attempt(
                "working handlers",
                measure.working_handlers,
                handlerd,
                embedding,
                machine,
                rounds,
                seconds,
                progress,
            )


def describe(machine, load_before):
    rows = Path("/proc/cpuinfo").read_text().splitlines()
    memory = Path("/proc/meminfo").read_text().split()[1]
    return {
        "cpu": next(
            (row.split(": ")[1] for row in rows if row.startswith("model name")), "unknown"
        ),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": int(memory) / 1024**2,
        "kernel": platform.release(),
        "load_before": load_before,
        "load_after": f"{os.getloadavg()[0]:.1f}",
        "python": machine.python,
        "wrk": load.version(),
    }


def main():
    options = arguments()
    load_before = f"{os.getloadavg()[0]:.1f}"
    peers = chosen(options)
    load.check()
    shutil.rmtree(WORK / "run", ignore_errors=True)
    WORK.mkdir(exist_ok=True)
    python = choose_python(options.python)
    progress(f"Python {python['version']}: {python['executable']}")
    handlerd = options.handlerd.resolve() if options.handlerd else build_handlerd()
    machine = Machine(python, handlerd)
    run = Run(machine, options)
    run.install(peers)
    run.serve_all()
    run.each_alone()
    run.handlerd_alone()

    said = subprocess.run([handlerd, "--version"], capture_output=True, text=True).stdout
    results = run.results | {
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "options": "quick form" if options.quick else "full form",
        "rounds": options.rounds,
        "seconds": options.seconds,
        "machine": describe(machine, load_before),
        "versions": machine.versions,
        "handlerd_version": said.strip() or "unknown version",
        "peers": {peer.name: peer.says for peer in run.peers},
        "missing": run.missing,
    }
    report.write(results, options.results)
    print(report.summary(results, options.results))
    if options.max_cpu_ratio is None:
        return 0
    ratio = report.cpu_ratio(results)
    if not ratio:
        print("handlerd or axum hello was not measured")
        return 1
    print(f"CPU per request: {ratio[1]:.2f}x axum hello's; the limit is {options.max_cpu_ratio:g}x")
    return 1 if ratio[1] > options.max_cpu_ratio else 0


def interrupted(number, frame):
    raise KeyboardInterrupt


if __name__ == "__main__":
    signal.signal(signal.SIGINT, interrupted)
    signal.signal(signal.SIGTERM, interrupted)
    adopt_orphans()
    try:
        code = main()
    except Problem as problem:
        code = f"error: {problem}"
    except KeyboardInterrupt:
        code = "ended before its time"
    finally:
        end_all_descendants()
    sys.exit(code)
