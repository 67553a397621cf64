"""Says what is wrong with a payload, in the words that Lambda's own JSON parser (simplejson) uses.

The Rust parser answers for regular JSON and calls this one for the rest. It keeps its own stack
instead of calling itself, so that it can follow any nesting the other one has allowed.
"""

import re

WHITESPACE = re.compile(r"[ \t\n\r]*")
NUMBER = re.compile(r"(-?(?:0|[1-9][0-9]*))(\.[0-9]+)?([eE][-+]?[0-9]+)?")
PLAIN = re.compile(r'[^"\\\x00-\x1f]*')
HEX4 = re.compile(r"[0-9a-fA-F]{4}")

ESCAPES = {
    '"': '"',
    "\\": "\\",
    "/": "/",
    "b": "\b",
    "f": "\f",
    "n": "\n",
    "r": "\r",
    "t": "\t",
}
LITERALS = (("null", None), ("true", True), ("false", False))


class JSONDecodeError(ValueError):
    """Where a text stops being JSON, and why."""

    def __init__(self, reason: str, text: str, at: int, end: int | None = None):
        place = _line_and_column(text, at)
        chars = f"char {at}"
        if end is not None:
            place += f" - {_line_and_column(text, end)}"
            chars += f" - {end}"
        super().__init__(f"{reason}: {place} ({chars})")


def loads(payload: bytes):
    text = str(payload, "utf-8")
    start = 0
    if text.startswith("\ufeff"):
        start = 1
    elif text.startswith("\xef\xbb\xbf"):  # a byte order mark that was encoded twice
        start = 3
    value, end = _value(text, _skip(text, start))
    end = _skip(text, end)
    if end != len(text):
        raise JSONDecodeError("Extra data", text, end, len(text))
    return value


def _value(text: str, at: int):
    containers: list = []  # innermost last; an object beside the key that waits for its value
    while True:
        opening = text[at : at + 1]
        if opening == "{":
            at = _skip(text, at + 1)
            if at == len(text):
                reason = "Expecting property name enclosed in double quotes or '}'"
                raise JSONDecodeError(reason, text, at)
            if text[at] != "}":
                key, at = _key(text, at)
                containers.append(({}, key))
                continue
            value, at = {}, at + 1
        elif opening == "[":
            at = _skip(text, at + 1)
            if at == len(text):
                raise JSONDecodeError("Expecting value or ']'", text, at)
            if text[at] != "]":
                containers.append(([], None))
                continue
            value, at = [], at + 1
        else:
            value, at = _scalar(text, at)

        # A value is complete: hand it to its container, and that to its own if it ends here.
        while containers:
            container, key = containers[-1]
            if key is None:
                closing = "]"
                container.append(value)
            else:
                closing = "}"
                container[key] = value
            at = _skip(text, at)
            delimiter = text[at : at + 1]
            if delimiter == closing:
                value = container
                containers.pop()
                at += 1
            elif delimiter == ",":
                at = _skip(text, at + 1)
                if key is not None:
                    key, at = _key(text, at)
                    containers[-1] = (container, key)
                break
            else:
                raise JSONDecodeError(f"Expecting ',' delimiter or '{closing}'", text, at)
        else:
            return value, at


def _key(text: str, at: int):
    if text[at : at + 1] != '"':
        raise JSONDecodeError("Expecting property name enclosed in double quotes", text, at)
    key, at = _string(text, at)
    at = _skip(text, at)
    if text[at : at + 1] != ":":
        raise JSONDecodeError("Expecting ':' delimiter", text, at)
    return key, _skip(text, at + 1)


def _scalar(text: str, at: int):
    if text[at : at + 1] == '"':
        return _string(text, at)
    for name, value in LITERALS:
        if text.startswith(name, at):
            return value, at + len(name)
    number = NUMBER.match(text, at)
    if number is None:
        raise JSONDecodeError("Expecting value", text, at)
    whole, fraction, exponent = number.groups()
    if fraction or exponent:
        return float(number.group()), number.end()
    return int(whole), number.end()


def _string(text: str, begin: int):
    chunks = []
    at = begin + 1
    while True:
        plain = PLAIN.match(text, at)
        chunks.append(plain.group())
        at = plain.end()
        stop = text[at : at + 1]
        if stop == '"':
            return "".join(chunks), at + 1
        if stop and stop != "\\":
            raise JSONDecodeError(f"Invalid control character {stop!r} at", text, at)
        escape = text[at + 1 : at + 2]
        if not escape:
            raise JSONDecodeError("Unterminated string starting at", text, begin)
        if escape == "u":
            code, at = _code_point(text, at)
            chunks.append(chr(code))
        elif escape in ESCAPES:
            chunks.append(ESCAPES[escape])
            at += 2
        else:
            raise JSONDecodeError(f"Invalid \\X escape sequence {stop!r}", text, at)


def _code_point(text: str, at: int):
    code, at = _hex4(text, at)
    # A pair is looked for only where more text follows it, as the parser we speak for does.
    if code & 0xFC00 == 0xD800 and text.startswith("\\u", at) and at + 6 < len(text):
        low, end = _hex4(text, at)
        if low & 0xFC00 == 0xDC00:
            return 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00), end
    return code, at


def _hex4(text: str, at: int):
    digits = HEX4.match(text, at + 2)
    if digits is None or digits.end() == len(text):
        raise JSONDecodeError("Invalid \\uXXXX escape sequence", text, at + 1)
    return int(digits.group(), 16), digits.end()


def _skip(text: str, at: int) -> int:
    return WHITESPACE.match(text, at).end()


def _line_and_column(text: str, at: int) -> str:
    line = text.count("\n", 0, at) + 1
    column = at - text.rfind("\n", 0, at)
    return f"line {line} column {column}"
