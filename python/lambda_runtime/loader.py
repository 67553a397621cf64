"""Finds the handler, and sees to it that its code is what the files say now."""

import contextlib
import hashlib
import importlib
import importlib.machinery
import importlib.util
import marshal
import os
import sys
import types

from lambda_runtime import faults
from lambda_runtime.faults import Fault

# Sources up to this size compile faster than anyone can see; they are also the ones being edited,
# and every edit would leave a file in the cache.
SMALL_SOURCE = 16 * 1024

# What Lambda's runtime has loaded before it turns to the function. A function's file of the same
# name is never found there, so it must not be found here either.
LOADED_BY_LAMBDA = frozenset(
    """
    __future__ __main__ abc atexit builtins codecs collections contextlib copyreg decimal
    encodings enum functools genericpath importlib io itertools json keyword linecache logging
    marshal math numbers operator os posix posixpath re reprlib runpy signal site stat string
    struct sys textwrap threading time token tokenize traceback types warnings weakref zipimport
""".split()
    + (["concurrent", "heapq", "queue"] if sys.version_info >= (3, 12) else [])
    + (["sre_compile", "sre_constants", "sre_parse"] if sys.version_info < (3, 11) else [])
)


def load(handler: str):
    """The callable that `module.function` names. Whether it can be called shows when it is."""
    try:
        module_name, function_name = handler.rsplit(".", 1)
    except ValueError as error:
        raise Fault(faults.MALFORMED_HANDLER_NAME, f"Bad handler '{handler}': {error}") from None
    if module_name.split(".")[0] in sys.builtin_module_names:
        message = f"Cannot use built-in module {module_name} as a handler module"
        raise Fault(faults.BUILT_IN_MODULE_CONFLICT, message)
    try:
        module = importlib.import_module(module_name.replace("/", "."))
    except ImportError as error:
        message = f"Unable to import module '{module_name}': {error}"
        raise Fault(faults.IMPORT_MODULE_ERROR, message) from error
    except SyntaxError as error:
        message = f"Syntax error in module '{module_name}': {error}"
        place = f'  File "{error.filename}" Line {error.lineno}\n    {error.text}'
        raise Fault(faults.USER_CODE_SYNTAX_ERROR, message, [place]) from error
    try:
        return getattr(module, function_name)
    except AttributeError:
        message = f"Handler '{function_name}' missing on module '{module_name}'"
        raise Fault(faults.HANDLER_NOT_FOUND, message) from None


def install(roots: list[str], bytecode_cache: str | None) -> None:
    """From now on, modules in these directories are loaded from their sources.

    A .pyc file is trusted by size and whole-second time: too coarse for code that is saved and run
    within the second.
    """
    StoredBytecodeLoader.folder = bytecode_cache
    roots = {os.path.abspath(root) for root in roots} | {os.path.realpath(root) for root in roots}
    inside = tuple(os.path.join(root, "") for root in roots)

    def finder(path: str):
        if not os.path.join(os.path.abspath(path), "").startswith(inside) or not os.path.isdir(path):
            raise ImportError("not part of the function", path=path)
        return importlib.machinery.FileFinder(
            path,
            (importlib.machinery.ExtensionFileLoader, importlib.machinery.EXTENSION_SUFFIXES),
            (_source_loader, importlib.machinery.SOURCE_SUFFIXES),
            (importlib.machinery.SourcelessFileLoader, importlib.machinery.BYTECODE_SUFFIXES),
        )

    sys.path_hooks.insert(0, finder)
    sys.path_importer_cache.clear()


class FunctionSourceLoader(importlib.machinery.SourceFileLoader):
    """Always compiles. Stands in no traceback, so these look as they do in Lambda."""

    def path_stats(self, path):
        # The documented way to say that there is no bytecode to look at, and none to write.
        raise OSError("bytecode files are not used for function code")


class StoredBytecodeLoader(FunctionSourceLoader):
    """Compiles once: keeps the bytecode under the hash of the source it came from."""

    folder: str | None = None

    def source_to_code(self, data, path, *, _optimize=-1):
        key = hashlib.sha256(importlib.util.MAGIC_NUMBER + bytes([sys.flags.optimize]) + data)
        stored = os.path.join(self.folder, f"{sys.implementation.cache_tag}-{key.hexdigest()}")
        code = _read_code(stored)
        if code is None:
            code = super().source_to_code(data, path, _optimize=_optimize)
            _write_code(stored, code)
        return _placed(code, path)


def _source_loader(name: str, path: str) -> FunctionSourceLoader:
    if StoredBytecodeLoader.folder is not None:
        with contextlib.suppress(OSError):
            if os.stat(path).st_size > SMALL_SOURCE:
                return StoredBytecodeLoader(name, path)
    return FunctionSourceLoader(name, path)


def _read_code(path: str) -> types.CodeType | None:
    try:
        with open(path, "rb") as file:
            code = marshal.loads(file.read())
    except (OSError, EOFError, ValueError, TypeError):
        return None  # damaged is as good as missing: it will be written anew
    return code if isinstance(code, types.CodeType) else None


def _write_code(path: str, code: types.CodeType) -> None:
    unfinished = f"{path}.{os.getpid()}"
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(unfinished, "xb") as file:
            file.write(marshal.dumps(code))
        os.replace(unfinished, path)
    except OSError:
        pass  # a cache: without it, the next environment compiles again


def _placed(code: types.CodeType, path: str) -> types.CodeType:
    """The same code as of the file `path`: equal sources may lie in several places."""
    if code.co_filename == path:
        return code
    constants = tuple(
        _placed(constant, path) if isinstance(constant, types.CodeType) else constant
        for constant in code.co_consts
    )
    return code.replace(co_filename=path, co_consts=constants)


# How many modules there were when this was found out, and the packages they belong to.
_ahead: tuple[int, frozenset[str]] = (0, frozenset())


def remember_ahead() -> None:
    """Done in the zygote: going through all names after a fork would copy the pages they are on."""
    global _ahead
    _ahead = (len(sys.modules), _imported_ahead())


def _imported_ahead() -> frozenset[str]:
    return frozenset(name.partition(".")[0] for name in sys.modules) - LOADED_BY_LAMBDA


def forget_shadowed(roots: list[str]) -> None:
    """Drops modules imported ahead of the function that its own files would have come before.

    With one of them go the others that may have imported it: all of the standard library if it
    is of that, else only what is not.
    """
    shadowing = set()
    for root in roots:
        shadowing |= _module_names(root)
    ahead = _ahead[1] if _ahead[0] == len(sys.modules) else _imported_ahead()
    # What is built into the interpreter has no file, and comes before all files.
    shadowed = {name for name in ahead & shadowing if _file(sys.modules.get(name))}
    if not shadowed:
        return
    standard = bool(shadowed & sys.stdlib_module_names)
    for name, module in list(sys.modules.items()):
        top = name.partition(".")[0]
        if top in LOADED_BY_LAMBDA:
            continue
        # Modules of C cannot always be loaded twice; these stay unless they are shadowed themselves.
        dependent = (standard or top not in sys.stdlib_module_names) and _file(module).endswith(".py")
        if top in shadowed or dependent:
            del sys.modules[name]


def _file(module) -> str:
    return getattr(module, "__file__", None) or ""


def _module_names(root: str) -> set[str]:
    names = set()
    try:
        entries = list(os.scandir(root))
    except OSError:
        return names
    suffixes = tuple(importlib.machinery.all_suffixes())
    for entry in entries:
        stem, dot, _ = entry.name.partition(".")
        if dot:
            if entry.name[len(stem) :] in suffixes:
                names.add(stem)
        # Without __init__.py it would be a namespace package, which comes last.
        elif os.path.exists(os.path.join(entry.path, "__init__.py")):
            names.add(stem)
    return names
