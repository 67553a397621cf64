//! Schedules: they fire once for each due time, also when the gateway is killed and started again.

use std::path::Path;
use std::process::{Child, Stdio};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::harness::{PATIENCE, TestServer, TestServerBuilder, eventually, program};

/// Appends each event to `events.jsonl` of the project.
pub const KEEP: &str = "import json, os\n\
    FILE = os.path.join(os.path.dirname(__file__), '..', '..', 'events.jsonl')\n\
    def lambda_handler(event, context):\n\
    \x20   line = json.dumps([context.aws_request_id, event]) + '\\n'\n\
    \x20   with open(FILE, 'a') as file:\n\
    \x20       file.write(line)\n";

/// What `KEEP` has kept: request ids and events.
pub fn kept(folder: &Path) -> Vec<(String, Value)> {
    let text = std::fs::read_to_string(folder.join("events.jsonl")).unwrap_or_default();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Waits until so many events have been kept.
pub fn wait_for_events(folder: &Path, count: usize) -> Vec<(String, Value)> {
    eventually(&format!("{count} events"), || kept(folder).len() >= count);
    kept(folder)
}

fn scheduled(kind: &str, expression: &str) -> String {
    let name = if kind == "Schedule" { "Schedule" } else { "ScheduleExpression" };
    format!("Events:\n  Tick:\n    Type: {kind}\n    Properties:\n      {name}: {expression}\n")
}

/// The gateway again, in the folder of one that was killed.
pub struct Again(Child);

impl Again {
    pub fn start(server: &TestServer) -> Self {
        let child = program()
            .arg("serve")
            .arg(server.handlers())
            .args(["--port", "0", "--api-port", "0"])
            .current_dir(server.folder())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Self(child.unwrap())
    }

    pub fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Again {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Whether a schedule of this function has made it.
fn is_of(function: &str, event: &Value) -> bool {
    event["resources"][0].as_str().is_some_and(|arn| arn.contains(function))
}

fn kill(server: &mut TestServer) {
    server.signal(rustix::process::Signal::KILL);
    server.wait_for_exit();
}

#[tokio::test]
async fn a_rate_of_the_scheduler_begins_at_once_and_not_again_after_a_crash() {
    let mut server = TestServerBuilder::new()
        .handler("tick", KEEP)
        .file("tick/function.yaml", &scheduled("ScheduleV2", "rate(1 day)"))
        .start()
        .await;
    let events = wait_for_events(server.folder(), 1);
    let (id, event) = &events[0];
    assert_eq!(event["id"], Value::from(id.as_str()), "the request has the event's id");
    assert_eq!(
        (&event["source"], &event["detail-type"], &event["detail"]),
        (&"aws.scheduler".into(), &"Scheduled Event".into(), &"{}".into())
    );
    kill(&mut server);
    for _ in 0..3 {
        // A function that is invoked when all has been settled tells that nothing came before it.
        server.write("mark/lambda_function.py", KEEP);
        server.write("mark/function.yaml", &scheduled("ScheduleV2", "rate(2 days)"));
        let again = Again::start(&server);
        eventually("the mark", || kept(server.folder()).iter().any(|(_, event)| is_of("mark", event)));
        again.kill();
        // An invocation that the crash has met comes again, as itself.
        let events = kept(server.folder());
        let ids: std::collections::BTreeSet<&String> = events.iter().map(|(id, _)| id).collect();
        assert_eq!(ids.len(), 2, "{events:?}");
    }
}

#[tokio::test]
async fn a_time_that_passed_while_the_gateway_was_down_is_caught_up_once() {
    let due = Timestamp::now() + SignedDuration::from_secs(4);
    let at = format!("at({})", due.strftime("%Y-%m-%dT%H:%M:%S"));
    let mut server = TestServerBuilder::new()
        .handler("once", KEEP)
        .file("once/function.yaml", &scheduled("ScheduleV2", &at))
        // Fires when the schedules have been settled, and so has the other.
        .handler("ready", KEEP)
        .file("ready/function.yaml", &scheduled("ScheduleV2", "rate(1 day)"))
        .start()
        .await;
    wait_for_events(server.folder(), 1);
    kill(&mut server);
    assert!(Timestamp::now() < due, "the machine is too slow for this test");
    let passed = || Timestamp::now() > due + SignedDuration::from_secs(1);
    eventually("the time has passed", passed);
    let again = Again::start(&server);
    let fired = |function: &str| {
        let events = kept(server.folder());
        let events = events.into_iter().filter(|(_, event)| is_of(function, event));
        events.map(|(id, event)| (id, event["time"].clone())).collect::<std::collections::BTreeMap<_, _>>()
    };
    eventually("the time is caught up", || !fired("once").is_empty());
    again.kill();
    server.write("mark/lambda_function.py", KEEP);
    server.write("mark/function.yaml", &scheduled("ScheduleV2", "rate(2 days)"));
    let _again = Again::start(&server);
    eventually("the mark", || !fired("mark").is_empty());
    let time = Value::from(due.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
    assert_eq!(fired("once").into_values().collect::<Vec<_>>(), [time]);
    crate::catalogue::seen("55", "once", None);
}

#[tokio::test]
async fn a_schedule_that_is_saved_counts_from_then_on() {
    let server = TestServerBuilder::new().handler("tick", KEEP).start().await;
    let due = Timestamp::now() + SignedDuration::from_secs(2);
    let at = format!("at({})", due.strftime("%Y-%m-%dT%H:%M:%S"));
    server.write("tick/function.yaml", &scheduled("ScheduleV2", &at));
    let began = std::time::Instant::now();
    let events = wait_for_events(server.folder(), 1);
    assert!(began.elapsed() < PATIENCE);
    let time = due.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    assert_eq!(events[0].1["time"], Value::from(time));
    server.wait_for_terminal("invokes tick");
}

#[tokio::test]
async fn an_input_takes_the_place_of_the_event() {
    let yaml = scheduled("ScheduleV2", "rate(1 day)")
        + "      Input: '{\"at\": \"<aws.scheduler.scheduled-time>\", \"try\": <aws.scheduler.attempt-number>}'\n";
    let server =
        TestServerBuilder::new().handler("tick", KEEP).file("tick/function.yaml", &yaml).start().await;
    let events = wait_for_events(server.folder(), 1);
    assert_eq!(events[0].1["try"], 1);
    let at = events[0].1["at"].as_str().unwrap();
    at.parse::<Timestamp>().unwrap();
}
