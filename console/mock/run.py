"""Runs one handler once, for the mock server: folder and handler as arguments, the event on stdin."""
import importlib, json, logging, sys, time, traceback

folder, handler, request_id = sys.argv[1:4]
sys.path.insert(0, folder)
out, sys.stdout = sys.stdout, sys.stderr


class Lines(logging.Formatter):
    def format(self, record):
        return f"[{record.levelname}]\t{record.getMessage()}" + (f"\n{self.formatException(record.exc_info)}" if record.exc_info else "")


stream = logging.StreamHandler(sys.stderr)
stream.setFormatter(Lines())
logging.getLogger().addHandler(stream)
began = time.perf_counter()
init = 0


class Context:
    aws_request_id = request_id


try:
    module, name = handler.rsplit(".", 1)
    function = getattr(importlib.import_module(module), name)
    init = (time.perf_counter() - began) * 1000
    began = time.perf_counter()
    result, ok = function(json.load(sys.stdin), Context()), True
except BaseException as error:
    frames = [line for line in traceback.format_tb(error.__traceback__) if folder in line]
    result, ok = {"errorMessage": str(error), "errorType": type(error).__name__, "requestId": request_id, "stackTrace": frames}, False
    sys.stderr.write(f"[ERROR] {type(error).__name__}: {error}\nTraceback (most recent call last):\n" + "".join(frames))
json.dump({"ok": ok, "result": result, "ms": (time.perf_counter() - began) * 1000, "init": init}, out)
