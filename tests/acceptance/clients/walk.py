"""The life of a function through the Lambda API: `walk.py LAMBDA_URL AWS_URL HANDLERS_FOLDER`.

Every step says what it did and what came of it, so that the run can be read as a story.
"""

import collections
import datetime
import io
import json
import pathlib
import sys
import time
import zipfile

import boto3

NAME = "walk"
ROLE = "arn:aws:iam::123456789012:role/anything"
LAMBDA_URL, AWS_URL, HANDLERS = sys.argv[1:]
IDENTITY = {
    "region_name": "us-east-1",
    "aws_access_key_id": "dummy",
    "aws_secret_access_key": "dummy",
}
lambda_ = boto3.client("lambda", endpoint_url=LAMBDA_URL, **IDENTITY)
sqs = boto3.client("sqs", endpoint_url=AWS_URL, **IDENTITY)


def say(step, text=""):
    print(f"{step:<28} {text}".rstrip(), flush=True)


def zipped(files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return buffer.getvalue()


def code(version):
    return zipped(
        {
            "app.py": (
                "import json, os\n"
                "def handler(event, context):\n"
                "    if isinstance(event, dict) and event.get('fail'):\n"
                "        raise ValueError('asked to fail')\n"
                "    try:\n"
                "        import shared\n"
                "        layer = shared.NAME\n"
                "    except ImportError:\n"
                "        layer = None\n"
                f"    return {{'code': '{version}', 'version': context.function_version,\n"
                "            'arn': context.invoked_function_arn, 'layer': layer,\n"
                "            'colour': os.environ.get('COLOUR'), 'event': event}\n"
            )
        }
    )


def eventually(what, fact):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        found = fact()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"never: {what}")


def invoke(**arguments):
    answer = lambda_.invoke(FunctionName=NAME, **arguments)
    payload = answer["Payload"].read()
    return answer, json.loads(payload) if payload else None


def queue(name):
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    return url, arn


def received(url):
    def look():
        found = sqs.receive_message(
            QueueUrl=url, WaitTimeSeconds=1, MessageAttributeNames=["All"]
        ).get("Messages", [])
        for message in found:
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return found

    return eventually(f"a message in {url}", look)[0]


# Create, and wait as every deployment tool does.
made = lambda_.create_function(
    FunctionName=NAME,
    Runtime=f"python3.{sys.version_info[1]}",
    Role=ROLE,
    Handler="app.handler",
    Code={"ZipFile": code("first")},
    Environment={"Variables": {"COLOUR": "blue"}},
    Timeout=10,
    Tags={"team": "walkers"},
)
say("create_function", f"{made['FunctionArn']} {made['State']} sha256 {made['CodeSha256']}")
lambda_.get_waiter("function_active_v2").wait(FunctionName=NAME)
say("function_active_v2", lambda_.get_function_configuration(FunctionName=NAME)["State"])
assert (pathlib.Path(HANDLERS) / NAME / "app.py").is_file()
answer, result = invoke(Payload='{"n": 1}')
assert result["code"] == "first" and result["colour"] == "blue", result
assert answer["ExecutedVersion"] == "$LATEST", answer
say("invoke", json.dumps(result))

# Publish, update, publish again.
one = lambda_.publish_version(FunctionName=NAME, Description="the first")
say("publish_version", one["Version"])
updated = lambda_.update_function_code(FunctionName=NAME, ZipFile=code("second"))
lambda_.get_waiter("function_updated_v2").wait(FunctionName=NAME)
lambda_.update_function_configuration(FunctionName=NAME, Environment={"Variables": {"COLOUR": "green"}})
lambda_.get_waiter("function_updated_v2").wait(FunctionName=NAME)
_, result = invoke()
assert result["code"] == "second" and result["colour"] == "green", result
say("update code, configuration", json.dumps(result))
two = lambda_.publish_version(FunctionName=NAME)
assert (one["Version"], two["Version"]) == ("1", "2"), (one, two)
say("publish_version", two["Version"])
answer, result = invoke(Qualifier="1")
assert result["code"] == "first" and result["version"] == "1" and result["colour"] == "blue", result
say("invoke Qualifier=1", json.dumps(result))

# An alias that sends a tenth to the new version.
lambda_.create_alias(
    FunctionName=NAME,
    Name="live",
    FunctionVersion="1",
    RoutingConfig={"AdditionalVersionWeights": {"2": 0.1}},
)
ran = collections.Counter(invoke(Qualifier="live")[0]["ExecutedVersion"] for _ in range(400))
assert 10 <= ran["2"] <= 90, ran
say("alias live 90/10", f"400 invocations: {dict(ran)}")
lambda_.update_alias(FunctionName=NAME, Name="live", FunctionVersion="2", RoutingConfig={})
ran = collections.Counter(invoke(Qualifier="live")[0]["ExecutedVersion"] for _ in range(20))
assert ran == {"2": 20}, ran
say("alias live shifted", f"20 invocations: {dict(ran)}")

# Two layers; of what both have, the later one's counts.
arns = []
for number, name in enumerate(["below", "above"]):
    layer = lambda_.publish_layer_version(
        LayerName=name,
        Content={"ZipFile": zipped({"python/shared.py": f"NAME = '{name}'\n"})},
    )
    arns.append(layer["LayerVersionArn"])
lambda_.update_function_configuration(FunctionName=NAME, Layers=arns)
lambda_.get_waiter("function_updated_v2").wait(FunctionName=NAME)
_, result = invoke()
assert result["layer"] == "above", result
say("layers", f"{arns} -> {result['layer']}")

# Asynchronous, with destinations; one that fails, with a dead-letter queue.
succeeded, succeeded_arn = queue("succeeded")
failed, failed_arn = queue("failed")
dead, dead_arn = queue("dead")
lambda_.put_function_event_invoke_config(
    FunctionName=NAME,
    MaximumRetryAttempts=0,
    DestinationConfig={
        "OnSuccess": {"Destination": succeeded_arn},
        "OnFailure": {"Destination": failed_arn},
    },
)
lambda_.update_function_configuration(FunctionName=NAME, DeadLetterConfig={"TargetArn": dead_arn})
lambda_.get_waiter("function_updated_v2").wait(FunctionName=NAME)
answer, _ = invoke(InvocationType="Event", Payload='{"n": 2}')
assert answer["StatusCode"] == 202, answer
record = json.loads(received(succeeded)["Body"])
assert record["requestContext"]["condition"] == "Success", record
assert record["requestPayload"] == {"n": 2}, record
say("Event, OnSuccess", json.dumps(record["requestContext"]))
invoke(InvocationType="Event", Payload='{"fail": true}')
record = json.loads(received(failed)["Body"])
assert record["requestContext"]["condition"] == "RetriesExhausted", record
assert record["responsePayload"]["errorMessage"] == "asked to fail", record
say("Event, OnFailure", json.dumps(record["requestContext"]))
letter = received(dead)
assert json.loads(letter["Body"]) == {"fail": True}, letter
attributes = {name: value["StringValue"] for name, value in letter["MessageAttributes"].items()}
assert attributes["ErrorMessage"] == "asked to fail", attributes
say("Event, dead-letter queue", json.dumps(attributes))

# A schedule that is due in a moment: written into function.yaml, as SAM writes it.
due = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=3)
file = pathlib.Path(HANDLERS) / NAME / "function.yaml"
file.write_text(
    file.read_text()
    + f"Events:\n  Once:\n    Type: ScheduleV2\n    Properties:\n"
    f"      ScheduleExpression: at({due:%Y-%m-%dT%H:%M:%S})\n"
    f"      Input: '{{\"from\": \"schedule\"}}'\n"
)
record = json.loads(received(succeeded)["Body"])
assert record["requestPayload"] == {"from": "schedule"}, record
say("schedule at(...)", json.dumps(record["requestPayload"]))

# A queue that the function reads.
work, work_arn = queue("work")
mapping = lambda_.create_event_source_mapping(
    FunctionName=NAME, EventSourceArn=work_arn, BatchSize=5, FunctionResponseTypes=["ReportBatchItemFailures"]
)
eventually(
    "the mapping is enabled",
    lambda: lambda_.get_event_source_mapping(UUID=mapping["UUID"])["State"] == "Enabled",
)
for number in range(7):
    sqs.send_message(QueueUrl=work, MessageBody=str(number))


def left():
    wanted = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    attributes = sqs.get_queue_attributes(QueueUrl=work, AttributeNames=wanted)["Attributes"]
    return sum(int(attributes[name]) for name in wanted)


eventually("the queue is empty", lambda: left() == 0)
say("SQS mapping", "7 messages sent, handled and deleted")
lambda_.delete_event_source_mapping(UUID=mapping["UUID"])

# And its end.
lambda_.delete_alias(FunctionName=NAME, Name="live")
lambda_.delete_function(FunctionName=NAME)
try:
    lambda_.get_function(FunctionName=NAME)
    raise AssertionError("it is still there")
except lambda_.exceptions.ResourceNotFoundException as error:
    say("delete_function", error.response["Error"]["Message"])
assert not (pathlib.Path(HANDLERS) / NAME).exists()
