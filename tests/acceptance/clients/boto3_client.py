"""handlerd as users of boto3 see it: `boto3_client.py SCENARIO URL [FOLDER]`."""

import base64
import json
import pathlib
import sys

import boto3
import botocore.exceptions

ARN = "arn:aws:lambda:eu-west-1:123456789012:function:"


def client_of(url, **more):
    return boto3.client(
        "lambda",
        endpoint_url=url,
        region_name="eu-west-1",
        aws_access_key_id="dummy",
        aws_secret_access_key="dummy",
        **more,
    )


def raised(kind, call, **arguments):
    try:
        call(**arguments)
    except kind as error:
        return error
    raise AssertionError(f"nothing was raised by {arguments}")


def invoke(url):
    client = client_of(url)
    response = client.invoke(
        FunctionName="greet",
        Payload=json.dumps({"name": "Kim"}),
        LogType="Tail",
        ClientContext=base64.b64encode(b'{"custom": {"a": "1"}}').decode(),
    )
    result = json.load(response["Payload"])
    request_id = response["ResponseMetadata"]["RequestId"]
    assert response["StatusCode"] == 200, response
    assert response["ExecutedVersion"] == "$LATEST", response
    assert "FunctionError" not in response, response
    assert response["ResponseMetadata"]["RetryAttempts"] == 0, response
    assert result == {
        "greeting": "안녕, Kim",
        "arn": ARN + "greet",
        "id": request_id,
        "custom": {"a": "1"},
    }, result
    log = base64.b64decode(response["LogResult"]).decode()
    assert f"START RequestId: {request_id} Version: $LATEST\ngreeting Kim\nEND RequestId: " in log, log
    assert f"\nREPORT RequestId: {request_id}\tDuration: " in log, log

    # Named in full, and with a qualifier.
    for name, arn in [
        (ARN + "greet", ARN + "greet"),
        ("123456789012:function:greet", ARN + "greet"),
        ("greet:$LATEST", ARN + "greet:$LATEST"),
        (ARN + "greet:$LATEST", ARN + "greet:$LATEST"),
    ]:
        response = client.invoke(FunctionName=name, Payload=b"{}")
        assert json.load(response["Payload"])["arn"] == arn, name
    response = client.invoke(FunctionName="greet", Qualifier="$LATEST")
    assert json.load(response["Payload"])["arn"] == ARN + "greet:$LATEST"

    response = client.invoke(FunctionName="greet", InvocationType="DryRun")
    assert response["StatusCode"] == 204 and response["Payload"].read() == b"", response

    # A function that fails is an answer, not an exception.
    response = client.invoke(FunctionName="greet", Payload=b'{"fail": true}')
    assert (response["StatusCode"], response["FunctionError"]) == (200, "Unhandled"), response
    error = json.load(response["Payload"])
    assert list(error) == ["errorMessage", "errorType", "requestId", "stackTrace"], error
    assert (error["errorType"], error["errorMessage"]) == ("ValueError", "no greeting today"), error
    response = client.invoke(FunctionName="greet", Payload=b'{"sleep": 60}')
    error = json.load(response["Payload"])
    assert (response["FunctionError"], error["errorType"]) == ("Unhandled", "Sandbox.Timedout"), error

    # Another region is another endpoint on AWS; here it is the same server.
    seoul = boto3.client(
        "lambda",
        endpoint_url=url,
        region_name="ap-northeast-2",
        aws_access_key_id="dummy",
        aws_secret_access_key="dummy",
    )
    response = seoul.invoke(FunctionName="greet", Payload=b"{}")
    assert json.load(response["Payload"])["arn"] == ARN.replace("eu-west-1", "ap-northeast-2") + "greet"


def errors(url):
    client = client_of(url)
    exceptions = client.exceptions

    error = raised(exceptions.ResourceNotFoundException, client.invoke, FunctionName="nobody")
    assert error.response["Error"]["Code"] == "ResourceNotFoundException", error.response
    assert error.response["Error"]["Message"] == f"Function not found: {ARN}nobody:$LATEST", error.response
    assert error.response["Type"] == "User", error.response
    assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 404, error.response
    assert error.response["ResponseMetadata"]["RequestId"], error.response
    error = raised(exceptions.ResourceNotFoundException, client.invoke, FunctionName="greet", Qualifier="1221")
    assert error.response["Error"]["Message"] == f"Function not found: {ARN}greet:1221", error.response
    raised(exceptions.ResourceNotFoundException, client.get_function, FunctionName="nobody")
    other_region = ARN.replace("eu-west-1", "us-west-2") + "greet"
    error = raised(exceptions.ResourceNotFoundException, client.invoke, FunctionName=other_region)
    assert "not reachable in this region ('eu-west-1')" in error.response["Error"]["Message"], error.response

    error = raised(exceptions.InvalidRequestContentException, client.invoke, FunctionName="greet", Payload=b"{")
    message = error.response["Error"]["Message"]
    assert message.startswith("Could not parse request body into json: "), error.response
    error = raised(
        exceptions.InvalidParameterValueException,
        client.invoke,
        FunctionName="greet:1",
        Qualifier="2",
    )
    assert "does not match the specified qualifier" in error.response["Error"]["Message"], error.response

    # These two have no class of their own in boto3.
    kind = botocore.exceptions.ClientError
    error = raised(kind, client.invoke, FunctionName="greet", Payload=b'"' + b"x" * 6291455 + b'"')
    assert error.response["Error"]["Code"] == "RequestEntityTooLargeException", error.response
    other_account = ARN.replace("123456789012", "210987654321") + "greet"
    error = raised(kind, client.invoke, FunctionName=other_account)
    assert error.response["Error"]["Code"] == "AccessDeniedException", error.response

    # Not there yet: said at once, not after five attempts.
    error = raised(kind, client.list_capacity_providers)
    assert error.response["Error"]["Code"] == "NotImplementedException", error.response
    assert error.response["ResponseMetadata"]["RetryAttempts"] == 0, error.response


def describe(url):
    client = client_of(url)
    names = ["greet", *(f"more{number}" for number in range(7))]
    pages = list(client.get_paginator("list_functions").paginate(PaginationConfig={"PageSize": 3}))
    assert [len(page["Functions"]) for page in pages] == [3, 3, 2], pages
    assert [function["FunctionName"] for page in pages for function in page["Functions"]] == names
    first = client.list_functions()["Functions"][0]
    assert first["FunctionArn"] == ARN + "greet", first

    function = client.get_function(FunctionName="greet")
    configuration = function["Configuration"]
    assert configuration["FunctionName"] == "greet", function
    assert configuration["Description"] == "Says hello", function
    assert configuration["Timeout"] == 1, function
    assert configuration["State"] == "Active", function
    assert "/_handlerd/code/greet/" in function["Code"]["Location"], function
    alone = client.get_function_configuration(FunctionName=ARN + "greet")
    alone.pop("ResponseMetadata")
    assert alone == configuration, alone
    # What scripts wait for after a deployment.
    for waiter in ["function_active_v2", "function_updated_v2", "function_exists", "function_active"]:
        client.get_waiter(waiter).wait(FunctionName="greet", WaiterConfig={"MaxAttempts": 1})


def stream(url, folder):
    client = client_of(url)
    go = pathlib.Path(folder) / "go"

    def begin(name, event):
        response = client.invoke_with_response_stream(
            FunctionName=name,
            Payload=json.dumps(event),
            LogType="Tail",
        )
        assert (response["StatusCode"], response["ExecutedVersion"]) == (200, "$LATEST"), response
        assert response["ResponseStreamContentType"] == "application/vnd.amazon.eventstream", response
        return iter(response["EventStream"]), response["ResponseMetadata"]["RequestId"]

    # The first piece is here while the handler still waits for the file.
    events, request_id = begin("count", {"go": str(go)})
    assert next(events) == {"PayloadChunk": {"Payload": b"one "}}
    go.touch()
    assert next(events) == {"PayloadChunk": {"Payload": b"two"}}
    complete = next(events)["InvokeComplete"]
    assert list(complete) == ["LogResult"], complete
    log = base64.b64decode(complete["LogResult"]).decode()
    assert f"START RequestId: {request_id} Version: $LATEST\ncounting\nEND RequestId: " in log, log
    assert f"\nREPORT RequestId: {request_id}\tDuration: " in log, log
    assert list(events) == []

    events, _ = begin("count", {"go": str(go), "fail": True})
    assert next(events) == {"PayloadChunk": {"Payload": b"one "}}
    complete = next(events)["InvokeComplete"]
    assert complete["ErrorCode"] == "ValueError", complete
    assert json.loads(complete["ErrorDetails"])["errorMessage"] == "lost count", complete
    assert "[ERROR] ValueError: lost count" in base64.b64decode(complete["LogResult"]).decode()

    # A handler that makes no stream.
    events, _ = begin("greet", {"name": "Kim"})
    assert json.loads(next(events)["PayloadChunk"]["Payload"])["greeting"] == "안녕, Kim"
    assert list(next(events)["InvokeComplete"]) == ["LogResult"]
    events, _ = begin("greet", {"fail": True})
    complete = next(events)["InvokeComplete"]
    assert (complete["ErrorCode"], list(events)) == ("ValueError", []), complete

    kind = client.exceptions.ResourceNotFoundException
    error = raised(kind, client.invoke_with_response_stream, FunctionName="nobody")
    assert error.response["Error"]["Message"] == f"Function not found: {ARN}nobody:$LATEST", error.response
    response = client.invoke_with_response_stream(FunctionName="greet", InvocationType="DryRun")
    assert response["StatusCode"] == 204, response


def retry(url, folder):
    """The server is full until the first attempt has been refused."""
    client = client_of(url)
    refused = []

    def before_retry(response, **_):
        if response is not None and response[0].status_code == 429:
            refused.append(response[1]["Error"]["Code"])
            (pathlib.Path(folder) / "go").touch()

    client.meta.events.register_first("needs-retry.lambda.Invoke", before_retry)
    response = client.invoke(FunctionName="held", Payload=json.dumps({"folder": folder}))
    assert json.load(response["Payload"]) == "done"
    assert response["ResponseMetadata"]["RetryAttempts"] == len(refused) >= 1, response
    assert set(refused) == {"TooManyRequestsException"}, refused


if __name__ == "__main__":
    scenario, *arguments = sys.argv[1:]
    {"invoke": invoke, "errors": errors, "describe": describe, "retry": retry, "stream": stream}[scenario](
        *arguments
    )
    print(f"{scenario}: ok")
