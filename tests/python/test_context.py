"""The context object."""

import time

import pytest
from lambda_runtime import context
from lambda_runtime.context import LambdaContext
from lambda_runtime.faults import Fault


@pytest.fixture(autouse=True)
def function(monkeypatch):
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "hello")
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128")
    monkeypatch.setattr(context, "_function", None)


def test_memory_is_a_text():
    assert LambdaContext("id", None, None, 0).memory_limit_in_mb == "128"


def test_remaining_time():
    made = LambdaContext("id", None, None, int(time.time() * 1000) + 3000)
    assert 2500 < made.get_remaining_time_in_millis() <= 3000
    assert LambdaContext("id", None, None, 1).get_remaining_time_in_millis() == 0


def test_identity_is_never_none():
    assert LambdaContext("id", None, None, 0).identity.cognito_identity_id is None
    given = LambdaContext("id", None, '{"cognitoIdentityId": "i"}', 0)
    assert repr(given.identity) == "CognitoIdentity([cognito_identity_id=i,cognito_identity_pool_id=None])"


def test_client_context():
    given = LambdaContext("id", '{"custom": {"a": 1}, "client": {"app_title": "t"}}', None, 0)
    assert given.client_context.custom == {"a": 1}
    assert given.client_context.env is None
    assert given.client_context.client.app_title == "t"


def test_broken_client_context():
    with pytest.raises(Fault) as caught:
        LambdaContext("id", "{", None, 0)
    assert caught.value.error_type == "Runtime.LambdaContextUnmarshalError"
    assert caught.value.message.startswith("Unable to parse Client Context JSON: ")


def test_contexts_share_nothing():
    one, other = LambdaContext("a", None, None, 0), LambdaContext("b", None, None, 0)
    one.identity.cognito_identity_id = one.mine = 1
    assert other.identity.cognito_identity_id is None
    assert not hasattr(other, "mine")
