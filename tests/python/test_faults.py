"""How errors are described."""

import json

import pytest
from lambda_runtime import bootstrap, faults
from lambda_runtime.faults import Fault


def caught(function):
    try:
        function()
    except Exception as error:
        return error.with_traceback(error.__traceback__.tb_next)


def test_order_of_keys():
    described = json.loads(faults.to_json(faults.describe(caught(lambda: 1 / 0), "id")))
    assert list(described) == ["errorMessage", "errorType", "requestId", "stackTrace"]
    assert described["errorMessage"] == "division by zero"
    assert described["errorType"] == "ZeroDivisionError"
    assert len(described["stackTrace"]) == 1
    assert described["stackTrace"][0].startswith(f'  File "{__file__}", line ')


def test_init_errors_have_no_request():
    assert faults.describe(Fault("T", "m"), None)["requestId"] == ""


def test_exceptions_that_cannot_be_described_are_not_hidden():
    class Broken(Exception):
        def __str__(self):
            raise LookupError

    with pytest.raises(LookupError):
        faults.describe(Broken(), "id")


def test_marshal_fault_lets_through_what_ends_the_process():
    with pytest.raises(KeyboardInterrupt):
        faults.marshal_fault(KeyboardInterrupt())
    fault = faults.marshal_fault(TypeError("no"))
    assert (fault.error_type, fault.message) == ("Runtime.MarshalError", "Unable to marshal response: no")


@pytest.mark.parametrize(
    ("runtime", "ensure_ascii"),
    [("3.10", True), ("3.11", True), ("3.12", False), ("3.13", False), ("3.15", False), ("", True)],
)
def test_ensure_ascii(monkeypatch, runtime, ensure_ascii):
    monkeypatch.setenv("AWS_EXECUTION_ENV", f"AWS_Lambda_python{runtime}")
    assert bootstrap.ensure_ascii() is ensure_ascii


def test_lone_surrogates_in_a_message_are_escaped(monkeypatch):
    monkeypatch.setenv("AWS_EXECUTION_ENV", "AWS_Lambda_python3.12")
    assert b"\\ud800" in faults.to_json(faults.describe(ValueError("\ud800"), "id"))
