"""Says in one line of JSON what the Python that runs this is and how it was built.

Standard library only, and written so that Python 2.7 can read it too: an old Python is to be told
that it is old, not that it has a syntax error.
"""
import sys

# `-c` puts the current folder first on the path; a `json.py` that lies there must not be imported.
sys.path[:] = [folder for folder in sys.path if folder]

import json
import sysconfig


def config(name):
    return sysconfig.get_config_var(name)


def loaded_library():
    """The libpython that this very process runs on, or None when it is part of the executable."""
    try:
        with open("/proc/self/maps") as maps:
            for line in maps:
                path = line.rstrip("\n").partition("/")[2]
                name = path.rpartition("/")[2]
                # `libpython3.so` is only a stub that forwards to the real one.
                if name.startswith("libpython") and name not in ("libpython3.so", "libpython3t.so"):
                    if not name.endswith(" (deleted)"):
                        return "/" + path
    except (IOError, OSError):
        pass
    return None


def optimised():
    """True or False where the build says so. A distribution hides its flags: None, not known."""
    words = " ".join(str(config(name) or "") for name in ("CONFIG_ARGS", "PY_CFLAGS", "PY_CORE_CFLAGS", "PY_LDFLAGS"))
    if config("Py_DEBUG"):
        return False
    if any(word in words for word in ("--enable-optimizations", "--with-lto", "-fprofile-use", "-flto")):
        return True
    return None if sys.prefix == "/usr" else False


implementation = getattr(sys, "implementation", None)
if implementation is not None:
    implementation = implementation.name
else:
    implementation = "pypy" if hasattr(sys, "pypy_version_info") else "cpython"

print(json.dumps({
    "implementation": implementation,
    "version": list(sys.version_info[:3]),
    "executable": sys.executable,
    "prefix": sys.prefix,
    "base_prefix": getattr(sys, "base_prefix", sys.prefix),
    "stdlib": sysconfig.get_path("stdlib"),
    "free_threaded": bool(config("Py_GIL_DISABLED")),
    "optimised": optimised(),
    "loaded_library": loaded_library(),
    "library_names": [config("INSTSONAME"), config("LDLIBRARY")],
    "library_folders": [config("LIBDIR"), config("LIBPL")],
    "ld_version": config("LDVERSION") or "%d.%d" % sys.version_info[:2],
    "multiarch": config("MULTIARCH"),
}))
