"""Payload bytes <-> Python values, beyond what test_differential.py compares."""

import decimal
import json
import math
import random
import struct
import tracemalloc

import _handlerd
import pytest
import simplejson
from lambda_runtime import slow_json

EVENT = {
    "version": "2.0",
    "headers": {"host": "localhost", "x-unicode": "é日本😀"},
    "requestContext": {"http": {"method": "GET"}, "timeEpoch": 1583348638390},
    "isBase64Encoded": False,
    "list": [1, 2.5, -1e-7, None, True, "", {}, []],
}


def test_there_and_back():
    for ensure_ascii in (True, False):
        assert _handlerd.loads(_handlerd.dumps(EVENT, ensure_ascii)) == EVENT
        text = json.dumps(EVENT, ensure_ascii=ensure_ascii)
        assert _handlerd.dumps(EVENT, ensure_ascii).decode() == text


@pytest.mark.parametrize("length", range(20))
@pytest.mark.parametrize("special", ['"', "\\", "\n", "\x1f", "\x7f", "é", "😀", " ", "~"])
def test_every_place_of_a_special_character(length, special):
    """The scanner looks at eight bytes at a time."""
    for at in range(length + 1):
        text = "x" * at + special + "!" * (length - at)
        for ensure_ascii in (True, False):
            out = _handlerd.dumps({text: text}, ensure_ascii)
            expected = simplejson.dumps({text: text}, ensure_ascii=ensure_ascii)
            assert out.decode() == expected
            assert _handlerd.loads(out) == {text: text}


def test_floats_are_written_as_repr_does():
    chance = random.Random(7)
    for _ in range(20000):
        number = struct.unpack("d", chance.randbytes(8))[0]
        near = chance.uniform(-1, 1) * 10 ** chance.randint(-20, 25)
        for value in (number, near, round(near)):
            if isinstance(value, int) or math.isfinite(value):
                assert _handlerd.dumps(value, True).decode() == repr(value)
                assert _handlerd.loads(repr(value).encode()) == value


def test_damaged_payloads_are_reported_as_by_simplejson():
    chance = random.Random(3)
    letters = '{}[]",:\\u0123dDef8.eE+-tnrl \n\x01é😀aN'
    seeds = [json.dumps(EVENT), '{"a": ["\\ud83d\\ude00\\n", 1.5e+7, -0]}', '[[], {}, "\\ud800"]', "\ufeff{}"]
    for _ in range(5000):
        text = list(chance.choice(seeds))
        for _ in range(chance.randint(1, 3)):
            at = chance.randrange(len(text))
            text[at : at + chance.randint(0, 1)] = chance.choice(letters)
        payload = "".join(text).encode()[: chance.choice([None, chance.randrange(200)])]
        expected = outcome(simplejson.loads, payload)
        assert outcome(_handlerd.loads, payload) == expected, payload
        assert outcome(slow_json.loads, payload) == expected, payload


def outcome(parse, payload):
    try:
        return repr(parse(payload))
    except Exception as error:
        return str(error)


def test_keys_are_shared_between_payloads():
    (first,), (second,) = _handlerd.loads(b'{"someKeyName": 1}'), _handlerd.loads(b'{"someKeyName": 2}')
    assert first is second


def test_many_different_keys_do_not_pile_up():
    def read(numbers):
        for number in numbers:
            _handlerd.loads(b'{"key-%d": 1}' % number)

    read(range(5000))
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    read(range(5000, 50000))
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert after - before < 200_000


@pytest.mark.parametrize("depth", [20_000, 1_000_000])
def test_too_deep_is_an_error_and_no_crash(depth):
    value = []
    for _ in range(depth):
        value = [value]
    with pytest.raises(RecursionError, match="while encoding a JSON object"):
        _handlerd.dumps(value, True)
    for opening, word in ((b"[", "array"), (b'{"a":', "object")):
        with pytest.raises(RecursionError, match=f"while decoding a JSON {word} from a unicode string"):
            _handlerd.loads(opening * depth)


def test_a_value_may_change_while_it_is_written():
    class Shrinks:
        def _asdict(self):
            items.clear()
            mapping.clear()
            return {}

    items, mapping = [], {}
    items += [Shrinks(), 1, 2]
    assert _handlerd.dumps(items, True) == b"[{}]"
    mapping.update(a=Shrinks(), b=1)
    assert _handlerd.dumps(mapping, True).startswith(b'{"a": {}')


def test_nothing_is_leaked_in_errors():
    shared = object()
    import sys

    before = sys.getrefcount(shared)
    for _ in range(100):
        with pytest.raises(TypeError):
            _handlerd.dumps({"a": [1, {"b": shared}]}, True)
    assert sys.getrefcount(shared) == before


def test_lone_surrogates():
    assert _handlerd.dumps("\ud800", True) == b'"\\ud800"'
    with pytest.raises(UnicodeEncodeError) as caught:
        _handlerd.dumps({"a": "x\ud800"}, False)
    assert caught.value.ends_process
    assert caught.value.start == 8


def test_decimals_do_not_pass_through_float():
    assert (
        _handlerd.dumps([decimal.Decimal("0.10000000000000000000001")], True)
        == b"[0.10000000000000000000001]"
    )
