"""How throughput, memory and latency of handlerd grow, and where that ends.

    python3 benches/scale.py [--handlerd PATH] [--python PATH] [--quick]

One thing at a time grows: functions (1 to 500), environments (1 to 200), idle connections (1 to as many as
descriptors allow, 10,000 at most), bytes of a request and its answer (1 kB to 6 MB). About six minutes.
Results: `results/scale.md` with tables, and `results/scale.svg` with the curves.
"""

import argparse
import math
import resource
import shutil
import socket
import time
from html import escape
from pathlib import Path

import load
import report
from peers import BENCHES, WORK, build_handlerd, choose_python, clean_environment, write_function
from processes import (
    Client,
    Problem,
    Server,
    adopt_orphans,
    end_all_descendants,
    free_port,
    pss_mb,
    tree,
)

HELLO = """
def lambda_handler(event, context):
    return {"statusCode": 200, "body": "hello"}
"""

WAITS = """
import time


def lambda_handler(event, context):
    time.sleep(0.05)
    return {"statusCode": 200, "body": "waited"}
"""

ECHO = """
def lambda_handler(event, context):
    return {"statusCode": 200, "body": event.get("body", "")}
"""


class Scale:
    def __init__(self, handlerd, python, quick):
        self.handlerd, self.python, self.quick = handlerd, python, quick

    def few(self, *sizes):
        return sizes[::2] if self.quick else sizes

    def start(self, sources, *arguments):
        """A server with these functions, all of them settled; it has answered at /hello."""
        port = free_port()
        folder = WORK / "run" / f"scale-{port}"
        for name, source in sources.items():
            write_function(folder, name, source)
        command = [
            self.handlerd,
            "serve",
            folder / "handlers",
            "--port",
            port,
            "--api-port",
            free_port(),
        ]
        command += ["--python", self.python, *arguments]
        server = Server(
            "handlerd", command, port, folder, clean_environment() | {"RUST_LOG": "warn"}
        )
        server.path = "/hello"
        return server

    def functions(self):
        rows = []
        for count in self.few(1, 10, 100, 500):
            others = {f"other-{number}": HELLO for number in range(count - 1)}
            server = self.start({"hello": HELLO, **others})
            try:
                started = server.wait_for_answer()
                idle = pss_mb(server.pid)
                load.run(server, 16, 1)
                one, many = load.run(server, 1, 1), load.run(server, 16, 2)
                with Client(server.port) as client:
                    times = []
                    for name in [*others][:50]:
                        began = time.perf_counter()
                        client.get(f"/{name}")
                        times.append(time.perf_counter() - began)
                first = report.quantile(times, 0.5) * 1e3 if times else None
                rows.append(
                    (count, started * 1e3, idle, first, one["p50_us"], many["requests_per_second"])
                )
            finally:
                server.stop()
        return rows

    def environments(self):
        rows = []
        for count in self.few(1, 5, 20, 50, 100, 200):
            server = self.start({"hello": WAITS}, "--concurrency", 200)
            try:
                server.wait_for_answer()
                one, processes = pss_mb(server.pid), len(tree(server.pid))
                load.run(server, count, 2)
                run = load.run(server, count, 3)
                more = len(tree(server.pid)) - processes
                each = (pss_mb(server.pid) - one) / more if more else None
                made = more + 1
                ideal = min(count, made) / 0.05
                share = run["requests_per_second"] / ideal * 100
                rows.append(
                    (count, made, run["requests_per_second"], share, run["p50_us"] / 1e3, each)
                )
            finally:
                server.stop()
        return rows

    def connections(self):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        most = min(10_000, hard - 500)
        rows = []
        server = self.start({"hello": HELLO}, "--max-connections", 12_000)
        kept = []
        try:
            server.wait_for_answer()
            load.run(server, 1, 1)
            before = self.resident_kib(server)
            for count in [*self.few(1, 100, 1_000, 4_000), most]:
                while len(kept) < count:
                    # Many addresses, as one has a limit of its own.
                    source = (f"127.0.{len(kept) // 200}.1", 0)
                    connection = socket.create_connection(("127.0.0.1", server.port), 10, source)
                    connection.sendall(b"GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n")
                    if not connection.recv(4096).startswith(b"HTTP/1.1 200"):
                        # As many as its descriptors allow.
                        connection.close()
                        count = len(kept)
                        break
                    kept.append(connection)
                run = load.run(server, 1, 1)
                each = (self.resident_kib(server) - before) / count
                rows.append((count, each, run["p50_us"], run["p99_us"], run["requests_per_second"]))
        finally:
            for connection in kept:
                connection.close()
            server.stop()
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        return rows

    @staticmethod
    def resident_kib(server):
        text = Path(f"/proc/{server.pid}/status").read_text()
        return int(text.split("VmRSS:")[1].split()[0])

    def payloads(self):
        rows = []
        server = self.start({"hello": ECHO})
        try:
            server.wait_for_answer()
            for size in self.few(1_000, 10_000, 100_000, 1_000_000, 5_900_000):
                body = "x" * size
                times = []
                with Client(server.port) as client:
                    for _ in range(30 if size > 500_000 else 200):
                        began = time.perf_counter()
                        status, answer = client.send(
                            "POST", "/hello", body, {"Content-Type": "text/plain"}
                        )
                        times.append(time.perf_counter() - began)
                        if status != 200 or len(answer) != size:
                            raise Problem(f"{size} bytes: {status}, {len(answer)} bytes")
                p50, p99 = report.quantile(times, 0.5), report.quantile(times, 0.99)
                rows.append((size, p50 * 1e3, p99 * 1e3, 2 * size / p50 / 1e6))
        finally:
            server.stop()
        return rows


TABLES = {
    "functions": (
        "Functions",
        "One of them is asked; the others are there. Start is to its first answer.",
        [
            "functions",
            "start, ms",
            "PSS, MB",
            "first answer of another, ms",
            "c=1 p50, us",
            "c=16, /s",
        ],
    ),
    "environments": (
        "Environments",
        "A handler that waits for 50 ms, asked by as many clients; ideal is 20 a second for each.",
        [
            "clients",
            "environments",
            "requests/s",
            "of ideal, %",
            "p50, ms",
            "PSS of each further one, MB",
        ],
    ),
    "connections": (
        "Idle connections",
        "Each has been answered once and is kept; a newcomer is measured beside them.",
        ["connections", "KiB of each", "newcomer p50, us", "p99, us", "requests/s"],
    ),
    "payloads": (
        "Payloads",
        "A body that is sent back, one client; MB/s counts both ways.",
        ["bytes", "p50, ms", "p99, ms", "MB/s"],
    ),
}


def number(value):
    if value is None:
        return "-"
    return f"{value:,.0f}" if isinstance(value, int) or value >= 100 else f"{value:,.2f}"


def curves(results):
    """One small plot for each column, both axes logarithmic; plain SVG."""
    plots = []
    for name, rows in results.items():
        title, _, heads = TABLES[name]
        for column in range(1, len(heads)):
            points = [(row[0], row[column]) for row in rows if row[column]]
            if len(points) > 1:
                plots.append((f"{title}: {heads[column]}", heads[0], points))
    wide, high, across = 300, 190, 3
    height = high * math.ceil(len(plots) / across)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{wide * across}" height="{height}" '
        f'viewBox="0 0 {wide * across} {height}" font-family="sans-serif" font-size="11">',
        f'<rect width="{wide * across}" height="{height}" fill="#fff"/>',
    ]
    for index, (title, below, points) in enumerate(plots):
        left, top = wide * (index % across) + 16, high * (index // across) + 36
        xs, ys = ([math.log10(point[axis]) for point in points] for axis in (0, 1))
        # At least a decade, so that what is level looks so.
        middle, reach = (min(ys) + max(ys)) / 2, max(max(ys) - min(ys), 1)
        places = [
            (
                left + (x - min(xs)) / (max(xs) - min(xs)) * (wide - 56),
                top + 112 - ((y - middle) / reach + 0.5) * 96,
            )
            for x, y in zip(xs, ys, strict=True)
        ]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(f'<text x="{left}" y="{top - 16}" font-weight="bold">{escape(title)}</text>')
        parts.append(f'<path d="M{left} {top + 116}h{wide - 56}" stroke="#bbb"/>')
        parts.append(f'<polyline points="{line}" fill="none" stroke="#1f77b4" stroke-width="2"/>')
        for (x, y), (at, value) in zip(places, points, strict=True):
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" fill="#1f77b4"/>')
            parts.append(
                f'<text x="{x:.1f}" y="{y - 6:.1f}" text-anchor="middle">{number(value)}</text>'
            )
            parts.append(f'<text x="{x:.1f}" y="{top + 130}" text-anchor="middle">{at:,}</text>')
        parts.append(
            f'<text x="{left + wide - 56}" y="{top + 144}" text-anchor="end">{escape(below)}</text>'
        )
    return "\n".join([*parts, "</svg>"]) + "\n"


def main():
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    options.add_argument("--handlerd", type=Path, help="this binary instead of building one")
    options.add_argument("--python", help="the interpreter")
    options.add_argument("--quick", action="store_true", help="every other size")
    options.add_argument("--results", type=Path, default=BENCHES / "results", help="where to write")
    options = options.parse_args()
    load.check()
    handlerd = (options.handlerd or build_handlerd()).resolve(strict=True)
    python = choose_python(options.python)["executable"]
    adopt_orphans()
    (WORK / "run").mkdir(parents=True, exist_ok=True)
    scale, results = Scale(handlerd, python, options.quick), {}
    try:
        for name in TABLES:
            print(f"{name} ...", flush=True)
            results[name] = getattr(scale, name)()
    finally:
        end_all_descendants()
        shutil.rmtree(WORK / "run", ignore_errors=True)
    text = [
        "# How it grows\n",
        "One run on the machine of [latest.md](latest.md); curves in `scale.svg`.\n",
    ]
    text.append("![curves](scale.svg)\n")
    for name, rows in results.items():
        title, what, heads = TABLES[name]
        text += [
            f"## {title}\n",
            f"{what}\n",
            report.table(heads, [[*map(number, row)] for row in rows]),
            "",
        ]
    options.results.mkdir(parents=True, exist_ok=True)
    (options.results / "scale.md").write_text("\n".join(text).rstrip() + "\n")
    (options.results / "scale.svg").write_text(curves(results))
    print("\n".join(text))


if __name__ == "__main__":
    main()
