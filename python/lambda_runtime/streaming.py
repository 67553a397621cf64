"""Responses that leave while the handler still runs.

Lambda has nothing of the kind for Python, so the form is handlerd's own: a handler returns an
iterator of pieces (it is a generator, as a rule), or writes to `context.stream_response(...)`. Both
exist only where the caller asked for a stream; anything else is served as ever.
"""

import os
import threading
from collections.abc import Iterator

import _handlerd

METADATA = ("statusCode", "headers", "multiValueHeaders", "cookies")


class ResponseStream:
    """A file, as far as one can be written to: text leaves as UTF-8.

    Status and headers leave with the first piece, so that an error before it is an ordinary one. An
    empty piece sends them ahead.
    """

    def __init__(self, outlet, metadata: dict | None):
        self._outlet = outlet
        self._metadata = _json(metadata)
        self._begun = False
        self._lock = threading.Lock()
        self.closed = False

    def write(self, piece: str | bytes) -> int:
        data = _bytes(piece)
        with self._lock:
            self._send(data)
        return len(piece)

    def flush(self) -> None:
        """Pieces leave at once; there is only the head that may still be here."""
        with self._lock:
            self._send(b"")

    def close(self) -> None:
        """No more pieces. The response ends when the handler does."""
        with self._lock:
            self.closed = True

    def writable(self) -> bool:
        return not self.closed

    def __enter__(self):
        return self

    def __exit__(self, error_type, error, frames) -> None:
        self.close()

    def _send(self, data: bytes) -> None:
        if self.closed:
            raise ValueError("the response stream is closed")
        self._begin()
        if data:
            self._outlet.send(data)

    def _begin(self) -> None:
        if not self._begun:
            self._outlet.begin(self._metadata)
            self._begun = True

    def _finish(self) -> None:
        """What was never written to is an empty response."""
        with self._lock:
            self._begin()
            self.closed = True


class Response:
    """What becomes of one invocation whose caller takes a stream."""

    def __init__(self, outlet):
        self._outlet = outlet
        self._stream: ResponseStream | None = None
        self._process = os.getpid()

    def open(self, metadata: dict | None = None) -> ResponseStream:
        if self._stream is not None:
            raise RuntimeError("this response is being streamed already")
        self._stream = ResponseStream(self._outlet, metadata)
        return self._stream

    def send(self, result) -> bool:
        """Sees the stream to its end; `False` if the handler has made none."""
        if self._stream is None:
            if not isinstance(result, Iterator):
                return False
            self._send_all(result)
        try:
            self._stream._finish()
        except BrokenPipeError:  # nobody is left who could miss anything
            self.close()
        return True

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()

    def _send_all(self, pieces: Iterator) -> None:
        stream = None
        try:
            for piece in pieces:
                if os.getpid() != self._process:
                    os._exit(0)  # forked between two pieces, and both sides go on
                if stream is None:
                    stream = self.open(piece if isinstance(piece, dict) else None)
                    if isinstance(piece, dict):
                        continue
                try:
                    stream.write(piece)
                except BrokenPipeError:
                    break  # nobody listens any more; a generator hears of it as GeneratorExit
        finally:
            if callable(close := getattr(pieces, "close", None)):
                close()
        if self._stream is None:
            self.open()


def _bytes(piece) -> bytes:
    if isinstance(piece, str):
        return piece.encode()
    if isinstance(piece, bytes):
        return piece
    if isinstance(piece, (bytearray, memoryview)):
        return bytes(piece)
    more = "; only the first may be a dict" if isinstance(piece, dict) else ""
    raise TypeError(f"a piece of a streamed response is str or bytes, not {type(piece).__name__}{more}")


def _json(metadata: dict | None) -> bytes:
    if metadata is None:
        return b""
    for name in metadata:
        if name not in METADATA:
            raise ValueError(
                f"a streamed response begins with {', '.join(METADATA)}, not with {name!r}; "
                "its body follows in pieces"
            )
    return _handlerd.dumps(metadata, True)
