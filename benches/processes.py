"""Starting servers, knowing what they use, and ending them with all that they started."""

import contextlib
import ctypes
import http.client
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
PATIENCE = 60.0

_libc = ctypes.CDLL(None, use_errno=True)
_ours = os.getpid()


class Problem(Exception):
    """A peer that cannot be had or started, with the reason in plain words."""


def adopt_orphans():
    """Whatever our servers leave behind becomes our child, so that we can end it too."""
    _libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _child_set_up():
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != _ours:
        os._exit(1)


class Server:
    """A process with all its descendants, in a group of its own."""

    def __init__(self, name, command, port, folder, environment):
        self.name, self.port, self.folder = name, port, Path(folder)
        self.path = "/hello?name=bob&x=1"
        self.host = f"127.0.0.1:{port}"
        self.log = self.folder / "output.log"
        self.began = time.perf_counter()
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [str(part) for part in command],
                cwd=self.folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=_child_set_up,
            )
        self.pid = self.process.pid

    @property
    def url(self):
        return f"http://{self.host}{self.path}"

    def wait_for_port(self):
        """Until somebody listens."""
        while not listens(self.port):
            self._still_alive()
            time.sleep(0.005)

    def wait_for_answer(self):
        """Until the handler answers; seconds since the start."""
        while True:
            self._still_alive()
            try:
                with Client(self.port, timeout=PATIENCE) as client:
                    status, _ = client.get(self.path)
            except OSError:
                status = 0
            except http.client.HTTPException:
                status = 0
            if status == 200:
                return time.perf_counter() - self.began
            time.sleep(0.001)

    def _still_alive(self):
        if self.process.poll() is not None:
            raise Problem(f"ended with {self.process.returncode}: {self.last_words()}")
        if time.perf_counter() - self.began > PATIENCE:
            raise Problem(f"does not answer within {PATIENCE:.0f} s: {self.last_words()}")

    def last_words(self):
        lines = self.log.read_text(errors="replace").strip().splitlines()
        return lines[-1][:200] if lines else "it said nothing"

    def stop(self):
        everybody = tree(self.pid)
        _signal_group(self.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(5)
        _signal_group(self.pid, signal.SIGKILL)
        end(everybody)
        self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def _signal_group(group, number):
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def end(everybody):
    """Ends what is left of these: descendants may have left the group."""
    ours = set(tree(_ours))
    for pid in everybody:
        if pid in ours and pid != _ours:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def end_all_descendants():
    """The last thing a run does, also after an error."""
    end(tree(_ours))
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def listens(port):
    with socket.socket() as attempt:
        return attempt.connect_ex(("127.0.0.1", port)) == 0


class Client:
    """One kept-alive connection."""

    def __init__(self, port, timeout=30.0):
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
        self._connection.connect()
        self._connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def get(self, path):
        return self.send("GET", path)

    def send(self, method, path, body=None, headers=None):
        self._connection.request(method, path, body, headers or {})
        response = self._connection.getresponse()
        return response.status, response.read()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._connection.close()


def _stat(pid):
    """Fields of /proc/PID/stat after the name; the name may hold anything."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def tree(root):
    """A process and all its descendants, parents first."""
    children = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                children.setdefault(int(_stat(entry)[1]), []).append(int(entry))
            except (OSError, IndexError):
                continue
    found = [root]
    for pid in found:
        found.extend(children.get(pid, ()))
    return found


def cpu_seconds(root):
    """CPU time of a process tree: of all threads, exact to the ns, and of children that have ended
    and were waited for, exact to a clock tick."""
    ticks = os.sysconf("SC_CLK_TCK")
    total = 0.0
    for pid in tree(root):
        try:
            fields = _stat(pid)
            # The CPU-time clock of another process, as clock_getcpuclockid(3) names it.
            total += time.clock_gettime(~pid << 3 | 2)
            total += (int(fields[13]) + int(fields[14])) / ticks
        except (OSError, IndexError):
            continue
    return total


def pss_mb(root):
    """Memory of a process tree, shared pages counted once over all who share them."""
    total = 0
    for pid in tree(root):
        try:
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except OSError:
            continue
        total += sum(int(row.split()[1]) for row in text.splitlines() if row.startswith("Pss:"))
    return total / 1024
