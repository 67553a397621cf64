"""The steps of an environment, in forks of one prepared process as the zygote makes them: one that is
needed at once, and one that has waited as a spare child."""

import json
import subprocess
import sys

import pytest

FORKS = """
import json, os, sys
from lambda_runtime import bootstrap
bootstrap.prepare(){more}
import random, tempfile, threading
assert threading.active_count() == 1
assert tempfile.tempdir is None
for number in range(2):
    child = os.fork()
    if child == 0:
        if number:  # one that was a spare child before
            bootstrap.rehearse()
        bootstrap.start({{"environment": {{"_HANDLER": "app.handler", "TMPDIR": {root!r}, "N": str(number)}},
                          "task_root": {root!r}, "layers": [], "bytecode_cache": None}})
        handler = bootstrap.load()
        bootstrap.begin(f"id-{{number}}")
        print(json.dumps(handler(None, None)))
        os._exit(0)
    os.waitpid(child, 0)
"""


@pytest.fixture
def forks(tmp_path, import_path):
    def forks(source: str, more: str = "") -> list:
        (tmp_path / "app.py").write_text(source)
        process = subprocess.run(
            [sys.executable, "-c", FORKS.format(root=str(tmp_path), more=more)],
            env={"PYTHONPATH": import_path, "ONLY_IN_THE_ZYGOTE": "1"},
            capture_output=True,
            text=True,
        )
        assert process.returncode == 0 and not process.stderr, process.stderr
        return [json.loads(line) for line in process.stdout.splitlines()]

    return forks


def test_the_environment_is_replaced_as_a_whole(forks, tmp_path):
    seen = forks("import os\nhandler = lambda e, c: dict(os.environ)\n")
    expected = {"_HANDLER": "app.handler", "TMPDIR": str(tmp_path)}
    assert seen == [{**expected, "N": "0"}, {**expected, "N": "1"}]


def test_no_two_environments_draw_the_same_numbers(forks):
    first, second = forks(
        "import random, uuid, secrets\n"
        "handler = lambda e, c: [random.random(), str(uuid.uuid4()), str(uuid.uuid1()), secrets.token_hex()]\n"
    )
    assert all(one != other for one, other in zip(first, second, strict=True))


def test_temporary_files_go_where_the_function_is_told(forks, tmp_path):
    assert forks("import tempfile\nhandler = lambda e, c: tempfile.gettempdir()\n") == [str(tmp_path)] * 2


def test_more_modules_when_idle(forks):
    source = "import sys\nloaded = 'http.client' in sys.modules\nhandler = lambda e, c: loaded\n"
    assert forks(source) == [False, False]
    assert forks(source, "; bootstrap.prepare_more()") == [True, True]


def test_path_and_arguments(forks, tmp_path):
    source = "import os, sys\nhandler = lambda e, c: [sys.path[0], '' in sys.path, sys.argv, os.getcwd()]\n"
    root = str(tmp_path)
    assert forks(source)[0] == [root, False, ["/var/runtime/bootstrap.py"], root]


def test_output_is_not_buffered(forks):
    source = "import os, sys\ndef handler(e, c):\n    print('[1]', end='')\n    sys.stdout.flush = None\n    os.write(1, b'\\n')\n    return 2\n"
    assert forks(source) == [[1], 2, [1], 2]
