"""Loading the function: always what the files say, and nothing of ours in its way.

Each test looks at a process of its own, because it is the process that is changed.
"""

import json
import os
import py_compile
import subprocess
import sys
import textwrap

import pytest

START = """
import json, sys
from lambda_runtime import bootstrap
bootstrap.prepare()
{before}
bootstrap.start({{"environment": {environment!r}, "task_root": {root!r}, "layers": {layers!r},
                 "bytecode_cache": {cache!r}}})
handler = bootstrap.load()
print(json.dumps(handler({{}}, None)))
"""


@pytest.fixture
def load(tmp_path, import_path):
    def load(files: dict, *, handler="app.handler", layers=(), cache=None, before="", **environment):
        root = tmp_path / "task"
        for path, text in files.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(textwrap.dedent(text))
        source = START.format(
            before=before,
            environment={"_HANDLER": handler, **environment},
            root=str(root),
            layers=[str(layer) for layer in layers],
            cache=cache and str(cache),
        )
        process = subprocess.run(
            [sys.executable, "-c", source], env={"PYTHONPATH": import_path}, capture_output=True, text=True
        )
        assert process.returncode == 0, process.stderr
        return json.loads(process.stdout.splitlines()[-1])

    return load


def test_a_stale_pyc_is_not_believed(load, tmp_path):
    """Same size, same second: what importlib's own check cannot tell apart."""
    source = tmp_path / "task" / "app.py"
    load({"app.py": "handler = lambda e, c: 'old'\n"})
    py_compile.compile(str(source))
    old = source.stat()
    source.write_text("handler = lambda e, c: 'new'\n")
    os.utime(source, (old.st_atime, old.st_mtime))
    assert load({}) == "new"


def test_nothing_is_written_beside_the_code(load, tmp_path):
    load({"app.py": "import helper\nhandler = helper.handler\n", "helper.py": "handler = lambda e, c: 1\n"})
    assert sorted(path.name for path in (tmp_path / "task").rglob("*")) == ["app.py", "helper.py"]


def test_a_module_without_source_still_loads(load, tmp_path):
    source = tmp_path / "helper.py"
    source.write_text("def handler(e, c): return 'sourceless'\n")
    (tmp_path / "task").mkdir()
    py_compile.compile(str(source), cfile=str(tmp_path / "task" / "helper.pyc"))
    assert load({"app.py": "from helper import handler\n"}) == "sourceless"


LARGE = (
    "import os\n"
    + "def f(): return 1\n" * 2000
    + "def handler(e, c): return [f.__code__.co_filename, {!r}]\n"
)


def test_bytecode_of_a_large_file_is_kept_by_its_content(load, tmp_path):
    cache, app = tmp_path / "cache", str(tmp_path / "task" / "app.py")
    assert load({"app.py": LARGE.format("one")}, cache=cache) == [app, "one"]
    (first,) = cache.iterdir()
    changed = first.stat().st_mtime_ns
    assert load({}, cache=cache) == [app, "one"]
    assert first.stat().st_mtime_ns == changed
    assert load({"app.py": LARGE.format("two")}, cache=cache) == [app, "two"]
    assert len(list(cache.iterdir())) == 2


def test_kept_bytecode_tells_the_path_it_was_loaded_from(load, tmp_path):
    cache = tmp_path / "cache"
    load({"app.py": LARGE.format("x")}, cache=cache)
    moved = load({"pkg/app.py": LARGE.format("x")}, handler="pkg/app.handler", cache=cache)
    assert moved == [str(tmp_path / "task" / "pkg" / "app.py"), "x"]
    assert len(list(cache.iterdir())) == 1


@pytest.mark.parametrize("damage", [b"", b"nonsense", b"\xe9\x01\x00\x00\x00"])
def test_damaged_bytecode_is_replaced(load, tmp_path, damage):
    cache = tmp_path / "cache"
    load({"app.py": LARGE.format("x")}, cache=cache)
    (stored,) = cache.iterdir()
    good = stored.read_bytes()
    stored.write_bytes(damage)
    assert load({}, cache=cache)[1] == "x"
    assert stored.read_bytes() == good


def test_a_cache_that_cannot_be_written_is_done_without(load, tmp_path):
    (tmp_path / "file").write_text("")
    assert load({"app.py": LARGE.format("x")}, cache=tmp_path / "file" / "cache")[1] == "x"


def test_own_modules_come_before_those_imported_ahead(load):
    files = {
        "app.py": "import calendar, uuid\nhandler = lambda e, c: [calendar.mine, hasattr(uuid, 'uuid4')]\n",
        "calendar.py": "mine = 'mine'\n",
    }
    assert load(files) == ["mine", True]


def test_what_depends_on_a_shadowed_module_sees_the_shadow(load):
    files = {
        "app.py": "import base64, logging\nhandler = lambda e, c: [base64.binascii.mine, base64.struct.__name__]\n",
        "binascii.py": "mine = 1\nclass Error(Exception): pass\n",
    }
    if "binascii" in sys.builtin_module_names:
        pytest.skip("binascii is built into this Python")
    assert load(files) == [1, "struct"]


def test_a_folder_that_is_no_package_shadows_nothing(load):
    files = {"app.py": "import uuid\nhandler = lambda e, c: hasattr(uuid, 'uuid4')\n", "uuid/data.txt": ""}
    assert load(files) is True


def test_a_module_of_ones_own_may_have_our_name(load):
    files = {
        "app.py": "import lambda_runtime\nhandler = lambda e, c: lambda_runtime.mine\n",
        "lambda_runtime.py": "mine = 5\n",
    }
    assert load(files) == 5


def test_layers_come_after_the_function_and_before_python(load, tmp_path):
    layer = tmp_path / "layer"
    layer.mkdir()
    (layer / "helper.py").write_text("where = 'layer'\n")
    (layer / "both.py").write_text("where = 'layer'\n")
    (layer / "uuid.py").write_text("where = 'layer'\n")
    files = {
        "app.py": "import helper, both, uuid\nhandler = lambda e, c: [helper.where, both.where, uuid.where]\n",
        "both.py": "where = 'function'\n",
    }
    assert load(files, layers=[layer]) == ["layer", "function", "layer"]


def test_a_folder_added_to_the_path_belongs_to_the_function(load, tmp_path):
    files = {
        "app.py": """
            import os, sys
            sys.path.insert(0, "vendored")
            sys.path.insert(0, os.path.join(os.environ["LAMBDA_TASK_ROOT"], "more"))
            import one, two
            handler = lambda e, c: [type(m.__loader__).__name__ for m in (one, two)]
        """,
        "vendored/one.py": "",
        "more/two.py": "",
    }
    assert load(files, LAMBDA_TASK_ROOT=str(tmp_path / "task")) == ["FunctionSourceLoader"] * 2
