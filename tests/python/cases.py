"""What both runtimes are asked: functions, and the events they get.

A case whose `differs` is set is meant to differ, in the `parts` named; the reason is what the table
at the end of the test run says.
"""

import dataclasses

from runtimes import Invocation


@dataclasses.dataclass
class Case:
    name: str
    files: dict[str, str]
    handler: str = "app.handler"
    invocations: list[Invocation] = dataclasses.field(default_factory=lambda: [Invocation()])
    names: list[str] | None = None  # of the invocations, where there are several
    variables: dict[str, str] = dataclasses.field(default_factory=dict)
    runtime: str = "python3.12"
    differs: str | None = None
    parts: tuple[str, ...] = ()  # "outcome", "stackTrace", "log"


def app(source: str, **files: str) -> dict[str, str]:
    return {"app.py": source, **{f"{name}.py": text for name, text in files.items()}}


def many(name: str, source: str, events: dict, **others) -> Case:
    """One function, several events, each a case."""
    invocations = [e if isinstance(e, Invocation) else Invocation(e) for e in events.values()]
    return Case(name, app(source), invocations=invocations, names=list(events), **others)


ECHO = "def handler(event, context):\n    return event\n"
FINE = "def handler(event, context):\n    return 'fine'\n"

LOADING = [
    Case("no dot in the handler", app(FINE), handler="handler"),
    Case("built-in module", app(FINE), handler="sys.handler"),
    Case("built-in module with a submodule", app(FINE), handler="time.sub.handler"),
    Case("module not found", app(FINE), handler="nosuch.handler"),
    Case("missing dependency", app("import nosuch_dependency\n" + FINE)),
    Case("name that cannot be imported", app("from helper import x\n" + FINE, helper="y = 1\n")),
    Case("nested attribute", app("class C:\n    h = 1\n"), handler="app.C.h"),
    Case("syntax error", app("def handler(event, context)\n    return 1\n")),
    Case("indentation error", app("def handler(event, context):\nreturn 1\n")),
    Case("syntax error in a dependency", app("import helper\n" + FINE, helper="x = = 1\n")),
    Case("syntax error of non-ASCII text", app("x = 'é\n"), runtime="python3.11"),
    Case("file that is not UTF-8", {"app.py": "# \udcff\nx = 1\n"}),
    Case("null byte in the source", app("x = 1\0\n")),
    Case("unclosed bracket", app("x = (1,\n\n" + FINE)),
    Case("attribute missing", app(FINE), handler="app.nope"),
    Case("empty module name", app(FINE), handler=".handler"),
    Case("empty handler name", app(FINE), handler="app."),
    Case("division by zero while importing", app("x = 1 / 0\n" + FINE)),
    Case("KeyError while importing", app("import os\nos.environ['NOSUCH']\n" + FINE)),
    Case("error in a dependency while importing", app("import helper\n", helper="raise OSError(2, 'x')\n")),
    Case("ImportError raised by hand", app("raise ImportError('no luck')\n")),
    Case("ImportError in a function while importing", app("def f():\n    import nosuch_two\nf()\n")),
    Case(
        "AttributeError from a module's __getattr__", app("def __getattr__(n):\n    raise AttributeError\n")
    ),
    Case("other error from a module's __getattr__", app("def __getattr__(n):\n    raise OSError('x')\n")),
    Case("sys.exit while importing", app("import sys\nsys.exit(3)\n")),
    Case("slashes in the handler", {"pkg/sub/app.py": FINE}, handler="pkg/sub/app.handler"),
    Case("dots in the handler", {"pkg/__init__.py": "", "pkg/app.py": FINE}, handler="pkg.app.handler"),
    Case("module that is missing, with slashes", {"pkg/app.py": FINE}, handler="pkg/none.handler"),
    Case("package with the handler in it", {"pkg/__init__.py": FINE}, handler="pkg.handler"),
    Case("relative import", {"p/a.py": "from .b import handler\n", "p/b.py": FINE}, handler="p.a.handler"),
    Case("reserved word as a name", {"lambda.py": FINE}, handler="lambda.handler"),
    Case(
        "file that shadows the standard library",
        app("import calendar\nhandler = calendar.handler\n", calendar=FINE),
    ),
    Case(
        "package that shadows the standard library",
        {"app.py": "from email import handler\n", "email/__init__.py": FINE},
    ),
    Case("handler's own file shadows a module", {"uuid.py": FINE}, handler="uuid.handler"),
    Case(
        "file that cannot shadow",
        app("import json\nhandler = lambda e, c: json.dumps(e)\n", json="x = 1/0\n"),
        differs="started by hand, AWS's client itself is misled by such a file; in Lambda it comes first",
        parts=("outcome",),
    ),
    Case("non-ASCII error while importing, latin", app("raise ValueError('é')\n"), runtime="python3.11"),
    Case(
        "non-ASCII error while importing, raw",
        app("raise ValueError('日本')\n"),
        differs="AWS's client encodes this body as Latin-1, and dies if it cannot; ours sends UTF-8",
        parts=("outcome",),
    ),
    Case(
        "bare string as module attribute",
        app("handler = 'x'\n"),
        differs="AWS shows the frame that calls the handler, with a line number of its client; we have no such file",
        parts=("stackTrace", "log"),
    ),
]

CALLABLES = [
    Case("lambda", app("handler = lambda event, context: 1\n")),
    Case("callable instance", app("class H:\n    def __call__(s, e, c):\n        return 2\nhandler = H()\n")),
    Case("bound method", app("class H:\n    def m(s, e, c):\n        return 3\nhandler = H().m\n")),
    Case("partial", app("import functools\nhandler = functools.partial(lambda x, e, c: x, 4)\n")),
    Case("class", app("class handler(dict):\n    def __init__(s, e, c):\n        s['x'] = 1\n")),
    Case("default arguments", app("def handler(event, context, more=5):\n    return more\n")),
    Case("*args", app("def handler(*args):\n    return len(args)\n")),
    Case("async handler", app("async def handler(e, c):\n    return 1\n")),
    Case("generator handler", app("def handler(e, c):\n    yield 1\n")),
    Case("async generator handler", app("async def handler(e, c):\n    yield 1\n")),
    Case(
        "state between invocations",
        app("n = 0\ndef handler(e, c):\n    global n\n    n += 1\n    return n\n"),
        invocations=[Invocation(), Invocation(), Invocation()],
        names=["first", "second", "third"],
    ),
    Case(
        "too few arguments",
        app("def handler(event):\n    return 1\n"),
        differs="AWS shows the frame that calls the handler, with a line number of its client; we have no such file",
        parts=("stackTrace", "log"),
    ),
]

EVENTS = many(
    "event",
    "def handler(event, context):\n    return repr(event)\n",
    {
        "object": b'{"a": 1}',
        "array": b"[1, 2, [3]]",
        "string": b'"x"',
        "number": b"5",
        "null": b"null",
        "true and false": b"[true, false]",
        "whitespace around": b" \t\r\n{} \n",
        "byte order mark": b"\xef\xbb\xbf{}",
        "two byte order marks": b"\xef\xbb\xbf\xef\xbb\xbf{}",
        "NaN": b'{"a":NaN}',
        "Infinity": b"[Infinity]",
        "-Infinity": b"[-Infinity]",
        "1e400": b"1e400",
        "-0": b"[-0, -0.0, 0.0]",
        "numbers": b"[1e5, 1E-7, 1.5e+10, 123456789012345678901234567890, -9223372036854775809]",
        "floats": b"[0.1, 5e-324, 1.7976931348623157e308, 9007199254740993.0]",
        "too many digits": b"1" * 5000,
        "duplicate keys": b'{"a": 1, "b": 2, "a": 3}',
        "lone surrogates": b'["\\ud800", "\\udc00x", "\\ud800\\ud800\\udc00"]',
        "surrogate pair": b'"\\ud83d\\ude00"',
        "escapes": b'"\\"\\\\\\/\\b\\f\\n\\r\\t\\u0041"',
        "raw non-ASCII": '{"ключ": "日本😀"}'.encode(),
        "long key": b'{"' + b"k" * 100 + b'": 1}',
        "empty key": b'{"": {"": []}}',
        "trailing data": b"{} {}",
        "trailing comma in array": b"[1, ]",
        "trailing comma in object": b'{"a": 1, }',
        "single quotes": b"{'a': 1}",
        "unquoted key": b"{a: 1}",
        "missing colon": b'{"a" 1}',
        "missing comma in array": b"[1 2]",
        "missing comma in object": b'{"a": 1 "b": 2}',
        "missing value": b'{"a": }',
        "unterminated string": b'"abc',
        "unterminated array": b"[1",
        "unterminated empty array": b"[",
        "unterminated object": b'{"a": 1',
        "unterminated empty object": b"{",
        "control character": b'"a\nb"',
        "bad escape": b'"\\x41"',
        "bad unicode escape": b'"\\u12G4"',
        "short unicode escape": b'"\\u12',
        "leading zero": b"012",
        "bare point": b"1.",
        "bare minus": b"-",
        "bare exponent": b"1e",
        "plus sign": b"+1",
        "comment": b"// x\n1",
        "second line": b'{\n  "a": x\n}',
        "not JSON": b"hello",
        "HTML": b"<html></html>",
        "invalid UTF-8": b'"\xff"',
        "encoded surrogate": b'"\xed\xa0\x80"',
        "UTF-16": '{"a": 1}'.encode("utf-16"),
        "nested too deeply": b"[" * 100000,
        "only whitespace": b"  ",
    },
)

RESULT_SOURCE = """
import collections, dataclasses, datetime, decimal, enum, fractions, types, uuid
from decimal import Decimal
from collections import *
P = namedtuple("P", "x y")
class IE(enum.IntEnum): A = 1
class SE(str, enum.Enum): A = "x"
class IF(enum.IntFlag): A = 1; B = 2
class PE(enum.Enum): A = 1
class MyInt(int):
    def __str__(self): return "never"
class MyFloat(float):
    def __repr__(self): return "never"
class MyStr(str):
    def __str__(self): return "never"
class MyDict(dict):
    def items(self): return [("z", 1)]
class BadItems(dict):
    def items(self): return [1]
class AsDict:
    def _asdict(self): return {"q": 1}
class AsNothing:
    def _asdict(self): return None
class AsTypeError:
    def _asdict(self): raise TypeError("x")
class AsKeyError:
    def _asdict(self): raise KeyError("x")
@dataclasses.dataclass(frozen=True)
class DC: a: int = 1
def circular_list():
    x = []; x.append(x); return x
def circular_dict():
    x = {}; x["a"] = [x]; return x
def shared():
    x = [1]; return [x, x, {"a": x}]
def nested(n):
    x = 1
    for _ in range(n): x = [x]
    return x
def handler(event, context):
    return eval(event)
"""

RESULT_EXPRESSIONS = """
None
True
[True, False, None]
0
-1
2 ** 63
-2 ** 63 - 1
10 ** 30
10 ** 5000
0.1 + 0.2
[1e22, 1e16, 1e15, 123456789012345680.0, 1e-4, 1e-5, -0.0, 5e-324]
[274860520084632.125, 2.5, 100.0, 1e100]
float('nan')
[float('inf'), -float('inf'), float('nan')]
""
"text"
'\\u00e9\\u2028\\u2029/\\x7f\\U0001f600'
'\\x00\\x1f"\\\\\\b\\f\\n\\r\\t'
{'\\u00e9': '\\u65e5'}
[]
{}
()
(1, 2)
[[], {}, [[]]]
{"b": 1, "a": 2}
P(1, P(2, 3))
[P]
AsDict()
[AsNothing()]
AsTypeError()
AsKeyError()
Decimal('1.10')
Decimal('1E+3')
[Decimal('sNaN'), Decimal('NaN'), Decimal('Infinity'), Decimal('-0')]
fractions.Fraction(1, 3)
b"abc"
b"\\xff\\x00"
{"a": b"abc"}
{"a": b"\\xff"}
{"a": bytearray(b"x")}
{1: 1, 1.5: 2, True: 3, None: 4, b"k": 5, 2 ** 70: 6}
{False: 1, float('nan'): 2, float('inf'): 3}
{(1, 2): 3}
{frozenset(): 1}
{datetime.date(2020, 1, 1): 1}
{uuid.UUID(int=1): 1}
{Decimal(1): 1}
{DC(): 1}
{PE.A: 1}
{b"\\xff": 1}
{IE.A: 1, SE.A: 2, MyInt(7): 3, MyStr("s"): 4, MyFloat(1.5): 5}
IE.A
SE.A
IF.A | IF.B
PE.A
[MyInt(3), MyFloat(2.5), MyStr("m")]
MyDict(a=1)
MyDict()
BadItems(a=1)
OrderedDict(b=1, a=2)
defaultdict(list, a=[1])
Counter("aab")
ChainMap({"a": 1})
datetime.datetime(2020, 1, 1)
datetime.date(2020, 1, 1)
datetime.timedelta(1)
{1}
frozenset()
uuid.UUID(int=1)
bytearray(b"x")
memoryview(b"x")
(i for i in ())
range(3)
deque()
DC()
ValueError("x")
{}.keys()
{}.values()
1j
object()
len
int
Ellipsis
lambda: 1
map(str, [])
types.SimpleNamespace(a=1)
types.MappingProxyType({})
circular_list()
circular_dict()
shared()
nested(900)
nested(100000)
{"a": [1, {"b": set()}]}
{"errorMessage": "x", "errorType": "y"}
""".strip().splitlines()

RESULTS = [
    many(f"result, {runtime}", RESULT_SOURCE, {text: text for text in RESULT_EXPRESSIONS}, runtime=runtime)
    for runtime in ("python3.11", "python3.12")
]

SURROGATE = "def handler(event, context):\n    return {'a': ['\\ud800']}\n"
PROCESS_ENDS = [
    Case("lone surrogate, escaped", app(SURROGATE), runtime="python3.11"),
    Case("lone surrogate, raw", app(SURROGATE)),
    Case("lone surrogate as the whole result", app("handler = lambda e, c: '\\udfff'\n")),
    Case("sys.exit", app("import sys\ndef handler(e, c):\n    sys.exit(3)\n")),
    Case("sys.exit with a text", app("import sys\ndef handler(e, c):\n    sys.exit('x')\n")),
    Case("os._exit", app("import os\ndef handler(e, c):\n    print('bye')\n    os._exit(4)\n")),
    Case("GeneratorExit", app("def handler(e, c):\n    raise GeneratorExit\n")),
    Case(
        "BaseException of one's own", app("class B(BaseException): pass\ndef handler(e, c):\n    raise B\n")
    ),
    Case(
        "SystemExit in _asdict",
        app("class A:\n    def _asdict(s):\n        raise SystemExit(5)\nhandler = lambda e, c: A()\n"),
    ),
    Case(
        "error in __str__ of the error",
        app(
            "class E(Exception):\n    def __str__(s):\n        return 1 / 0\ndef handler(e, c):\n    raise E\n"
        ),
    ),
    Case(
        "__str__ of the error gives no text",
        app(
            "class E(Exception):\n    def __str__(s):\n        return None\ndef handler(e, c):\n    raise E\n"
        ),
    ),
    Case("killed", app("import os, signal\ndef handler(e, c):\n    os.kill(os.getpid(), signal.SIGKILL)\n")),
]

ERROR_SOURCE = """
import json
class Custom(Exception):
    def __init__(self, code): self.code = code
    def __str__(self): return f"code {self.code}"
class Outer:
    class Inner(Exception): pass
def deep(n):
    if n == 0: raise RuntimeError("bottom")
    deep(n - 1)
def endless(): endless()
def chained():
    try: 1 / 0
    except ZeroDivisionError as e: raise KeyError("later") from e
def in_context():
    try: 1 / 0
    except ZeroDivisionError: raise LookupError("while handling")
def throw(error): raise error
def handler(event, context):
    return eval(event)
"""
ERRORS = [
    many(
        f"error, {runtime}",
        ERROR_SOURCE,
        {
            text: text
            for text in """
throw(ValueError("boom"))
throw(ValueError)
throw(ValueError("two", "arguments"))
throw(ValueError(""))
throw(KeyError("k"))
throw(OSError(2, "No such file", "x"))
throw(Custom(7))
throw(Outer.Inner("inner"))
throw(Exception("line one\\nline two"))
throw(Exception("na\\u00efve \\u65e5\\u672c \\U0001f600"))
throw(Exception("quote \\" and \\\\ and \\t"))
throw(StopIteration(1))
throw(AssertionError())
throw(ImportError("late"))
throw(SyntaxError("by hand"))
throw(RecursionError("by hand"))
throw(UnicodeDecodeError("utf-8", b"x", 0, 1, "why"))
throw(NotImplementedError())
throw(TimeoutError("slow"))
throw(MemoryError())
throw(ConnectionError("no"))
deep(0)
deep(2)
deep(10)
endless()
chained()
in_context()
1 / 0
{}["a"]
[][3]
None.attribute
undefined
"a" + 1
int("x")
json.loads("{")
__import__("nosuch_three")
exec("x = = 1")
exec("raise ValueError('in exec')")
[x for x in iter(1, 2)][0].y if False else next(iter(()))
throw("not an exception")
open("/nosuch/file")
throw(ExceptionGroup("group", [ValueError(1)])) if "ExceptionGroup" in dir(__builtins__) else 1
""".strip().splitlines()
        },
        runtime=runtime,
    )
    for runtime in ("python3.11", "python3.12")
]
LATE_ERRORS = [
    Case("late import of a broken file", app("def handler(e, c):\n    import helper\n", helper="x = = 1\n")),
    Case("late import that fails", app("def handler(e, c):\n    import helper\n", helper="import nosuch\n")),
    Case("late import that raises", app("def handler(e, c):\n    import helper\n", helper="\n\n1 / 0\n")),
    Case(
        "error in a dependency",
        app("import helper\nhandler = helper.run\n", helper="def run(e, c):\n    raise ValueError(e)\n"),
    ),
    Case(
        "lines gone from the source",
        app("exec(compile('def handler(e, c):\\n    raise ValueError', 'gone.py', 'exec'))\n"),
    ),
    Case(
        "error after a good answer",
        app("def handler(e, c):\n    return 1 / e\n"),
        invocations=[Invocation(1), Invocation(0), Invocation(2)],
        names=["good", "bad", "good again"],
    ),
]

CONTEXT_SOURCE = """
import os
def handler(event, context):
    return str(eval(event))
"""
CONTEXT_EXPRESSIONS = """
context
vars(context)
context.aws_request_id
context.function_name
context.function_version
context.invoked_function_arn
repr(context.memory_limit_in_mb)
context.log_group_name
context.log_stream_name
context.identity
context.identity.cognito_identity_id
context.client_context
context.tenant_id
context._epoch_deadline_time_in_ms
type(context.get_remaining_time_in_millis())
context.get_remaining_time_in_millis() > 10 ** 9
context.w3c()
context.nosuch
context.identity.nosuch
vars(context.identity)
setattr(context, 'mine', 1)
context.log('logged')
context.log(5)
context.log('two\\nlines\\n')
type(context).__name__
sorted(name for name in dir(context) if not name.startswith('_'))
dict(os.environ, AWS_LAMBDA_RUNTIME_API='masked')
os.getcwd() == os.environ['LAMBDA_TASK_ROOT']
os.environ.get('_X_AMZN_TRACE_ID')
__import__('time').tzname
__import__('sys').path[0]
__import__('logging').getLogger().level
len(__import__('logging').getLogger().handlers)
__import__('sys').stdout.encoding
__import__('tempfile').gettempdir()
""".strip().splitlines()
CLIENT = '{"custom": {"a": "b"}, "env": {"c": "d"}, "client": {"installation_id": "i", "app_title": "t", "more": 1}, "other": 1}'
W3C = '{"custom": {}, "w3c": {"traceparent": "00-1", "baggage": 5, "other": "x"}}'
CONTEXTS = [
    many("context", CONTEXT_SOURCE, {text: text for text in CONTEXT_EXPRESSIONS}),
    many(
        "context, given",
        CONTEXT_SOURCE,
        {
            "client context": Invocation("context", client_context=CLIENT),
            "client": Invocation("context.client_context.client", client_context=CLIENT),
            "client, field not given": Invocation(
                "context.client_context.client.app_version_code", client_context=CLIENT
            ),
            "custom": Invocation("context.client_context.custom", client_context=CLIENT),
            "unknown field": Invocation("context.client_context.other", client_context=CLIENT),
            "empty client context": Invocation("context", client_context="{}"),
            "null client context": Invocation("context", client_context="null"),
            "client context without client": Invocation("context", client_context='{"custom": 1}'),
            "null client": Invocation("context", client_context='{"client": null}'),
            "broken client context": Invocation("context", client_context='{"custom": x'),
            "client context and event broken": Invocation(b"{", client_context="{"),
            "trace fields": Invocation("(context.w3c(), context.client_context)", client_context=W3C),
            "trace fields that are none": Invocation("context.w3c()", client_context='{"w3c": "x"}'),
            "identity": Invocation(
                "context.identity",
                cognito_identity='{"cognitoIdentityId": "i", "cognitoIdentityPoolId": "p"}',
            ),
            "identity, half": Invocation("context.identity", cognito_identity='{"cognitoIdentityId": "i"}'),
            "broken identity": Invocation("context.identity", cognito_identity="x"),
            "tenant": Invocation("context.tenant_id", tenant_id="blue"),
            "deadline has passed": Invocation("context.get_remaining_time_in_millis()", deadline_ms=1000),
            "no trace id": Invocation("os.environ.get('_X_AMZN_TRACE_ID')", trace_id=None),
            "trace id again": Invocation("os.environ.get('_X_AMZN_TRACE_ID')"),
        },
    ),
    many(
        "context, not objects",
        CONTEXT_SOURCE,
        {
            "client context is a list": Invocation("context", client_context="[1]"),
            "client is a list": Invocation("context", client_context='{"client": [1]}'),
            "identity is a text": Invocation("context", cognito_identity='"x"'),
        },
        differs="AWS shows the frames of its own lambda_context.py; ours are not shown",
        parts=("stackTrace", "log"),
    ),
]

LOG_SOURCE = """
import logging, sys, os, json, decimal
logger = logging.getLogger()
named = logging.getLogger("my.name")
logging.warning("at import")
def fails():
    try: 1 / 0
    except ZeroDivisionError: named.exception("caught")
def basic_config():
    logging.basicConfig(level=logging.DEBUG, format="changed")
    logging.info("after basicConfig")
def redirected():
    import contextlib, io
    with contextlib.redirect_stdout(io.StringIO()) as caught:
        print("caught"); logger.error("not caught")
    return caught.getvalue()
def at(level):
    before = logger.level; logger.setLevel(level)
    for n in (5, 10, 20, 25, 30, 40, 45, 50, 60): logging.log(n, "level %d", n)
    logger.setLevel(before)
def handler(event, context):
    return eval(event)
"""
LOG_EXPRESSIONS = """
logging.debug("d")
logging.info("i")
logging.warning("w")
logging.error("e %s %d", "x", 5)
logging.critical("c")
named.warning("named")
named.warning("extra", extra={"order": 7, "nested": {"a": [1]}})
named.warning("extra", extra={"amount": decimal.Decimal("1.5"), "what": object})
logger.warning({"a": 1, "b": "\\u00e9"})
logger.warning(["list"])
logger.warning("line one\\nline two")
logger.warning("na\\u00efve \\u65e5\\u672c \\"quoted\\"")
logger.warning("no arguments %s")
logger.warning(None)
logger.warning("", stack_info=False)
fails()
logger.error("given", exc_info=ValueError("v"))
basic_config()
redirected()
at(1)
at(logging.INFO)
print("printed")
print("printed", "parts", sep="-", end="!\\n")
print({"a": 1}, "\\u00e9")
print("to stderr", file=sys.stderr)
sys.stdout.write("written\\n") and None
sys.stdout.writelines(["one\\n", "two\\n"])
(print("before"), logging.error("between"), print("after"))
os.write(1, b"to the descriptor\\n")
os.system("echo from a child")
1 / 0
context.log("through the context\\n")
set()
""".strip().splitlines()
LOGS = [
    many(f"log, {name}", LOG_SOURCE, {text: text for text in LOG_EXPRESSIONS}, variables=variables)
    for name, variables in {
        "text": {},
        "text, level INFO": {"AWS_LAMBDA_LOG_LEVEL": "INFO"},
        "JSON": {"AWS_LAMBDA_LOG_FORMAT": "JSON"},
        "JSON, level TRACE": {"AWS_LAMBDA_LOG_FORMAT": "json", "AWS_LAMBDA_LOG_LEVEL": "TRACE"},
    }.items()
]
LOGS += [
    Case(
        f"log level {level}",
        app(LOG_SOURCE),
        invocations=[Invocation("at(logger.level)")],
        variables={"AWS_LAMBDA_LOG_LEVEL": level, "AWS_LAMBDA_LOG_FORMAT": log_format},
    )
    for level in (
        "TRACE",
        "DEBUG",
        "INFO",
        "WARN",
        "WARNING",
        "ERROR",
        "FATAL",
        "CRITICAL",
        "info",
        "nonsense",
    )
    for log_format in ("Text", "JSON")
]
LOGS += [
    Case(
        f"error inside logging, {log_format}: {event}",
        app(LOG_SOURCE),
        invocations=[Invocation(event)],
        variables={"AWS_LAMBDA_LOG_FORMAT": log_format},
        differs="the frame of the log handler names our file",
        parts=("stackTrace", "log"),
    )
    for log_format, event in (
        ("Text", 'logger.warning("bad %d", "x")'),
        ("JSON", 'logger.warning("bad %d", "x")'),
        ("JSON", 'logger.error("no error to show", exc_info=True)'),
    )
]
LOGS += [
    Case("failing import, logged as JSON", app("x = 1 / 0\n"), variables={"AWS_LAMBDA_LOG_FORMAT": "JSON"}),
    Case("failing import, level ERROR", app("x = 1 / 0\n"), variables={"AWS_LAMBDA_LOG_LEVEL": "ERROR"}),
    Case(
        "tenant in the log",
        app(LOG_SOURCE),
        invocations=[Invocation("logger.error('x')", tenant_id="blue"), Invocation("logger.error('y')")],
        names=["with", "without"],
        variables={"AWS_LAMBDA_LOG_FORMAT": "JSON"},
    ),
    Case("colon in an error of no words", app("class E(Exception): pass\ndef handler(e, c):\n    raise E\n")),
]

MODULES = [
    Case(
        "environment variables at import",
        app(
            "import os\nx = dict(os.environ)\nhandler = lambda e, c: {k: x[k] for k in ('TZ', '_HANDLER', 'MINE')}\n"
        ),
        variables={"MINE": "é"},
    ),
    Case(
        "local time zone",
        app("import time\nhandler = lambda e, c: time.strftime('%H %Z', time.localtime(0))\n"),
        variables={"TZ": "America/New_York"},
    ),
    Case("__name__ and __file__", app("handler = lambda e, c: [__name__, __file__, __package__]\n")),
    Case(
        "data file beside the code",
        {"app.py": "handler = lambda e, c: open('data.txt').read()\n", "data.txt": "data"},
    ),
    Case("namespace package", {"app.py": "from ns.mod import handler\n", "ns/mod.py": FINE}),
]

CASES = [
    *LOADING,
    *CALLABLES,
    EVENTS,
    *RESULTS,
    *PROCESS_ENDS,
    *ERRORS,
    *LATE_ERRORS,
    *CONTEXTS,
    *LOGS,
    *MODULES,
]
