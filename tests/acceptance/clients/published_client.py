"""Versions, aliases, policies, URLs and layers as users of boto3 see them:
`published_client.py SCENARIO URL [FOLDER]`."""

import base64
import collections
import io
import json
import pathlib
import sys
import time
import urllib.error
import urllib.request
import zipfile

import boto3
import botocore.config
import botocore.exceptions

ARN = "arn:aws:lambda:eu-west-1:123456789012:function:greet"
LAYER = "arn:aws:lambda:eu-west-1:123456789012:layer:tools"


def client_of(url):
    return boto3.client(
        "lambda",
        endpoint_url=url,
        region_name="eu-west-1",
        aws_access_key_id="dummy",
        aws_secret_access_key="dummy",
        config=botocore.config.Config(retries={"max_attempts": 1}),
    )


def refused(code, message, call, **arguments):
    try:
        call(**arguments)
    except botocore.exceptions.ClientError as error:
        said = error.response["Error"]
        assert said["Code"] == code, (said, code)
        assert said["Message"] == message, (said["Message"], message)
        return error.response
    raise AssertionError(f"nothing was raised by {arguments}")


def until(what, wanted):
    deadline = time.monotonic() + 30
    while True:
        found = what()
        if wanted(found):
            return found
        assert time.monotonic() < deadline, found


def invoke(client, qualifier=None, event=None):
    more = {"Qualifier": qualifier} if qualifier else {}
    response = client.invoke(FunctionName="greet", Payload=json.dumps(event or {}), **more)
    assert "FunctionError" not in response, response["Payload"].read()
    return response["ExecutedVersion"], json.load(response["Payload"])


def save(folder, text):
    """Changes the code, and waits until it is deployed."""
    source = f"""
import os
def lambda_handler(event, context):
    return {{"text": {text!r}, "version": context.function_version, "arn": context.invoked_function_arn,
            "start": os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"], "pid": os.getpid()}}
"""
    (pathlib.Path(folder) / "greet" / "lambda_function.py").write_text(source)


def publish(client, folder, text, **more):
    save(folder, text)
    assert invoke(client)[1]["text"] == text
    return client.publish_version(FunctionName="greet", **more)


def versions(url, folder):
    client = client_of(url)
    one = publish(client, folder, "one", Description="the first")
    assert one["Version"] == "1" and one["FunctionArn"] == ARN + ":1", one
    assert one["Description"] == "the first" and one["ResponseMetadata"]["HTTPStatusCode"] == 201, one
    again = client.publish_version(FunctionName="greet")
    assert again["Version"] == "1", again
    two = publish(client, folder, "two")
    assert two["Version"] == "2" and two["CodeSha256"] != one["CodeSha256"], two
    save(folder, "three")
    assert invoke(client)[1]["text"] == "three"

    executed, result = invoke(client, "1")
    assert (executed, result["text"], result["version"]) == ("1", "one", "1"), result
    assert result["arn"] == ARN + ":1", result
    assert invoke(client, "$LATEST")[1]["text"] == "three"
    named = client.invoke(FunctionName="greet:2")
    assert named["ExecutedVersion"] == "2" and json.load(named["Payload"])["text"] == "two"
    streamed = client.invoke_with_response_stream(FunctionName="greet", Qualifier="2")
    assert streamed["ExecutedVersion"] == "2", streamed
    assert client.invoke(FunctionName="greet", Qualifier="1", InvocationType="DryRun")["StatusCode"] == 204

    listed = client.list_versions_by_function(FunctionName="greet")["Versions"]
    assert [entry["Version"] for entry in listed] == ["$LATEST", "1", "2"], listed
    assert listed[0]["FunctionArn"] == ARN + ":$LATEST" and listed[1]["FunctionArn"] == ARN + ":1", listed
    assert all("State" not in entry for entry in listed), listed
    pages = client.get_paginator("list_versions_by_function").paginate(
        FunctionName="greet", PaginationConfig={"PageSize": 1}
    )
    assert [v["Version"] for page in pages for v in page["Versions"]] == ["$LATEST", "1", "2"]
    configuration = client.get_function_configuration(FunctionName="greet", Qualifier="1")
    assert configuration["Version"] == "1" and configuration["State"] == "Active", configuration

    now = client.get_function_configuration(FunctionName="greet")
    refused(
        "InvalidParameterValueException",
        f"CodeSHA256 (x) is different from current CodeSHA256 in $LATEST ({now['CodeSha256']}). Please try again with "
        "the CodeSHA256 in $LATEST.",
        client.publish_version, FunctionName="greet", CodeSha256="x",
    )
    refused(
        "PreconditionFailedException",
        "The Revision Id provided does not match the latest Revision Id. Call the GetFunction/GetAlias API to retrieve "
        "the latest Revision Id",
        client.publish_version, FunctionName="greet", RevisionId="x",
    )
    client.publish_version(
        FunctionName="greet", CodeSha256=now["CodeSha256"], RevisionId=now["RevisionId"]
    )
    missing = "ResourceNotFoundException"
    refused(missing, f"Function not found: {ARN}:9", client.invoke, FunctionName="greet", Qualifier="9")
    refused(missing, f"Function not found: {ARN}:live", client.invoke, FunctionName="greet", Qualifier="live")
    refused(missing, f"Function not found: {ARN[:-5]}gone", client.publish_version, FunctionName="gone")

    client.create_alias(FunctionName="greet", Name="live", FunctionVersion="2")
    refused(
        "ResourceConflictException",
        "Unable to delete version because the following aliases reference it: [live]",
        client.delete_function, FunctionName="greet", Qualifier="2",
    )
    refused(
        "InvalidParameterValueException",
        "$LATEST version cannot be deleted without deleting the function.",
        client.delete_function, FunctionName="greet", Qualifier="$LATEST",
    )
    for _ in range(2):
        client.delete_function(FunctionName="greet", Qualifier="1")
    refused(missing, f"Function not found: {ARN}:1", client.invoke, FunctionName="greet", Qualifier="1")
    assert publish(client, folder, "four")["Version"] == "4"


def aliases(url, folder):
    client = client_of(url)
    for text in ["one", "two"]:
        publish(client, folder, text)
    live = client.create_alias(FunctionName="greet", Name="live", FunctionVersion="1", Description="d")
    revision = live.pop("RevisionId")
    assert live.pop("ResponseMetadata")["HTTPStatusCode"] == 201
    assert live == {
        "AliasArn": ARN + ":live", "Name": "live", "FunctionVersion": "1", "Description": "d",
    }, live
    executed, result = invoke(client, "live")
    assert (executed, result["text"], result["arn"]) == ("1", "one", ARN + ":live"), result

    conflict, invalid, missing = (
        "ResourceConflictException", "InvalidParameterValueException", "ResourceNotFoundException",
    )
    create = client.create_alias
    refused(conflict, f"Alias already exists: {ARN}:live", create, FunctionName="greet", Name="live", FunctionVersion="1")
    refused(missing, f"Function not found: {ARN}:10", create, FunctionName="greet", Name="x", FunctionVersion="10")
    refused(missing, f"Cannot find alias arn: {ARN}:x", client.get_alias, FunctionName="greet", Name="x")
    refused(missing, f"Alias not found: {ARN}:x", client.update_alias, FunctionName="greet", Name="x")
    routing = lambda **weights: {"AdditionalVersionWeights": {name[1:]: value for name, value in weights.items()}}
    update = lambda **more: client.update_alias(FunctionName="greet", Name="live", **more)
    refused(
        invalid, "Number of items in AdditionalVersionWeights cannot be greater than 1",
        update, RoutingConfig=routing(v1=0.1, v2=0.2),
    )
    refused(
        invalid,
        "Invalid function version 1. Function version 1 is already included in routing configuration.",
        update, RoutingConfig=routing(v1=0.1),
    )
    refused(
        invalid, "$LATEST is not supported for an alias pointing to more than 1 version",
        create, FunctionName="greet", Name="y", FunctionVersion="$LATEST", RoutingConfig=routing(v1=0.1),
    )
    refused(
        "PreconditionFailedException",
        "The Revision Id provided does not match the latest Revision Id. Call the GetFunction/GetAlias API to retrieve "
        "the latest Revision Id",
        update, RevisionId="x",
    )
    client.delete_alias(FunctionName="greet", Name="x")
    create(FunctionName="greet", Name="2024-01-02", FunctionVersion="$LATEST")
    assert invoke(client, "2024-01-02")[1]["text"] == "two"

    shifted = update(RoutingConfig=routing(v2=0.1), RevisionId=revision)
    assert shifted["RoutingConfig"] == {"AdditionalVersionWeights": {"2": 0.1}}, shifted
    assert shifted["RevisionId"] != revision and shifted["Description"] == "d", shifted
    # Of 2000 a tenth is 200; further away than this about once in 10^9 runs.
    counts = collections.Counter(invoke(client, "live")[0] for _ in range(2000))
    assert counts["1"] + counts["2"] == 2000 and 118 <= counts["2"] <= 285, counts
    whole = update(FunctionVersion="2", RoutingConfig={"AdditionalVersionWeights": {}})
    assert "RoutingConfig" not in whole, whole
    assert {invoke(client, "live")[0] for _ in range(20)} == {"2"}

    listed = client.list_aliases(FunctionName="greet")["Aliases"]
    assert [alias["Name"] for alias in listed] == ["2024-01-02", "live"], listed
    listed = client.list_aliases(FunctionName="greet", FunctionVersion="2")["Aliases"]
    assert [alias["Name"] for alias in listed] == ["live"], listed


def policies(url, folder):
    client = client_of(url)
    publish(client, folder, "one")
    client.create_alias(FunctionName="greet", Name="live", FunctionVersion="1")
    missing, add = "ResourceNotFoundException", client.add_permission
    refused(missing, "The resource you requested does not exist.", client.get_policy, FunctionName="greet")
    said = add(
        FunctionName="greet", StatementId="s1", Action="lambda:InvokeFunction",
        Principal="apigateway.amazonaws.com", SourceArn="arn:aws:execute-api:eu-west-1:123456789012:api/*",
    )
    assert json.loads(said["Statement"]) == {
        "Sid": "s1", "Effect": "Allow", "Principal": {"Service": "apigateway.amazonaws.com"},
        "Action": "lambda:InvokeFunction", "Resource": ARN,
        "Condition": {"ArnLike": {"AWS:SourceArn": "arn:aws:execute-api:eu-west-1:123456789012:api/*"}},
    }, said
    arguments = dict(FunctionName="greet", Action="lambda:InvokeFunction", Principal="*")
    refused(
        "ResourceConflictException",
        "The statement id (s1) provided already exists. Please provide a new statement id, or remove the existing statement.",
        add, StatementId="s1", **arguments,
    )
    refused(
        "InvalidParameterValueException",
        "The provided principal was invalid. Please check the principal and try again.",
        add, FunctionName="greet", StatementId="s2", Action="lambda:InvokeFunction", Principal="nobody",
    )
    refused(
        "InvalidParameterValueException", "We currently do not support adding policies for $LATEST.",
        add, StatementId="s2", Qualifier="$LATEST", **arguments,
    )
    refused(missing, f"Cannot find alias arn: {ARN}:x", add, StatementId="s2", Qualifier="x", **arguments)
    qualified = add(StatementId="q", Qualifier="live", **arguments)
    assert json.loads(qualified["Statement"])["Resource"] == ARN + ":live", qualified
    policy = client.get_policy(FunctionName="greet")
    document = json.loads(policy["Policy"])
    assert (document["Version"], document["Id"]) == ("2012-10-17", "default"), document
    assert [statement["Sid"] for statement in document["Statement"]] == ["s1"], document
    refused(
        "PreconditionFailedException",
        "The Revision Id provided does not match the latest Revision Id. Call the GetPolicy API to retrieve the latest "
        "Revision Id",
        add, StatementId="s2", RevisionId="x", **arguments,
    )
    refused(
        missing, "Statement x is not found in resource policy.",
        client.remove_permission, FunctionName="greet", StatementId="x",
    )
    client.remove_permission(FunctionName="greet", StatementId="s1", RevisionId=policy["RevisionId"])
    refused(
        missing, "No policy is associated with the given resource.",
        client.remove_permission, FunctionName="greet", StatementId="s1",
    )
    refused(missing, "The resource you requested does not exist.", client.get_policy, FunctionName="greet")


def provisioned(url, folder):
    client = client_of(url)
    for text in ["one", "two"]:
        publish(client, folder, text)
    client.create_alias(FunctionName="greet", Name="live", FunctionVersion="1")
    put = lambda qualifier, number: client.put_provisioned_concurrency_config(
        FunctionName="greet", Qualifier=qualifier, ProvisionedConcurrentExecutions=number
    )
    get = lambda qualifier: client.get_provisioned_concurrency_config(FunctionName="greet", Qualifier=qualifier)
    invalid = "InvalidParameterValueException"
    refused(
        invalid, "Provisioned Concurrency Configs cannot be applied to unpublished function versions.",
        put, qualifier="$LATEST", number=1,
    )
    refused(
        "ProvisionedConcurrencyConfigNotFoundException",
        "No Provisioned Concurrency Config found for this function",
        get, qualifier="live",
    )
    refused(
        invalid,
        "Specified ConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its "
        "minimum value of [1].",
        put, qualifier="live", number=100000,
    )
    asked = put("live", 2)
    assert asked["Status"] == "IN_PROGRESS" and asked["RequestedProvisionedConcurrentExecutions"] == 2, asked
    ready = until(lambda: get("live"), lambda found: found["Status"] == "READY")
    assert ready["AvailableProvisionedConcurrentExecutions"] == 2, ready
    refused(
        "ResourceConflictException", "Version is pointed by a Provisioned Concurrency alias",
        put, qualifier="1", number=1,
    )
    executed, result = invoke(client, "live")
    assert (executed, result["start"]) == ("1", "provisioned-concurrency"), result
    first = result["pid"]
    assert invoke(client)[1]["start"] == "on-demand"

    # One that dies is replaced.
    import os, signal
    os.kill(first, signal.SIGKILL)
    until(lambda: invoke(client, "live")[1], lambda result: result["pid"] != first)
    until(lambda: get("live"), lambda found: found["Status"] == "READY")

    # It follows its alias.
    client.update_alias(FunctionName="greet", Name="live", FunctionVersion="2")
    until(lambda: get("live"), lambda found: found["Status"] == "READY")
    executed, result = invoke(client, "live")
    assert (executed, result["text"], result["start"]) == ("2", "two", "provisioned-concurrency"), result
    listed = client.list_provisioned_concurrency_configs(FunctionName="greet")["ProvisionedConcurrencyConfigs"]
    assert [entry["FunctionArn"] for entry in listed] == [ARN + ":live"], listed


def provisioned_again(url, folder):
    """After a restart."""
    client = client_of(url)
    get = lambda: client.get_provisioned_concurrency_config(FunctionName="greet", Qualifier="live")
    until(get, lambda found: found["Status"] == "READY")
    assert invoke(client, "live")[1]["start"] == "provisioned-concurrency"
    client.delete_provisioned_concurrency_config(FunctionName="greet", Qualifier="live")

    # What cannot be loaded says so.
    (pathlib.Path(folder) / "greet" / "lambda_function.py").write_text("raise ValueError('no')\n")
    response = client.invoke(FunctionName="greet")
    assert response["FunctionError"] == "Unhandled", response
    broken = client.publish_version(FunctionName="greet")["Version"]
    client.put_provisioned_concurrency_config(
        FunctionName="greet", Qualifier=broken, ProvisionedConcurrentExecutions=1
    )
    failed = until(
        lambda: client.get_provisioned_concurrency_config(FunctionName="greet", Qualifier=broken),
        lambda found: found["Status"] == "FAILED",
    )
    assert failed["StatusReason"] == "FUNCTION_ERROR_INIT_FAILURE", failed


def fetch(url, **headers):
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=30) as response:
            return response.status, response.read(), dict(response.headers)
    except urllib.error.HTTPError as error:
        return error.code, error.read(), dict(error.headers)


def urls(url, folder):
    client = client_of(url)
    for text in ["one", "two"]:
        publish(client, folder, text)
    client.create_alias(FunctionName="greet", Name="live", FunctionVersion="1")
    missing = "ResourceNotFoundException"
    arguments = dict(FunctionName="greet", Qualifier="live")
    refused(missing, "The resource you requested does not exist.", client.get_function_url_config, **arguments)
    refused(
        missing, "Function does not exist",
        client.create_function_url_config, FunctionName="gone", AuthType="NONE",
    )
    created = client.create_function_url_config(
        **arguments, AuthType="NONE", Cors={"AllowOrigins": ["https://shop.example.com"], "MaxAge": 60}
    )
    assert created["FunctionArn"] == ARN + ":live" and "InvokeMode" not in created, created
    refused(
        "ResourceConflictException",
        f"Failed to create function url config for [functionArn = {ARN}:live]. Error message:  FunctionUrlConfig "
        "exists for this Lambda function",
        client.create_function_url_config, **arguments, AuthType="NONE",
    )
    status, body, headers = fetch(created["FunctionUrl"], Origin="https://shop.example.com")
    assert (status, json.loads(body)["text"]) == (200, "one"), (status, body)
    assert headers.get("access-control-allow-origin") == "https://shop.example.com", headers

    client.update_alias(FunctionName="greet", Name="live", FunctionVersion="2")
    assert json.loads(fetch(created["FunctionUrl"])[1])["text"] == "two"
    updated = client.update_function_url_config(**arguments, AuthType="AWS_IAM")
    assert updated["FunctionUrl"] == created["FunctionUrl"] and updated["InvokeMode"] == "BUFFERED", updated
    assert updated["Cors"]["MaxAge"] == 60, updated
    assert fetch(created["FunctionUrl"])[0] == 403
    listed = client.list_function_url_configs(FunctionName="greet")["FunctionUrlConfigs"]
    assert [entry["FunctionArn"] for entry in listed] == [ARN + ":live"], listed
    client.delete_function_url_config(**arguments)
    refused(missing, "The resource you requested does not exist.", client.get_function_url_config, **arguments)
    assert fetch(created["FunctionUrl"])[0] == 404 or fetch(created["FunctionUrl"])[0] == 403


def event_invoke(url, folder):
    client = client_of(url)
    publish(client, folder, "one")
    client.create_alias(FunctionName="greet", Name="live", FunctionVersion="1")
    put, arguments = client.put_function_event_invoke_config, dict(FunctionName="greet", Qualifier="live")
    invalid, missing = "InvalidParameterValueException", "ResourceNotFoundException"
    refused(invalid, "You must specify at least one of error handling or destination setting.", put, **arguments)
    refused(missing, "The function doesn't exist.", put, FunctionName="gone", MaximumRetryAttempts=1)
    refused(
        missing, f"The function {ARN}:live doesn't have an EventInvokeConfig",
        client.get_function_event_invoke_config, **arguments,
    )
    destination = lambda arn: {"OnFailure": {"Destination": arn}}
    refused(
        invalid, "You can't specify the function as a destination for itself.",
        put, **arguments, DestinationConfig=destination(ARN),
    )
    unknown = ARN[:-5] + "gone"
    refused(
        invalid, f"The destination ARN {unknown} is invalid.",
        put, **arguments, DestinationConfig=destination(unknown),
    )
    queue = "arn:aws:sqs:eu-west-1:123456789012:dead"
    said = put(**arguments, MaximumRetryAttempts=1, DestinationConfig=destination(queue))
    assert said["FunctionArn"] == ARN + ":live" and "MaximumEventAgeInSeconds" not in said, said
    assert said["DestinationConfig"] == {"OnSuccess": {}, "OnFailure": {"Destination": queue}}, said
    merged = client.update_function_event_invoke_config(**arguments, MaximumEventAgeInSeconds=60)
    assert (merged["MaximumRetryAttempts"], merged["MaximumEventAgeInSeconds"]) == (1, 60), merged
    replaced = put(**arguments, MaximumEventAgeInSeconds=120)
    assert "MaximumRetryAttempts" not in replaced, replaced
    listed = client.list_function_event_invoke_configs(FunctionName="greet")["FunctionEventInvokeConfigs"]
    assert [entry["FunctionArn"] for entry in listed] == [ARN + ":live"], listed
    client.delete_function_event_invoke_config(**arguments)
    refused(
        missing, f"The function {ARN}:live doesn't have an EventInvokeConfig",
        client.delete_function_event_invoke_config, **arguments,
    )


def zip_of(files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return buffer.getvalue()


def layers(url, folder):
    client = client_of(url)
    content = zip_of({"python/tool.py": "WHO = 'one'\n"})
    one = client.publish_layer_version(
        LayerName="tools", Content={"ZipFile": content}, Description="d", LicenseInfo="MIT",
        CompatibleRuntimes=["python3.12", "python3.13"], CompatibleArchitectures=["x86_64"],
    )
    assert one["LayerVersionArn"] == LAYER + ":1" and one["LayerArn"] == LAYER and one["Version"] == 1, one
    assert one["Content"]["CodeSize"] == len(content), one
    status, body, _ = fetch(one["Content"]["Location"])
    assert (status, body) == (200, content), status
    two = client.publish_layer_version(LayerName="tools", Content={"ZipFile": zip_of({"python/tool.py": "WHO = 'two'\n"})})
    assert two["Version"] == 2 and "CompatibleRuntimes" not in two, two
    listed = client.list_layer_versions(LayerName="tools")["LayerVersions"]
    assert [layer["Version"] for layer in listed] == [2, 1], listed
    listed = client.list_layers(CompatibleRuntime="python3.12")["Layers"]
    assert [layer["LatestMatchingVersion"]["Version"] for layer in listed] == [1], listed
    by_arn = client.get_layer_version_by_arn(Arn=LAYER + ":1")
    assert by_arn["Description"] == "d" and by_arn["LicenseInfo"] == "MIT", by_arn

    missing, invalid = "ResourceNotFoundException", "InvalidParameterValueException"
    none = "The resource you requested does not exist."
    refused(missing, none, client.get_layer_version, LayerName="tools", VersionNumber=9)
    refused(
        invalid, "Could not unzip uploaded file. Please check your file, then try to upload again.",
        client.publish_layer_version, LayerName="tools", Content={"ZipFile": b"nonsense"},
    )
    refused(
        invalid, "Layer Version Cannot be less than 1",
        client.get_layer_version, LayerName="tools", VersionNumber=0,
    )
    said = client.add_layer_version_permission(
        LayerName="tools", VersionNumber=1, StatementId="all", Action="lambda:GetLayerVersion", Principal="*"
    )
    assert json.loads(said["Statement"])["Resource"] == LAYER + ":1", said
    policy = client.get_layer_version_policy(LayerName="tools", VersionNumber=1)
    assert policy["RevisionId"] == said["RevisionId"], policy
    client.remove_layer_version_permission(LayerName="tools", VersionNumber=1, StatementId="all")
    refused(
        missing, "No policy is associated with the given resource.",
        client.get_layer_version_policy, LayerName="tools", VersionNumber=1,
    )
    for _ in range(2):
        client.delete_layer_version(LayerName="tools", VersionNumber=2)
    refused(missing, none, client.get_layer_version, LayerName="tools", VersionNumber=2)
    three = client.publish_layer_version(LayerName="tools", Content={"ZipFile": content})
    assert three["Version"] == 3, three


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
    print(f"{sys.argv[1]}: ok")
