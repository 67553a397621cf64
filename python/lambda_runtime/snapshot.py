"""What runs around a snapshot (SnapStart): hooks, in the orders that Lambda defines.

Functions register them with the package `snapshot_restore_py`, which is part of Lambda's runtime. If
neither the function nor the interpreter has it, this module stands in for it.
"""

import importlib.abc
import importlib.machinery
import sys

from lambda_runtime import faults
from lambda_runtime.faults import Fault

PACKAGE = "snapshot_restore_py"

_before_snapshot: list[tuple] = []
_after_restore: list[tuple] = []


def register_before_snapshot(func, *args, **kwargs):
    """Calls `func` with these arguments before the snapshot is taken, the one registered last first."""
    _before_snapshot.append((func, args, kwargs))
    return func


def register_after_restore(func, *args, **kwargs):
    """Calls `func` with these arguments in each environment, in the order of registration."""
    _after_restore.append((func, args, kwargs))
    return func


def get_before_snapshot() -> list[tuple]:
    return _before_snapshot


def get_after_restore() -> list[tuple]:
    return _after_restore


_STANDS_IN = (register_before_snapshot, register_after_restore, get_before_snapshot, get_after_restore)


class StandIn(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Asked last: whatever package of that name there is comes first."""

    def find_spec(self, name, path=None, target=None):
        return importlib.machinery.ModuleSpec(name, self) if name == PACKAGE else None

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        vars(module).update({function.__name__: function for function in _STANDS_IN})


def install() -> None:
    sys.meta_path.append(StandIn())


def run_before_snapshot() -> None:
    hooks = _registered("get_before_snapshot")
    try:
        while hooks:
            function, args, kwargs = hooks.pop()
            function(*args, **kwargs)
    except BaseException as error:  # as in Lambda: whatever it is, there is no snapshot
        raise _fault(faults.BEFORE_SNAPSHOT_ERROR, error) from None


def run_after_restore() -> None:
    try:
        for function, args, kwargs in _registered("get_after_restore"):
            function(*args, **kwargs)
    except BaseException as error:
        raise _fault(faults.AFTER_RESTORE_ERROR, error) from None


def _registered(name: str) -> list:
    """Of nobody, unless the function has imported the package."""
    package = sys.modules.get(PACKAGE)
    return getattr(package, name)() if package is not None else []


def _fault(error_type: str, error: BaseException) -> Fault:
    return Fault(error_type, str(error) or type(error).__name__, faults.stack_trace_of(error))
