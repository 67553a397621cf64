"""Functions made, changed and deleted with boto3: `lambda_api_functions.py SCENARIO URL [...]`."""

import base64
import hashlib
import io
import json
import pathlib
import sys
import urllib.request
import zipfile

import boto3
import botocore.config
import botocore.exceptions

ARN = "arn:aws:lambda:eu-west-1:123456789012:function:"
ROLE = "arn:aws:iam::123456789012:role/r"
CODE = "def handler(event, context):\n    return {'version': %r}\n"
NO_UNZIP = "Could not unzip uploaded file. Please check your file, then try to upload again."


def client_of(url):
    # What is refused is refused once; waiters ask often.
    config = botocore.config.Config(retries={"total_max_attempts": 1}, parameter_validation=False)
    return boto3.client(
        "lambda",
        endpoint_url=url,
        region_name="eu-west-1",
        aws_access_key_id="dummy",
        aws_secret_access_key="dummy",
        config=config,
    )


def zipped(**files):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(name.replace("__", "/") + ".py", text)
    return content.getvalue()


def sha(content):
    return base64.b64encode(hashlib.sha256(content).digest()).decode()


def create(client, name, **more):
    arguments = {
        "FunctionName": name,
        "Role": ROLE,
        "Runtime": "python3.12",
        "Handler": "app.handler",
        "Code": {"ZipFile": zipped(app=CODE % "first")},
    }
    return client.create_function(**{**arguments, **more})


def active(client, name):
    quick = {"Delay": 1, "MaxAttempts": 60}
    client.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig=quick)
    client.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig=quick)
    client.get_waiter("function_active").wait(FunctionName=name, WaiterConfig=quick)
    client.get_waiter("function_updated").wait(FunctionName=name, WaiterConfig=quick)


def answer(client, name):
    return json.load(client.invoke(FunctionName=name)["Payload"])


def refused(code, status, message, call, **arguments):
    try:
        call(**arguments)
    except botocore.exceptions.ClientError as error:
        told = error.response["Error"]
        assert told["Code"] == code, (told, arguments)
        assert error.response["ResponseMetadata"]["HTTPStatusCode"] == status, error.response
        if callable(message):
            assert message(told["Message"]), told
        else:
            assert told["Message"] == message, told
        return error
    raise AssertionError(f"nothing was refused: {arguments}")


def lifecycle(url, handlers, runtime):
    client = client_of(url)
    code = zipped(app=CODE % "first")
    made = create(
        client,
        "made",
        Runtime=runtime,
        Code={"ZipFile": code},
        Description="yes",
        Timeout=7,
        MemorySize=256,
        Environment={"Variables": {"ZIP_CODE": "0123", "FLAG": "no", "TEXT": "a: b\n# c 'd' \"e\" ü"}},
        Tags={"team": "on"},
    )
    assert made["ResponseMetadata"]["HTTPStatusCode"] == 201
    expected = {
        "CodeSha256": sha(code),
        "CodeSize": len(code),
        "Description": "yes",
        "EphemeralStorage": {"Size": 512},
        "FunctionArn": ARN + "made",
        "FunctionName": "made",
        "Handler": "app.handler",
        "LoggingConfig": {"LogFormat": "Text", "LogGroup": "/aws/lambda/made"},
        "MemorySize": 256,
        "PackageType": "Zip",
        "Role": ROLE,
        "Runtime": runtime,
        "SnapStart": {"ApplyOn": "None", "OptimizationStatus": "Off"},
        "State": "Pending",
        "StateReason": "The function is being created.",
        "StateReasonCode": "Creating",
        "Timeout": 7,
        "TracingConfig": {"Mode": "PassThrough"},
        "Version": "$LATEST",
        "Environment": {"Variables": {"ZIP_CODE": "0123", "FLAG": "no", "TEXT": "a: b\n# c 'd' \"e\" ü"}},
    }
    for name, value in expected.items():
        assert made[name] == value, (name, made)
    assert "LastUpdateStatus" not in made
    active(client, "made")
    settled = client.get_function_configuration(FunctionName="made")
    assert settled["State"] == "Active" and settled["LastUpdateStatus"] == "Successful"
    assert "StateReason" not in settled and settled["RevisionId"] != made["RevisionId"]
    assert answer(client, "made") == {"version": "first"}
    refused(
        "ResourceConflictException", 409, "Function already exist: made", create, client=client, name="made"
    )

    # What was sent can be downloaded again, byte for byte.
    got = client.get_function(FunctionName="made")
    assert got["Tags"] == {"team": "on"} and "Concurrency" not in got
    assert urllib.request.urlopen(got["Code"]["Location"]).read() == code
    try:
        urllib.request.urlopen(got["Code"]["Location"][:-1] + "x")
    except urllib.error.HTTPError as error:
        assert error.code == 403
    else:
        raise AssertionError("a link that nobody has given is followed")

    # Configuration: only what is given changes.
    yaml = pathlib.Path(handlers, "made", "function.yaml")
    yaml.write_text("# by hand\n" + yaml.read_text().replace("Timeout: 7", "Timeout: 7 # seconds"))
    changed = client.update_function_configuration(FunctionName="made", Timeout=9, Environment={"Variables": {}})
    assert changed["LastUpdateStatus"] == "InProgress" and changed["State"] == "Active", changed
    assert changed["Timeout"] == 9 and changed["MemorySize"] == 256 and "Environment" not in changed
    assert changed["CodeSha256"] == sha(code)
    active(client, "made")
    text = yaml.read_text()
    assert text.startswith("# by hand\n") and "Timeout: 9 # seconds\n" in text and "ZIP_CODE" not in text, text

    # Code.
    code = zipped(app=CODE % "second", lib__x="X = 1\n")
    before = client.get_function_configuration(FunctionName="made")
    dry = client.update_function_code(FunctionName="made", ZipFile=code, DryRun=True)
    assert dry["CodeSha256"] == sha(code) and dry["LastUpdateStatus"] == "Successful", dry
    assert answer(client, "made") == {"version": "first"}
    refused(
        "PreconditionFailedException",
        412,
        "The Revision Id provided does not match the latest Revision Id. Call the GetFunction/GetAlias API to "
        "retrieve the latest Revision Id",
        client.update_function_code,
        FunctionName="made",
        ZipFile=code,
        RevisionId="00000000-0000-0000-0000-000000000000",
    )
    changed = client.update_function_code(FunctionName="made", ZipFile=code, RevisionId=before["RevisionId"])
    assert changed["CodeSha256"] == sha(code) and changed["LastUpdateStatus"] == "InProgress", changed
    assert changed["Timeout"] == 9
    active(client, "made")
    assert answer(client, "made") == {"version": "second"}
    assert pathlib.Path(handlers, "made", "lib", "x.py").is_file()
    # Edited by hand, it is not what was sent any more.
    pathlib.Path(handlers, "made", "app.py").write_text(CODE % "by hand")
    assert answer(client, "made") == {"version": "by hand"}
    assert client.get_function_configuration(FunctionName="made")["CodeSha256"] != sha(code)
    link = client.get_function(FunctionName="made")["Code"]["Location"]
    with zipfile.ZipFile(io.BytesIO(urllib.request.urlopen(link).read())) as archive:
        assert sorted(archive.namelist()) == ["app.py", "lib/x.py"]

    # Source text, as CloudFormation has it.
    create(client, "inline", Runtime=runtime, Handler="index.main", Code={"ZipFile": b"def main(e, c):\n    return 'inline'\n"})
    active(client, "inline")
    assert answer(client, "inline") == "inline"

    listed = [page for page in client.get_paginator("list_functions").paginate(PaginationConfig={"PageSize": 1})]
    names = [function["FunctionName"] for page in listed for function in page["Functions"]]
    assert names == ["inline", "made"] and len(listed) == 2
    assert all("State" not in page["Functions"][0] for page in listed)
    every = client.list_functions(FunctionVersion="ALL")["Functions"]
    assert every[0]["FunctionArn"] == ARN + "inline:$LATEST"

    account = client.get_account_settings()
    assert account["AccountLimit"]["CodeSizeZipped"] == 52428800
    assert account["AccountUsage"]["FunctionCount"] == 2

    deleted = client.delete_function(FunctionName="made")
    assert deleted["ResponseMetadata"]["HTTPStatusCode"] == 204
    gone = f"Function not found: {ARN}made"
    refused("ResourceNotFoundException", 404, f"{gone}:$LATEST", client.get_function, FunctionName="made")
    refused("ResourceNotFoundException", 404, gone, client.delete_function, FunctionName="made")
    assert not pathlib.Path(handlers, "made").exists()


def errors(url, runtime):
    client = client_of(url)
    make = lambda **more: create(client, "wrong", Runtime=more.pop("Runtime", runtime), **more)
    violation = "1 validation error detected: Value '%s' at '%s' failed to satisfy constraint: Member must %s"
    invalid, validation = "InvalidParameterValueException", "ValidationException"
    role = r"satisfy regular expression pattern: arn:(aws[a-zA-Z-]*)?:iam::\d{12}:role/?[a-zA-Z_0-9+=,.@\-_/]+"
    for code, message, arguments in [
        (validation, violation % ("r1", "role", role), {"Role": "r1"}),
        (validation, violation % (901, "timeout", "have value less than or equal to 900"), {"Timeout": 901}),
        (validation, violation % (127, "memorySize", "have value greater than or equal to 128"), {"MemorySize": 127}),
        (
            invalid,
            "The runtime parameter of python3.7 is no longer supported for creating or updating AWS Lambda functions. "
            "We recommend you use a supported runtime while creating or updating functions.",
            {"Runtime": "python3.7"},
        ),
        (invalid, lambda text: text.startswith("Value nope at 'runtime' failed to satisfy"), {"Runtime": "nope"}),
        (invalid, NO_UNZIP, {"Code": {"ZipFile": b"not a zip"}}),
        (invalid, "Uploaded file must be a non-empty zip", {"Code": {"ZipFile": zipped()}}),
        (invalid, lambda text: "leads out of the folder" in text, {"Code": {"ZipFile": zipped(**{"..__x": "x"})}}),
        (
            invalid,
            "Runtime and Handler are mandatory parameters for functions created with deployment packages.",
            {"Handler": None},
        ),
        (invalid, lambda text: "ImageUri is not supported by handlerd" in text, {"Code": {"ImageUri": "x"}}),
        (
            invalid,
            lambda text: text.startswith("Error occurred while GetObject. S3 Error Code: NoSuchBucket."),
            {"Code": {"S3Bucket": "b", "S3Key": "k"}},
        ),
        (
            invalid,
            lambda text: "exceeded the 4KB limit. String measured: {\"LARGE_VAR\":\"xx" in text,
            {"Environment": {"Variables": {"LARGE_VAR": "x" * 4096}}},
        ),
        (
            invalid,
            lambda text: text.endswith("Reserved keys used in this request: AWS_REGION"),
            {"Environment": {"Variables": {"AWS_REGION": "x"}}},
        ),
        (invalid, lambda text: "VpcConfig is not supported" in text, {"VpcConfig": {"SubnetIds": ["s"]}}),
        (
            invalid,
            f"Layer version {ARN.replace('function', 'layer')}x:1 does not exist.",
            {"Layers": [ARN.replace("function", "layer") + "x:1"]},
        ),
        (invalid, "Number of tags exceeds resource tag limit.", {"Tags": {f"k{n}": "" for n in range(51)}}),
        (
            validation,
            lambda text: "Value '[X86_64]' at 'architectures'" in text,
            {"Architectures": ["X86_64"]},
        ),
    ]:
        arguments = {name: value for name, value in arguments.items()}
        if "Handler" in arguments:
            arguments["Handler"] = None
            refused(code, 400, message, lambda: client.create_function(
                FunctionName="wrong", Role=ROLE, Code={"ZipFile": zipped(app="x")}))
            continue
        refused(code, 400, message, make, **arguments)
    refused(
        invalid,
        400,
        lambda text: text.endswith("Member must have length less than or equal to 64"),
        create,
        client=client,
        name="x" * 65,
    )
    assert client.list_functions()["Functions"] == []
    # Empty values ask for nothing.
    create(client, "right", Runtime=runtime, VpcConfig={"SubnetIds": [], "SecurityGroupIds": []}, Layers=[])
    refused(
        "ResourceConflictException", 409, lambda text: "Pending" in text or "in progress" in text,
        lambda: [client.update_function_configuration(FunctionName="right", Timeout=n) for n in range(1, 50)],
    )
    active(client, "right")
    refused(
        invalid, 400, "$LATEST version cannot be deleted without deleting the function.",
        client.delete_function, FunctionName="right", Qualifier="$LATEST",
    )
    refused("NotImplementedException", 501, lambda text: "ListCodeSigningConfigs" in text, client.list_code_signing_configs)


def settings(url, runtime):
    client = client_of(url)
    create(client, "tuned", Runtime=runtime)
    active(client, "tuned")
    arn = ARN + "tuned"
    client.tag_resource(Resource=arn, Tags={"a": "1", "b": "yes"})
    client.tag_resource(Resource=arn, Tags={"b": "2", "c d": "ü"})
    assert client.list_tags(Resource=arn)["Tags"] == {"a": "1", "b": "2", "c d": "ü"}
    client.untag_resource(Resource=arn, TagKeys=["a", "c d", "unknown"])
    assert client.list_tags(Resource=arn)["Tags"] == {"b": "2"}
    refused(
        "InvalidParameterValueException",
        400,
        "Tags on function aliases and versions are not supported. Please specify a function ARN.",
        client.list_tags,
        Resource=arn + ":live",
    )
    refused(
        "ResourceNotFoundException", 404, f"Function not found: {ARN}none", client.list_tags, Resource=ARN + "none"
    )

    assert "ReservedConcurrentExecutions" not in client.get_function_concurrency(FunctionName="tuned")
    client.put_function_concurrency(FunctionName="tuned", ReservedConcurrentExecutions=5)
    assert client.get_function_concurrency(FunctionName="tuned")["ReservedConcurrentExecutions"] == 5
    assert client.get_function(FunctionName="tuned")["Concurrency"] == {"ReservedConcurrentExecutions": 5}
    assert client.get_account_settings()["AccountLimit"]["UnreservedConcurrentExecutions"] == 995
    refused(
        "InvalidParameterValueException",
        400,
        "Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below "
        "its minimum value of [100].",
        client.put_function_concurrency,
        FunctionName="tuned",
        ReservedConcurrentExecutions=901,
    )
    client.delete_function_concurrency(FunctionName="tuned")
    assert "ReservedConcurrentExecutions" not in client.get_function_concurrency(FunctionName="tuned")

    assert client.get_function_recursion_config(FunctionName="tuned")["RecursiveLoop"] == "Terminate"
    client.put_function_recursion_config(FunctionName="tuned", RecursiveLoop="Allow")
    assert client.get_function_recursion_config(FunctionName="tuned")["RecursiveLoop"] == "Allow"

    client.put_runtime_management_config(FunctionName="tuned", UpdateRuntimeOn="FunctionUpdate")
    management = client.get_runtime_management_config(FunctionName="tuned")
    assert management["UpdateRuntimeOn"] == "FunctionUpdate" and management["FunctionArn"] == arn + ":$LATEST"

    client.update_function_configuration(
        FunctionName="tuned",
        DeadLetterConfig={"TargetArn": "arn:aws:sqs:eu-west-1:123456789012:dead"},
        TracingConfig={"Mode": "Active"},
        EphemeralStorage={"Size": 1024},
        SnapStart={"ApplyOn": "PublishedVersions"},
        LoggingConfig={"LogFormat": "JSON", "ApplicationLogLevel": "DEBUG"},
    )
    active(client, "tuned")
    told = client.get_function_configuration(FunctionName="tuned")
    assert told["DeadLetterConfig"] == {"TargetArn": "arn:aws:sqs:eu-west-1:123456789012:dead"}, told
    assert told["TracingConfig"] == {"Mode": "Active"} and told["EphemeralStorage"] == {"Size": 1024}
    assert told["SnapStart"]["ApplyOn"] == "PublishedVersions"
    assert told["LoggingConfig"]["ApplicationLogLevel"] == "DEBUG"
    assert client.get_function_code_signing_config(FunctionName="tuned")["CodeSigningConfigArn"] == ""
    refused(
        "NotImplementedException", 501, lambda text: "PutFunctionCodeSigningConfig" in text,
        client.put_function_code_signing_config, FunctionName="tuned", CodeSigningConfigArn="x",
    )
    # A second time, nothing of the former function is left.
    client.delete_function(FunctionName="tuned")
    create(client, "tuned", Runtime=runtime)
    active(client, "tuned")
    assert client.list_tags(Resource=arn)["Tags"] == {}
    assert "DeadLetterConfig" not in client.get_function_configuration(FunctionName="tuned")
    assert client.get_runtime_management_config(FunctionName="tuned")["UpdateRuntimeOn"] == "Auto"


def declared(url):
    client = client_of(url)
    is_declared = lambda text: "template.yaml" in text and "change it there" in text
    for call, arguments in [
        (client.update_function_configuration, {"Timeout": 4}),
        (client.update_function_code, {"ZipFile": zipped(app="x")}),
        (client.delete_function, {}),
        (client.put_function_concurrency, {"ReservedConcurrentExecutions": 1}),
        (client.tag_resource, {"Resource": ARN + "Declared", "Tags": {"a": "b"}}),
    ]:
        if "Resource" not in arguments:
            arguments["FunctionName"] = "Declared"
        refused("ResourceConflictException", 409, is_declared, call, **arguments)
    refused(
        "ResourceConflictException", 409, lambda text: "no folder of handlers" in text,
        create, client=client, name="new",
    )


def held_back(url, runtime):
    """With `--keep-last-good`, a zip whose code cannot be loaded is not what is deployed."""
    client = client_of(url)
    good = zipped(app=CODE % "good")
    create(client, "careful", Runtime=runtime, Code={"ZipFile": good})
    active(client, "careful")
    assert answer(client, "careful") == {"version": "good"}
    client.update_function_code(FunctionName="careful", ZipFile=zipped(app="def handler(:"))
    client.get_waiter("function_updated_v2").wait(FunctionName="careful", WaiterConfig={"Delay": 1, "MaxAttempts": 60})
    assert answer(client, "careful") == {"version": "good"}
    assert client.get_function_configuration(FunctionName="careful")["CodeSha256"] == sha(good)


def infrastructure(url, runtime):
    """What a provider of Terraform's kind asks: make, read all of it, change, read again, take away."""
    client = client_of(url)
    arn = ARN + "managed"

    def state():
        function = client.get_function(FunctionName="managed")
        configuration = function["Configuration"]
        versions = client.list_versions_by_function(FunctionName="managed")["Versions"]
        refused("ResourceNotFoundException", 404, lambda text: bool(text), client.get_policy, FunctionName="managed")
        assert not client.get_function_code_signing_config(FunctionName="managed").get("CodeSigningConfigArn")
        names = ["Description", "Handler", "MemorySize", "Role", "Runtime", "Timeout", "CodeSha256", "PackageType"]
        return {
            **{name: configuration[name] for name in names},
            "Environment": configuration.get("Environment"),
            "Reserved": function.get("Concurrency"),
            "State": (configuration["State"], configuration["LastUpdateStatus"]),
            "Tags": client.list_tags(Resource=arn)["Tags"],
            "Versions": [version["Version"] for version in versions],
        }

    first = zipped(app=CODE % "first")
    create(client, "managed", Runtime=runtime, Code={"ZipFile": first}, Tags={"stage": "one"}, Publish=True)
    active(client, "managed")
    made = state()
    assert made == {
        "Description": "", "Handler": "app.handler", "MemorySize": 128, "Role": ROLE, "Runtime": runtime,
        "Timeout": 3, "CodeSha256": sha(first), "PackageType": "Zip", "Environment": None, "Reserved": None,
        "State": ("Active", "Successful"), "Tags": {"stage": "one"}, "Versions": ["$LATEST", "1"],
    }, made
    # A plan without changes reads the same again.
    assert state() == made

    second = zipped(app=CODE % "second")
    client.update_function_configuration(
        FunctionName="managed", Timeout=7, MemorySize=256, Description="changed", Environment={"Variables": {"AB": "1"}}
    )
    active(client, "managed")
    client.update_function_code(FunctionName="managed", ZipFile=second, Publish=True)
    active(client, "managed")
    client.put_function_concurrency(FunctionName="managed", ReservedConcurrentExecutions=5)
    client.tag_resource(Resource=arn, Tags={"stage": "two"})
    changed = state()
    assert changed == {
        **made, "Description": "changed", "MemorySize": 256, "Timeout": 7, "CodeSha256": sha(second),
        "Environment": {"Variables": {"AB": "1"}}, "Reserved": {"ReservedConcurrentExecutions": 5},
        "Tags": {"stage": "two"}, "Versions": ["$LATEST", "1", "2"],
    }, changed
    assert answer(client, "managed") == {"version": "second"}

    client.delete_function(FunctionName="managed")
    for call in [client.get_function, client.list_versions_by_function, client.get_function_configuration]:
        refused("ResourceNotFoundException", 404, lambda text: "managed" in text, call, FunctionName="managed")


if __name__ == "__main__":
    scenario = sys.argv[1]
    scenarios = [lifecycle, errors, settings, declared, held_back, infrastructure]
    {known.__name__: known for known in scenarios}[scenario](*sys.argv[2:])
    print(f"{scenario}: ok")
