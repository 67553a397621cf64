"""Events accepted per second, each on the disk before its 202, beside what the disk can do.

    python3 benches/durable_202.py target/release/handlerd [--seconds 5] [--rounds 3]

64 kept-alive connections send `InvocationType=Event`, one request at a time each. The baseline is one
thread that appends to a file in the same folder what 64 others have asked for, syncs it with
fdatasync, and answers them; no HTTP. In turns, so that both see the same moods of the disk.

Then the start with a backlog: events are accepted for a function that may not run (its reserved
concurrency is 0 for the time being), or runs too slowly to matter; the gateway is killed and started
again. Shown is the time from its start to the first answer of another function.
"""

import argparse
import json
import os
import queue
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

SIZE = 500
QUICK = "def lambda_handler(event, context):\n    return 'ok'\n"
SLOW = "import time\n\n\ndef lambda_handler(event, context):\n    time.sleep(600)\n"


class Gateway:
    """A process with its state in `folder`."""

    def __init__(self, binary, folder):
        self.began = time.perf_counter()
        self.process = subprocess.Popen(
            [binary, "serve", "--port", "0", "--api-port", "0"],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=(folder / "terminal").open("ab"),
            text=True,
        )
        for line in self.process.stdout:
            if "Lambda API" in line:
                address = line.split()[0].removeprefix("http://")
                host, port = address.rsplit(":", 1)
                self.address = (host, int(port))
                return
        raise SystemExit(f"it does not start:\n{(folder / 'terminal').read_text()}")

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


class Connection:
    """Just enough of HTTP/1.1 to cost little."""

    def __init__(self, address):
        self.socket = socket.create_connection(address, timeout=60)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""

    def status(self, request):
        self.socket.sendall(request)
        while b"\r\n\r\n" not in self.buffer:
            self._more()
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        length = 0
        for line in head.split(b"\r\n")[1:]:
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        while len(self.buffer) < length:
            self._more()
        self.buffer = self.buffer[length:]
        return int(head.split(b" ", 2)[1])

    def _more(self):
        more = self.socket.recv(65536)
        if not more:
            raise SystemExit("the gateway closed a connection")
        self.buffer += more


def request(function, kind):
    body = json.dumps({"filling": "x" * SIZE}).encode()
    head = (
        f"POST /2015-03-31/functions/{function}/invocations HTTP/1.1\r\nhost: localhost\r\n"
        f"x-amz-invocation-type: {kind}\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def together(workers, seconds):
    """Runs `workers`, each a function that does one thing and is called again and again; how often
    per second, and how long each took."""
    times, lock, start = [], threading.Lock(), threading.Barrier(len(workers) + 1)
    wrong = []

    def call(work):
        mine = []
        start.wait()
        end = time.perf_counter() + seconds
        try:
            while (asked := time.perf_counter()) < end:
                work()
                mine.append(time.perf_counter() - asked)
        except Exception as error:
            wrong.append(error)
        with lock:
            times.extend(mine)

    threads = [threading.Thread(target=call, args=(work,)) for work in workers]
    for thread in threads:
        thread.start()
    start.wait()
    began = time.perf_counter()
    for thread in threads:
        thread.join()
    if wrong:
        raise SystemExit(f"failed: {wrong[0]}")
    took = time.perf_counter() - began
    times.sort()
    return {
        "per_second": len(times) / took,
        "p50_ms": times[len(times) // 2] * 1000,
        "p99_ms": times[len(times) * 99 // 100] * 1000,
    }


def accepted(address, connections, seconds):
    asked = request("slow", "Event")

    def worker():
        connection = Connection(address)

        def work():
            status = connection.status(asked)
            if status != 202:
                raise RuntimeError(f"answered {status}")

        return work

    return together([worker() for _ in range(connections)], seconds)


def baseline(folder, callers, seconds):
    """Group commit at its plainest."""
    jobs = queue.SimpleQueue()
    descriptor = os.open(folder / "baseline", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND)

    def commit():
        while (first := jobs.get()) is not None:
            group = [first]
            while not jobs.empty():
                group.append(jobs.get())
            os.write(descriptor, b"x" * SIZE * len(group))
            os.fdatasync(descriptor)
            for answered in group:
                answered.release()

    def worker():
        answered = threading.Semaphore(0)

        def work():
            jobs.put(answered)
            answered.acquire()

        return work

    thread = threading.Thread(target=commit)
    thread.start()
    try:
        return together([worker() for _ in range(callers)], seconds)
    finally:
        jobs.put(None)
        thread.join()
        os.close(descriptor)


def project(folder):
    for name, source in (("quick", QUICK), ("slow", SLOW)):
        function = folder / "handlers" / name
        function.mkdir(parents=True)
        (function / "lambda_function.py").write_text(source)
    properties = "Timeout: 900\nReservedConcurrentExecutions: 1\n"
    (folder / "handlers" / "slow" / "function.yaml").write_text(properties)


def backlog(binary, folder, events, connections):
    """Until there are so many events in the queue; then the time from a start to an answer."""
    gateway = Gateway(binary, folder)
    left, lock, asked = [events], threading.Lock(), request("slow", "Event")

    def send():
        connection = Connection(gateway.address)
        while True:
            with lock:
                if left[0] == 0:
                    return
                left[0] -= 1
            if connection.status(asked) != 202:
                raise SystemExit("an event was refused")

    began = time.perf_counter()
    threads = [threading.Thread(target=send) for _ in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    filled = time.perf_counter() - began
    gateway.kill()
    size = (folder / ".handlerd" / "handlerd.db").stat().st_size
    return filled, start(binary, folder), size


def start(binary, folder):
    """Until it listens, and until the first answer; after a kill. The median of three."""
    starts = []
    for _ in range(3):
        gateway = Gateway(binary, folder)
        said = time.perf_counter() - gateway.began
        status = Connection(gateway.address).status(request("quick", "RequestResponse"))
        starts.append((said, time.perf_counter() - gateway.began))
        gateway.kill()
        if status != 200:
            raise SystemExit(f"answered {status}")
    return sorted(starts, key=lambda start: start[1])[1]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("handlerd", type=Path)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--backlog", type=int, default=100_000)
    parser.add_argument("--folder", type=Path, help="on whose disk [the temporary files']")
    options = parser.parse_args()
    binary = options.handlerd.resolve()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        project(folder)
        gateway = Gateway(binary, folder)
        rounds = {"202": [], "baseline": []}
        measures = {
            "202": lambda: accepted(gateway.address, options.connections, options.seconds),
            "baseline": lambda: baseline(folder, options.connections, options.seconds),
        }
        for number in range(options.rounds):
            order = list(measures) if number % 2 == 0 else list(measures)[::-1]
            for what in order:
                rounds[what].append(measures[what]())
        gateway.kill()
        print(f"{options.connections} at once, medians of {options.rounds} rounds")
        for what, title in (("202", "InvocationType=Event"), ("baseline", "append + fdatasync")):
            figures = {
                key: statistics.median(figures[key] for figures in rounds[what])
                for key in rounds[what][0]
            }
            print(
                f"{title:22} {figures['per_second']:9.0f}/s   p50 {figures['p50_ms']:6.2f} ms   "
                f"p99 {figures['p99_ms']:6.2f} ms"
            )
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        project(folder)
        said, answered = start(binary, folder)
        print(
            f"no event queued; listening after {said * 1000:.0f} ms, "
            f"first answer after {answered * 1000:.0f} ms"
        )
        filled, (said, answered), size = backlog(
            binary, folder, options.backlog, options.connections
        )
        print(
            f"{options.backlog} events queued in {filled:.1f} s ({size / 1e6:.0f} MB); started anew: "
            f"listening after {said * 1000:.0f} ms, first answer after {answered * 1000:.0f} ms"
        )


if __name__ == "__main__":
    sys.exit(main())
