"""Finds the built extension and puts it, with `lambda_runtime`, where Python can import them.

HANDLERD_PYTHON_SO names the shared library; without it the newest one under `target/` is used.
"""

import os
import shutil
import sys
import tempfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
LIBRARY = "libhandlerd_python.so"


def built_extension() -> Path:
    if named := os.environ.get("HANDLERD_PYTHON_SO"):
        return Path(named)
    profiles = [REPOSITORY / "target" / profile for profile in ("release", "debug")]
    folders = [folder for profile in profiles for folder in (profile, profile / "deps")]
    found = [folder / LIBRARY for folder in folders if (folder / LIBRARY).exists()]
    if not found:
        pytest.exit(f"{LIBRARY} is not built; hint: cargo build -p handlerd-python", returncode=2)
    return max(found, key=lambda path: path.stat().st_mtime)


EXTENSION_FOLDER = Path(tempfile.mkdtemp(prefix="handlerd-python-"))
shutil.copy(built_extension(), EXTENSION_FOLDER / "_handlerd.so")
IMPORT_PATH = [str(EXTENSION_FOLDER), str(REPOSITORY / "python")]
sys.path[:0] = IMPORT_PATH
sys.dont_write_bytecode = True


def pytest_unconfigure():
    shutil.rmtree(EXTENSION_FOLDER, ignore_errors=True)


@pytest.fixture(scope="session")
def import_path() -> str:
    """For PYTHONPATH of a process of its own."""
    return os.pathsep.join(IMPORT_PATH)


class Summary:
    """What test_differential.py found, for the table at the end of the run."""

    def __init__(self):
        self.rows = []

    def add(self, case, count: int, different: set[str]) -> None:
        self.rows.append((case, count, different))


SUMMARY = Summary()


@pytest.fixture
def summary() -> Summary:
    return SUMMARY


def pytest_terminal_summary(terminalreporter):
    if not SUMMARY.rows:
        return
    line = terminalreporter.write_line
    terminalreporter.section("compared with AWS's runtime")
    total = sum(count for _, count, _ in SUMMARY.rows)
    intended = [row for row in SUMMARY.rows if row[2] and row[0].differs]
    unintended = [row for row in SUMMARY.rows if row[2] and not row[0].differs]
    equal = total - sum(count for _, count, _ in intended + unintended)
    line(f"{len(SUMMARY.rows)} functions, {total} cases: {equal} equal, ")
    line(f"{sum(row[1] for row in intended)} different as intended, ")
    line(f"{sum(row[1] for row in unintended)} in functions that are different and should not be")
    for case, count, different in intended:
        line(f"  intended   {case.name} ({count}; {', '.join(sorted(different))}): {case.differs}")
    for case, count, different in unintended:
        line(f"  UNINTENDED {case.name} ({count}; {', '.join(sorted(different))})")
