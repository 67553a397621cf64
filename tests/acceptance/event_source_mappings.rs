//! Event source mappings through the Lambda API, with boto3 and against moto: what is answered, how a
//! mapping comes to life and goes. Queues and streams themselves are in `sqs` and `streams`.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::harness::{PATIENCE, TestServer, TestServerBuilder, eventually};
use crate::moto::{Moto, moto};

/// Writes each event down; does what `do`, a file beside it, says: Python that may use `event`, `context`
/// and `folder`, and sets `result`.
const READER: &str = r#"
import json, os, time

folder = os.environ["FOLDER"]

def write(name, text):
    file = os.open(folder + "/" + name, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, text.encode())
    os.close(file)

def lambda_handler(event, context):
    write("began", json.dumps(event) + "\n")
    names = {"event": event, "context": context, "folder": folder, "result": None, "write": write}
    with open(folder + "/do") as file:
        exec(file.read(), names)
    write("ended", json.dumps(event) + "\n")
    return names["result"]
"#;

/// A function `reader` and what it has been invoked with.
pub struct Reader {
    folder: tempfile::TempDir,
}

impl Reader {
    /// What it does when it is invoked.
    pub fn new(code: &str) -> Self {
        let reader = Self { folder: tempfile::tempdir().unwrap() };
        reader.does(code);
        reader
    }

    pub fn does(&self, code: &str) {
        // At once: it may be reading.
        let new = self.path("do.new");
        std::fs::write(&new, code).unwrap();
        std::fs::rename(new, self.path("do")).unwrap();
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn server(&self, moto: &Moto) -> TestServerBuilder {
        let mut builder = TestServerBuilder::new().handler("reader", READER).file(
            "reader/function.yaml",
            &format!("Timeout: 25\nEnvironment:\n  Variables:\n    FOLDER: {}\n", self.folder().display()),
        );
        for (name, value) in moto.variables() {
            builder = builder.variable(name, &value);
        }
        builder
    }

    fn events(&self, name: &str) -> Vec<Value> {
        let text = std::fs::read_to_string(self.path(name)).unwrap_or_default();
        whole_lines(&text).map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The events of all invocations.
    pub fn began(&self) -> Vec<Value> {
        self.events("began")
    }

    /// Of those that have not failed.
    pub fn ended(&self) -> Vec<Value> {
        self.events("ended")
    }

    /// Waits until records with all these bodies have been handled.
    pub fn wait_for_bodies(&self, wanted: &[&str]) {
        eventually("all have been handled", || {
            let bodies = bodies(&self.ended());
            wanted.iter().all(|body| bodies.iter().any(|known| known == body))
        });
    }
}

/// The lines that have been written to their end: a handler may be in the middle of the last one.
fn whole_lines(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'))
}

/// What the messages of these events said, in order.
pub fn bodies(events: &[Value]) -> Vec<String> {
    let records = events.iter().flat_map(|event| event["Records"].as_array().unwrap());
    records.map(|record| record["body"].as_str().unwrap().to_owned()).collect()
}

/// Runs Python with `api`, a boto3 client of the Lambda API, beside what `Moto::python` gives.
pub fn python(moto: &Moto, server: &TestServer, code: &str) -> Value {
    let prelude = format!(
        "api = client('lambda', endpoint_url='{}')\n\
         import time\n\
         def wait_for(uuid, state):\n\
         \x20   began = time.monotonic()\n\
         \x20   while True:\n\
         \x20       mapping = api.get_event_source_mapping(UUID=uuid)\n\
         \x20       if mapping['State'] == state: return mapping\n\
         \x20       assert time.monotonic() - began < {}, mapping\n\
         \x20       time.sleep(0.02)\n\
         def refused(call, **arguments):\n\
         \x20   try: call(**arguments)\n\
         \x20   except api.exceptions.ClientError as error:\n\
         \x20       return [error.response['Error']['Code'], error.response['Error']['Message'], error.response['ResponseMetadata']['HTTPStatusCode']]\n\
         \x20   raise AssertionError('it was not refused')\n\
         def plain(value):\n\
         \x20   value.pop('ResponseMetadata', None)\n\
         \x20   return json.loads(json.dumps(value, default=str))\n",
        server.api,
        PATIENCE.as_secs()
    );
    moto.python(&format!("{prelude}{code}"))
}

/// Makes a mapping of `reader` and waits until it is enabled; its UUID. `arguments`: in Python.
pub fn map(moto: &Moto, server: &TestServer, arguments: &str) -> String {
    let code = format!(
        "made = api.create_event_source_mapping(FunctionName='reader', {arguments})\n\
         wait_for(made['UUID'], 'Enabled')\nprint(json.dumps(made['UUID']))"
    );
    python(moto, server, &code).as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_mapping_is_made_changed_listed_and_deleted() {
    let Some(moto) = moto("a_mapping_is_made_changed_listed_and_deleted") else { return };
    let reader = Reader::new("");
    let server = reader.server(&moto).start().await;
    let arn = moto.arn("sqs", "orders");
    let code = format!(
        r#"
client('sqs').create_queue(QueueName='orders')
steps = []
made = api.create_event_source_mapping(FunctionName='reader', EventSourceArn='{arn}')
status = made['ResponseMetadata']['HTTPStatusCode']
uuid = made['UUID']
steps.append(plain(made))
assert made['LastModified'].timestamp() > 1_700_000_000
steps.append(wait_for(uuid, 'Enabled')['State'])
steps.append(plain(api.update_event_source_mapping(UUID=uuid, BatchSize=3, Enabled=False))['State'])
steps.append(wait_for(uuid, 'Disabled')['BatchSize'])
steps.append(plain(api.update_event_source_mapping(UUID=uuid, Enabled=True, FunctionResponseTypes=['ReportBatchItemFailures'], ScalingConfig={{'MaximumConcurrency': 2}}))['State'])
steps.append(plain(wait_for(uuid, 'Enabled'))['FunctionResponseTypes'])
steps.append(plain(api.update_event_source_mapping(UUID=uuid, FunctionResponseTypes=[], ScalingConfig={{}}))['State'])
changed = wait_for(uuid, 'Enabled')
steps.append([changed['FunctionResponseTypes'], 'ScalingConfig' in changed, changed['BatchSize']])
listed = api.list_event_source_mappings(FunctionName='reader', EventSourceArn='{arn}')['EventSourceMappings']
steps.append([mapping['UUID'] == uuid for mapping in listed])
steps.append(api.list_event_source_mappings(EventSourceArn='{arn}x')['EventSourceMappings'])
steps.append(refused(api.create_event_source_mapping, FunctionName='reader', EventSourceArn='{arn}'))
steps.append(plain(api.delete_event_source_mapping(UUID=uuid))['State'])
began = time.monotonic()
while True:
    try:
        state = api.get_event_source_mapping(UUID=uuid)['State']
        assert state == 'Deleting' and time.monotonic() - began < 30, state
    except api.exceptions.ResourceNotFoundException as error:
        steps.append(str(error))
        break
steps.append(api.list_event_source_mappings()['EventSourceMappings'])
print(json.dumps([status, uuid, steps]))
"#
    );
    let answer = python(&moto, &server, &code);
    assert_eq!(answer[0], 202);
    let uuid = answer[1].as_str().unwrap();
    let mut steps = answer[2].as_array().unwrap().clone();
    steps[0]["LastModified"].take();
    assert_eq!(
        steps,
        [
            json!({
                "UUID": uuid, "BatchSize": 10, "MaximumBatchingWindowInSeconds": 0, "EventSourceArn": arn,
                "EventSourceMappingArn": format!("arn:aws:lambda:us-east-1:123456789012:event-source-mapping:{uuid}"),
                "FunctionArn": "arn:aws:lambda:us-east-1:123456789012:function:reader", "LastModified": null,
                "State": "Creating", "StateTransitionReason": "USER_INITIATED", "FunctionResponseTypes": [],
            }),
            json!("Enabled"),
            json!("Disabling"),
            json!(3),
            json!("Enabling"),
            json!(["ReportBatchItemFailures"]),
            json!("Updating"),
            json!([[], false, 3]),
            json!([true]),
            json!([]),
            json!([
                "ResourceConflictException",
                format!(
                    "An event source mapping with SQS arn (\" {arn} \") and function (\" reader \") already exists. \
                     Please update or delete the existing mapping with UUID {uuid}"
                ),
                409
            ]),
            json!("Deleting"),
            json!(
                "An error occurred (ResourceNotFoundException) when calling the GetEventSourceMapping operation: The \
                 resource you requested does not exist."
            ),
            json!([]),
        ]
    );
}

#[tokio::test]
async fn what_cannot_be_mapped_is_refused_in_the_words_of_aws() {
    let Some(moto) = moto("what_cannot_be_mapped_is_refused_in_the_words_of_aws") else { return };
    let server = Reader::new("").server(&moto).start().await;
    let queue = moto.arn("sqs", "orders");
    let stream = moto.arn("kinesis", "stream/orders");
    let code = format!(
        r#"
client('sqs').create_queue(QueueName='orders')
client('sqs').create_queue(QueueName='short', Attributes={{'VisibilityTimeout': '9'}})
client('kinesis').create_stream(StreamName='orders', ShardCount=1)
create = api.create_event_source_mapping
print(json.dumps([
    refused(create, FunctionName='nobody', EventSourceArn='{queue}'),
    refused(create, FunctionName='reader', EventSourceArn='arn:aws:s3:::bucket'),
    refused(create, FunctionName='reader', EventSourceArn='{queue}', BatchSize=11),
    refused(create, FunctionName='reader', EventSourceArn='{queue}', DestinationConfig={{'OnFailure': {{'Destination': '{queue}'}}}}),
    refused(create, FunctionName='reader', EventSourceArn='{stream}'),
    refused(create, FunctionName='reader', EventSourceArn='{queue}x'),
    refused(create, FunctionName='reader', EventSourceArn='{stream}x', StartingPosition='LATEST'),
    refused(create, FunctionName='reader', EventSourceArn='arn:aws:sqs:us-east-1:123456789012:short'),
    refused(create, FunctionName='reader', EventSourceArn='{queue}', KMSKeyArn='arn:aws:kms:us-east-1:123456789012:key/1')[::2],
    refused(api.update_event_source_mapping, UUID='00000000-0000-4000-8000-000000000000', BatchSize=3),
    refused(api.delete_event_source_mapping, UUID='00000000-0000-4000-8000-000000000000'),
    plain(create(FunctionName='reader', EventSourceArn='{stream}', StartingPosition='TRIM_HORIZON')),
]))
"#
    );
    let answers = python(&moto, &server, &code);
    let parameter = |message: &str| json!(["InvalidParameterValueException", message, 400]);
    let expected = [
        parameter("Function does not exist"),
        parameter("Unrecognized event source."),
        parameter(
            "Maximum batch window in seconds must be greater than 0 if maximum batch size is greater than 10",
        ),
        parameter("Unsupported DestinationConfig parameter for given event source mapping type."),
        json!([
            "ValidationException",
            "1 validation error detected: Value null at 'startingPosition' failed to satisfy constraint: Member must \
             not be null.",
            400
        ]),
        parameter(
            "Error occurred while ReceiveMessage. SQS Error Code: AWS.SimpleQueueService.NonExistentQueue. SQS Error \
             Message: The specified queue does not exist.",
        ),
        parameter(&format!("Stream not found: {stream}x")),
        parameter("Queue visibility timeout: 9 seconds is less than Function timeout: 25 seconds"),
        json!(["NotImplementedException", 501]),
        json!(["ResourceNotFoundException", "The resource you requested does not exist.", 404]),
        json!(["ResourceNotFoundException", "The resource you requested does not exist.", 404]),
    ];
    for (answer, expected) in answers.as_array().unwrap().iter().zip(&expected) {
        assert_eq!(answer, expected);
    }
    let mut made = answers[11].clone();
    for changing in ["UUID", "EventSourceMappingArn", "LastModified"] {
        assert!(made.as_object_mut().unwrap().remove(changing).is_some(), "{changing}");
    }
    assert_eq!(
        made,
        json!({
            "StartingPosition": "TRIM_HORIZON", "BatchSize": 100, "MaximumBatchingWindowInSeconds": 0,
            "ParallelizationFactor": 1, "EventSourceArn": stream,
            "FunctionArn": "arn:aws:lambda:us-east-1:123456789012:function:reader",
            "LastProcessingResult": "No records processed", "State": "Creating",
            "StateTransitionReason": "User action", "DestinationConfig": {"OnFailure": {}},
            "MaximumRecordAgeInSeconds": -1, "BisectBatchOnFunctionError": false, "MaximumRetryAttempts": -1,
            "TumblingWindowInSeconds": 0, "FunctionResponseTypes": [],
        })
    );
}

#[tokio::test]
async fn a_mapping_waits_for_its_endpoint_and_outlives_a_restart() {
    let Some(moto) = moto("a_mapping_waits_for_its_endpoint_and_outlives_a_restart") else { return };
    let reader = Reader::new("");
    let state = tempfile::tempdir().unwrap();
    let with_state = |builder: TestServerBuilder| {
        builder.argument("--state-dir").argument(&state.path().to_string_lossy())
    };
    moto.python("client('sqs').create_queue(QueueName='orders')");
    // Nobody listens there.
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let server = with_state(reader.server(&moto))
        .variable("AWS_ENDPOINT_URL", &format!("http://{closed}"))
        .start()
        .await;
    let arn = moto.arn("sqs", "orders");
    let code = format!(
        "made = api.create_event_source_mapping(FunctionName='reader', EventSourceArn='{arn}')\n\
         began = time.monotonic()\n\
         while True:\n\
         \x20   mapping = api.get_event_source_mapping(UUID=made['UUID'])\n\
         \x20   if 'LastProcessingResult' in mapping: break\n\
         \x20   assert time.monotonic() - began < 30, mapping\n\
         print(json.dumps([made['UUID'], mapping['State'], mapping['LastProcessingResult']]))"
    );
    let answer = python(&moto, &server, &code);
    assert_eq!(answer[1], "Creating");
    let told = answer[2].as_str().unwrap();
    assert!(told.starts_with("PROBLEM: SQS at http://127.0.0.1:"), "{told}");
    let line = server.wait_for_terminal("it is tried again");
    assert!(line.contains(&arn), "{line}");
    drop(server);

    let server = with_state(reader.server(&moto)).start().await;
    let uuid = answer[0].as_str().unwrap();
    python(&moto, &server, &format!("wait_for('{uuid}', 'Enabled')"));
    moto.python(
        "queue = client('sqs').get_queue_url(QueueName='orders')['QueueUrl']\n\
         client('sqs').send_message(QueueUrl=queue, MessageBody='late')",
    );
    reader.wait_for_bodies(&["late"]);
}
