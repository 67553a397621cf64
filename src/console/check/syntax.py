# Reads Python from standard input and writes its mistakes as JSON: it is parsed and compiled, never run.
import ast
import json
import sys
import warnings

MOST = 10
# A new beginning: nothing before it can be the reason why this would be wrong.
BEGINNINGS = ("def ", "class ", "async def ", "@", "import ", "from ")

source = sys.stdin.buffer.read().decode("utf-8").removeprefix("\ufeff")
lines = source.replace("\r\n", "\n").replace("\r", "\n").split("\n")
found = []


def units(text):
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def column(line, offset, in_bytes):
    """Offset, from 1, in characters or UTF-8 -> column, from 1, in UTF-16 units."""
    text = lines[line - 1]
    if in_bytes:
        before = text.encode("utf-8")[: offset - 1].decode("utf-8", "ignore")
    else:
        before = text[: offset - 1]
    return units(before) + 1


def tell(message, line, start, end_line, end, severity="error"):
    found.append(
        {
            "line": line,
            "column": start,
            "end_line": end_line,
            "end_column": end,
            "message": message[:1000],
            "severity": severity,
        }
    )


def whole(message, line, severity="error"):
    line = min(max(line or 1, 1), len(lines))
    text = lines[line - 1]
    start = units(text) - units(text.lstrip()) + 1
    tell(message, line, start, line, max(units(text.rstrip()) + 1, start), severity)


def error(error, in_bytes):
    line, offset = error.lineno, error.offset
    told = error.text if in_bytes is False else None
    elsewhere = told is not None and line and line <= len(lines) and told.rstrip("\r\n") != lines[line - 1]
    if not line or not offset or line < 1 or offset < 1 or line > len(lines) or elsewhere:
        return whole(error.msg, line)
    end_line, end = getattr(error, "end_lineno", None), getattr(error, "end_offset", None)
    start = column(line, offset, in_bytes)
    if not end_line or not end or end < 1 or not line <= end_line <= len(lines):
        end_line, end = line, offset
    last = column(end_line, end, in_bytes)
    if end_line == line and last <= start:
        last = start + 1
    tell(error.msg, line, start, end_line, last)


def examine(text):
    """Where it stopped, if that was at an error of the grammar."""
    try:
        tree = ast.parse(text, "code.py")
    except SyntaxError as wrong:
        error(wrong, False)
        # Where a string ends that does not end, nobody knows.
        return None if "unterminated triple" in wrong.msg else (wrong.lineno or len(lines))
    try:
        compile(tree, "code.py", "exec", dont_inherit=True)
    except SyntaxError as wrong:
        error(wrong, True)
    return None


def main():
    if "\0" in source:
        line = source[: source.index("\0")].replace("\r\n", "\n").replace("\r", "\n").count("\n") + 1
        return whole("source code cannot contain null bytes", line)
    at, text = 0, source
    while len(found) < MOST:
        stopped = examine(text)
        if stopped is None:
            return
        later = (n for n in range(max(stopped, at + 1), len(lines)) if lines[n].startswith(BEGINNINGS))
        at = next(later, None)
        if at is None:
            return
        # The lines keep their numbers.
        text = "\n" * at + "\n".join(lines[at:])


with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    try:
        main()
    except (RecursionError, MemoryError):
        whole("this is nested too deeply for Python to read", 1)
    except ValueError as wrong:
        whole(str(wrong), 1)
known = set()
for warning in told:
    text = str(warning.message)
    if issubclass(warning.category, (SyntaxWarning, DeprecationWarning)) and (warning.lineno, text) not in known:
        known.add((warning.lineno, text))
        if len(known) <= MOST:
            whole(text, warning.lineno, "warning")
found.sort(key=lambda problem: (problem["line"], problem["column"]))
print(json.dumps({"problems": found}))
