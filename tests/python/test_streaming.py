"""Streamed responses, without the pipe that they leave by."""

import io
import json
import threading

import pytest
from lambda_runtime.streaming import Response


class Outlet:
    """Keeps what would have left. `patience`: so many pieces are taken before the caller goes away."""

    def __init__(self, patience: int = 1000):
        self.metadata = None
        self.pieces = []
        self.patience = patience

    def begin(self, metadata: bytes) -> None:
        assert self.metadata is None, "begun twice"
        assert type(metadata) is bytes
        self._take()
        self.metadata = metadata

    def send(self, piece: bytes) -> None:
        assert self.metadata is not None, "a piece before the head"
        assert type(piece) is bytes and piece
        self._take()
        self.pieces.append(piece)

    def _take(self) -> None:
        if self.patience == 0:
            raise BrokenPipeError
        self.patience -= 1


@pytest.fixture
def outlet():
    return Outlet()


def sent(outlet, result) -> bytes:
    assert Response(outlet).send(result)
    return b"".join(outlet.pieces)


@pytest.mark.parametrize(
    "result",
    [
        (piece for piece in ("a", b"b", bytearray(b"c"), memoryview(b"d"))),
        iter(["ab", "cd"]),
        map(str, ["abc", "d"]),
        io.BytesIO(b"abcd"),
        io.StringIO("abcd"),
        (piece for piece in ("", "abcd", b"")),
    ],
    ids=["generator", "list iterator", "map", "bytes file", "text file", "empty pieces"],
)
def test_what_streams(outlet, result):
    assert sent(outlet, result) == b"abcd"
    assert outlet.metadata == b""


@pytest.mark.parametrize(
    "result", [None, 1, "text", b"bytes", [], ["a"], {"a": 1}, (), range(3), {1, 2}, object()]
)
def test_what_does_not(outlet, result):
    assert not Response(outlet).send(result)
    assert outlet.metadata is None


def test_text_is_utf8(outlet):
    assert sent(outlet, iter(["안녕"])) == "안녕".encode()


def test_a_dict_in_front_is_the_head(outlet):
    head = {"statusCode": 201, "headers": {"A": "b"}, "multiValueHeaders": {"C": ["d"]}, "cookies": ["e=f"]}
    assert sent(outlet, iter([head, "body"])) == b"body"
    assert json.loads(outlet.metadata) == head


def test_the_head_waits_for_the_first_piece(outlet):
    seen = []

    def handler():
        yield {"statusCode": 201}
        seen.append(outlet.metadata)
        yield ""
        seen.append(outlet.metadata)

    assert sent(outlet, handler()) == b""
    assert seen == [None, b'{"statusCode": 201}']


def test_nothing_at_all_is_an_empty_response(outlet):
    assert sent(outlet, iter([])) == b""
    assert outlet.metadata == b""


@pytest.mark.parametrize(
    ("pieces", "error", "message"),
    [
        ([1], TypeError, "is str or bytes, not int$"),
        ([None], TypeError, "is str or bytes, not NoneType$"),
        (["a", {}], TypeError, "not dict; only the first may be a dict$"),
        ([{"body": "a"}], ValueError, "not with 'body'; its body follows in pieces$"),
        ([{"statusCode": object()}], TypeError, "not JSON serializable$"),
        (["\ud800"], UnicodeEncodeError, ""),
    ],
)
def test_pieces_that_are_none(outlet, pieces, error, message):
    closed = []

    def handler():
        try:
            yield from pieces
        finally:
            closed.append(True)

    with pytest.raises(error, match=message):
        Response(outlet).send(handler())
    assert closed, "the generator is not left hanging"


def test_an_error_of_the_handler_comes_through(outlet):
    def handler():
        yield "a"
        raise BrokenPipeError("the handler's own")

    with pytest.raises(BrokenPipeError, match="the handler's own"):
        Response(outlet).send(handler())
    assert outlet.pieces == [b"a"]


def test_a_generator_is_closed_when_nobody_listens():
    outlet, closed = Outlet(patience=3), []

    def handler():
        try:
            while True:
                yield "a"
        except GeneratorExit:
            closed.append(True)
            raise

    assert sent(outlet, handler()) == b"aa"
    assert closed


def test_nobody_listens_from_the_start():
    assert sent(Outlet(patience=0), iter(["a"])) == b""
    response = Response(Outlet(patience=0))
    response.open()
    assert response.send(None)


def test_a_writer_is_told_when_nobody_listens():
    stream = Response(Outlet(patience=2)).open()
    stream.write("a")
    with pytest.raises(BrokenPipeError):
        stream.write("b")


def test_the_writer_is_a_file(outlet):
    response = Response(outlet)
    with response.open({"statusCode": 200}) as stream:
        assert stream.writable() and outlet.metadata is None
        assert stream.write("안") == 1
        print("b", file=stream)
        json.dump([1], stream)
        stream.flush()
    assert stream.closed and not stream.writable()
    assert response.send("the result does not count")
    assert b"".join(outlet.pieces) == "안b\n[1]".encode()


def test_a_closed_writer_takes_nothing(outlet):
    response = Response(outlet)
    stream = response.open()
    stream.close()
    stream.close()
    for use in (lambda: stream.write("a"), stream.flush):
        with pytest.raises(ValueError, match="closed"):
            use()
    assert response.send(None)
    assert (outlet.metadata, outlet.pieces) == (b"", [])


def test_one_response_is_one_stream(outlet):
    response = Response(outlet)
    response.open()
    with pytest.raises(RuntimeError, match="already"):
        response.open()

    response = Response(Outlet())

    def handler():
        with response.open() as stream:
            stream.write("a")
        yield "b"

    with pytest.raises(RuntimeError, match="already"):
        response.send(handler())


def test_threads_take_turns():
    class Slow(Outlet):
        busy = False

        def send(self, piece):
            assert not self.busy
            self.busy = True
            super().send(piece)
            self.busy = False

    outlet = Slow()
    stream = Response(outlet).open()
    threads = [threading.Thread(target=lambda: [stream.write("a") for _ in range(50)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outlet.pieces == [b"a"] * 400
