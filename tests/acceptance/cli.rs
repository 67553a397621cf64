//! Every command as a user types it: what it prints, where it prints it, and how it ends.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;

use serde_json::{Value, json};

use crate::commands::{self, Ended};
use crate::harness::{PATIENCE, TestServerBuilder, program};

/// A folder to type commands in.
struct Desk(tempfile::TempDir);

impl Desk {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn file(self, path: &str, content: &str) -> Self {
        let path = self.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
        self
    }

    fn handler(self, name: &str, body: &str) -> Self {
        let source = format!("import os\n\ndef lambda_handler(event, context):\n    {body}\n");
        self.file(&format!("handlers/{name}/lambda_function.py"), &source)
    }

    fn command(&self) -> Command {
        let mut command = program();
        command.current_dir(self.path()).env_remove("COLUMNS");
        command
    }

    fn run(&self, arguments: &[&str]) -> Ended {
        commands::run(self.command().args(arguments), "")
    }

    fn run_with(&self, variables: &[(&str, &str)], arguments: &[&str]) -> Ended {
        commands::run(self.command().envs(variables.iter().copied()).args(arguments), "")
    }
}

fn stdout_of(ended: Ended) -> String {
    assert_eq!(ended.code, Some(0), "{ended:?}");
    ended.stdout
}

/// Standard error of a command that could not do what was asked.
fn refusal(ended: Ended, code: i32) -> String {
    assert_eq!(ended.code, Some(code), "{ended:?}");
    assert_eq!(ended.stdout, "", "an error is not data");
    ended.stderr
}

fn help(arguments: &[&str]) -> String {
    let text = stdout_of(Desk::new().run(arguments));
    text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

#[test]
fn help_says_what_there_is() {
    insta::assert_snapshot!(help(&["--help"]), @r#"
    Runs AWS Lambda handlers written in Python behind an API Gateway, on your own machine.

    A SAM or CloudFormation template (`template.yaml`) is served as it is: its functions, APIs and
    authorizers. Without one, a folder `handlers/NAME/` with a `lambda_function.py` is a function that
    answers on http://127.0.0.1:3000/NAME. Both answer to `aws lambda invoke --endpoint-url
    http://127.0.0.1:3001`. Saving a file deploys it.

    Usage: handlerd [COMMAND] [OPTIONS]

    Commands:
      serve        Serve a template, or the functions of a folder; what happens without a command
      new          Make a new function from a small example
      invoke       Run a function once, without a server, and print its result
      list         List the functions
      routes       List the routes and the functions behind them
      event        Print a sample event of any source
      export       Write a SAM template of what is served
      logs         Show what functions have logged
      queue        Show, retry or discard asynchronous invocations that wait or have failed
      credentials  Make, list and revoke credentials for the control plane
      audit        Show who has changed what, and check that the log of it is whole
      backup       Write the state folder into one file, also while handlerd serves
      restore      Put a backup into a state folder that is empty
      check        Check the template and every function: its configuration, and whether it can be
                   loaded
      doctor       Show the Pythons found on this machine and what is wrong with them
      help         Print this message or the help of the given subcommand(s)

    Options:
      -h, --help
              Print help (see a summary with '-h')

      -V, --version
              Print version

    Examples:
      handlerd                                  serve ./template.yaml, or else ./handlers
      handlerd new hello                        make handlers/hello/ with a first handler in it
      handlerd invoke hello --event '{"a": 1}'  run it once, without a server
      handlerd logs hello --follow              see what it prints
      handlerd event sqs > event.json           a sample event, to edit and to pass to `invoke`
      handlerd export --output template.yaml    make a SAM template of ./handlers

    Without a command, handlerd serves: `handlerd --port 4000` is `handlerd serve --port 4000`. Every
    option can also be given as HANDLERD_NAME in the environment, or in handlerd.toml beside the
    handlers folder; the command line wins, then the environment, then the file.
    "#);
    insta::assert_snapshot!(help(&["serve", "--help"]), @"
    Serve a template, or the functions of a folder; what happens without a command

    Usage: handlerd serve [OPTIONS] [FOLDER]

    Arguments:
      [FOLDER]  Folder whose subfolders are the functions [default: handlers] [env: HANDLERD_HANDLERS]

    Options:
      -t, --template <FILE>
              SAM or CloudFormation template to serve [default: template.yaml, if it is there and no
              FOLDER is named] [env: HANDLERD_TEMPLATE]
          --parameter-overrides <KEY=VALUE>...
              Values for the template's parameters, also in SAM's forms [default: those of
              samconfig.toml] [env: HANDLERD_PARAMETER_OVERRIDES]
      -n, --env-vars <FILE>
              Environment variables by function, a file in SAM's format [default: none] [env:
              HANDLERD_ENV_VARS]
          --config-env <NAME>
              Section of samconfig.toml to read [default: default] [env: HANDLERD_CONFIG_ENV]
          --state-dir <FOLDER>
              Folder for logs and other state [default: .handlerd beside the handlers folder] [env:
              HANDLERD_STATE_DIR]
          --python <PYTHON>
              Python to use: a version such as 3.12, an executable, or a virtual environment [default:
              that of the nearest virtual environment, else python3] [env: HANDLERD_PYTHON]
          --buckets <FOLDER>
              Folder whose subfolders stand for S3 buckets [default: buckets beside the handlers folder]
              [env: HANDLERD_BUCKETS]
          --isolation <auto|0>
              How handlers are kept to themselves: `auto`, all that this machine can, or 0, nothing
              [default: auto] [env: HANDLERD_ISOLATION] [possible values: auto, 0]
          --require-isolation <TIER>
              Run nothing unless this tier of isolation is in force: 0 to 4 [default: 0] [env:
              HANDLERD_REQUIRE_ISOLATION]
          --writable <PATH,...>
              Folders and files that handlers may write to, beside /tmp [default: none] [env:
              HANDLERD_WRITABLE]
          --region <REGION>
              Region in ARNs and AWS_REGION [default: us-east-1] [env: HANDLERD_REGION]
          --account-id <ID>
              Account in ARNs [default: 123456789012] [env: HANDLERD_ACCOUNT_ID]
          --host <ADDRESS>
              Address to listen on [default: 127.0.0.1] [env: HANDLERD_HOST]
          --port <PORT>
              Port of the HTTP routes; 0 takes any free one [default: 3000] [env: HANDLERD_PORT]
          --api-port <PORT>
              Port of the console and the Lambda API; 0 takes any free one [default: 3001] [env:
              HANDLERD_API_PORT]
          --tls[=<BOOL>]
              HTTPS in place of HTTP, with a certificate of its own making [default: false] [env:
              HANDLERD_TLS]
          --tls-cert <FILE>
              HTTPS with the certificate in this PEM file [default: none] [env: HANDLERD_TLS_CERT]
          --tls-key <FILE>
              The key of that certificate, a PEM file [default: none] [env: HANDLERD_TLS_KEY]
          --preload <MODULE,...>
              Modules such as boto3 that every execution environment finds imported already, so that it
              starts sooner [default: none] [env: HANDLERD_PRELOAD]
          --snap-start <VERSIONS>
              Which versions of functions with SnapStart start from a snapshot: the published ones as on
              AWS, $LATEST too, or none [default: published] [env: HANDLERD_SNAP_START] [possible
              values: off, published, latest]
          --install-packages[=<BOOL>]
              Install what a function's requirements.txt asks for, with uv or pip [default: true] [env:
              HANDLERD_INSTALL_PACKAGES]
          --keep-last-good[=<BOOL>]
              Go on with the last version that worked when new code cannot be loaded [default: false]
              [env: HANDLERD_KEEP_LAST_GOOD]
          --act-as <JSON|FILE>
              Claims of a user, as JSON: routes that ask for an authorizer let everybody pass as that
              user; for development only [default: none] [env: HANDLERD_ACT_AS]
          --jwks <ISSUER=URL|FILE>...
              Keys of a JWT issuer that does not exist here, or cannot be reached [default: those that
              the issuer publishes] [env: HANDLERD_JWKS]
          --credentials <FILE>
              Access keys and tokens in the form of ~/.aws/credentials, as AWS_IAM accepts them, and the
              control plane where it asks for them [default: those in the environment of handlerd] [env:
              HANDLERD_CREDENTIALS]
          --require-credentials[=<BOOL>]
              The control plane asks for credentials on loopback too, as it always does elsewhere
              [default: false] [env: HANDLERD_REQUIRE_CREDENTIALS]
          --allowed-host <NAME>...
              Another name under which the control plane is reached [default: localhost and the address
              that it listens on] [env: HANDLERD_ALLOWED_HOST]
          --behind-proxy[=<BOOL>]
              A proxy in front ends HTTPS; the control plane then speaks to no other machine [default:
              false] [env: HANDLERD_BEHIND_PROXY]
          --trusted-proxy <CIDR>...
              Address or network of a proxy whose X-Forwarded headers are believed [default: none] [env:
              HANDLERD_TRUSTED_PROXY]
          --log-format <FORMAT>
              How log lines look [default: text] [env: HANDLERD_LOG_FORMAT] [possible values: text,
              json]
          --concurrency <N>
              Execution environments at once, over all functions [default: 100] [env:
              HANDLERD_CONCURRENCY]
          --queue <N>
              Requests that may wait for one function; more are turned away [default: 1000] [env:
              HANDLERD_QUEUE]
          --queue-timeout <SECONDS>
              How long a request may wait for an environment [default: 10] [env: HANDLERD_QUEUE_TIMEOUT]
          --idle-timeout <SECONDS>
              How long an environment without work is kept [default: 300] [env: HANDLERD_IDLE_TIMEOUT]
          --drain-timeout <SECONDS>
              How long requests in flight may take when the server stops [default: 30] [env:
              HANDLERD_DRAIN_TIMEOUT]
          --integration-timeout <SECONDS>
              How long an HTTP route waits for its function, 30 on AWS [default: 30] [env:
              HANDLERD_INTEGRATION_TIMEOUT]
          --max-connections <N>
              Connections that clients may have open on each port; more are turned away [default: 10000]
              [env: HANDLERD_MAX_CONNECTIONS]
          --max-connections-per-ip <N>
              Of these, from one address [default: 256, and no limit for this machine itself] [env:
              HANDLERD_MAX_CONNECTIONS_PER_IP]
          --threads <N>
              Threads of the gateway, beside those of the handlers [default: one for every four cores]
              [env: HANDLERD_THREADS]
      -h, --help
              Print help
    ");
    insta::assert_snapshot!(help(&["new", "--help"]), @r#"
    Make a new function from a small example

    Usage: handlerd new [OPTIONS] <NAME>

    Arguments:
      <NAME>  Name of the function: letters, digits, `-` and `_`

    Options:
          --handlers <FOLDER>  Folder whose subfolders are the functions [default: handlers] [env:
                               HANDLERD_HANDLERS]
      -h, --help               Print help
    "#);
    insta::assert_snapshot!(help(&["invoke", "--help"]), @"
    Run a function once, without a server, and print its result

    Usage: handlerd invoke [OPTIONS] <NAME>

    Arguments:
      <NAME>  Name of the function

    Options:
      -e, --event <JSON|FILE|->
              The event: JSON, a file, or `-` for standard input [default: {}]
          --test-event <EVENT>
              A saved event of the function, as the console keeps them: handlers/NAME/.events/EVENT.json
          --tail
              Show the whole log, from START to REPORT
          --handlers <FOLDER>
              Folder whose subfolders are the functions [default: handlers] [env: HANDLERD_HANDLERS]
      -t, --template <FILE>
              SAM or CloudFormation template to serve [default: template.yaml, if it is there and no
              FOLDER is named] [env: HANDLERD_TEMPLATE]
          --parameter-overrides <KEY=VALUE>...
              Values for the template's parameters, also in SAM's forms [default: those of
              samconfig.toml] [env: HANDLERD_PARAMETER_OVERRIDES]
      -n, --env-vars <FILE>
              Environment variables by function, a file in SAM's format [default: none] [env:
              HANDLERD_ENV_VARS]
          --config-env <NAME>
              Section of samconfig.toml to read [default: default] [env: HANDLERD_CONFIG_ENV]
          --state-dir <FOLDER>
              Folder for logs and other state [default: .handlerd beside the handlers folder] [env:
              HANDLERD_STATE_DIR]
          --python <PYTHON>
              Python to use: a version such as 3.12, an executable, or a virtual environment [default:
              that of the nearest virtual environment, else python3] [env: HANDLERD_PYTHON]
          --buckets <FOLDER>
              Folder whose subfolders stand for S3 buckets [default: buckets beside the handlers folder]
              [env: HANDLERD_BUCKETS]
          --isolation <auto|0>
              How handlers are kept to themselves: `auto`, all that this machine can, or 0, nothing
              [default: auto] [env: HANDLERD_ISOLATION] [possible values: auto, 0]
          --require-isolation <TIER>
              Run nothing unless this tier of isolation is in force: 0 to 4 [default: 0] [env:
              HANDLERD_REQUIRE_ISOLATION]
          --writable <PATH,...>
              Folders and files that handlers may write to, beside /tmp [default: none] [env:
              HANDLERD_WRITABLE]
          --region <REGION>
              Region in ARNs and AWS_REGION [default: us-east-1] [env: HANDLERD_REGION]
          --account-id <ID>
              Account in ARNs [default: 123456789012] [env: HANDLERD_ACCOUNT_ID]
      -h, --help
              Print help
    ");
    insta::assert_snapshot!(help(&["list", "--help"]), @"
    List the functions

    Usage: handlerd list [OPTIONS] [FOLDER]

    Arguments:
      [FOLDER]  Folder whose subfolders are the functions [default: handlers] [env: HANDLERD_HANDLERS]

    Options:
      -t, --template <FILE>
              SAM or CloudFormation template to serve [default: template.yaml, if it is there and no
              FOLDER is named] [env: HANDLERD_TEMPLATE]
          --parameter-overrides <KEY=VALUE>...
              Values for the template's parameters, also in SAM's forms [default: those of
              samconfig.toml] [env: HANDLERD_PARAMETER_OVERRIDES]
      -n, --env-vars <FILE>
              Environment variables by function, a file in SAM's format [default: none] [env:
              HANDLERD_ENV_VARS]
          --config-env <NAME>
              Section of samconfig.toml to read [default: default] [env: HANDLERD_CONFIG_ENV]
          --json
              One JSON document instead of a table
      -h, --help
              Print help
    ");
    insta::assert_snapshot!(help(&["routes", "--help"]), @"
    List the routes and the functions behind them

    Usage: handlerd routes [OPTIONS] [FOLDER]

    Arguments:
      [FOLDER]  Folder whose subfolders are the functions [default: handlers] [env: HANDLERD_HANDLERS]

    Options:
      -t, --template <FILE>
              SAM or CloudFormation template to serve [default: template.yaml, if it is there and no
              FOLDER is named] [env: HANDLERD_TEMPLATE]
          --parameter-overrides <KEY=VALUE>...
              Values for the template's parameters, also in SAM's forms [default: those of
              samconfig.toml] [env: HANDLERD_PARAMETER_OVERRIDES]
      -n, --env-vars <FILE>
              Environment variables by function, a file in SAM's format [default: none] [env:
              HANDLERD_ENV_VARS]
          --config-env <NAME>
              Section of samconfig.toml to read [default: default] [env: HANDLERD_CONFIG_ENV]
      -h, --help
              Print help
    ");
    insta::assert_snapshot!(help(&["logs", "--help"]), @r#"
    Show what functions have logged

    Usage: handlerd logs [OPTIONS] [NAME]

    Arguments:
      [NAME]  Only the log of this function

    Options:
      -f, --follow              Go on with new lines as they come, until Ctrl-C
      -n, --lines <N>           Only the last N lines [default: 1000]
          --request <ID>        Only lines of the invocation with this request id
          --handlers <FOLDER>   Folder whose subfolders are the functions [default: handlers] [env:
                                HANDLERD_HANDLERS]
          --state-dir <FOLDER>  Folder for logs and other state [default: .handlerd beside the handlers
                                folder] [env: HANDLERD_STATE_DIR]
      -h, --help                Print help
    "#);
    insta::assert_snapshot!(help(&["check", "--help"]), @"
    Check the template and every function: its configuration, and whether it can be loaded

    Usage: handlerd check [OPTIONS] [FOLDER]

    Arguments:
      [FOLDER]  Folder whose subfolders are the functions [default: handlers] [env: HANDLERD_HANDLERS]

    Options:
      -t, --template <FILE>
              SAM or CloudFormation template to serve [default: template.yaml, if it is there and no
              FOLDER is named] [env: HANDLERD_TEMPLATE]
          --parameter-overrides <KEY=VALUE>...
              Values for the template's parameters, also in SAM's forms [default: those of
              samconfig.toml] [env: HANDLERD_PARAMETER_OVERRIDES]
      -n, --env-vars <FILE>
              Environment variables by function, a file in SAM's format [default: none] [env:
              HANDLERD_ENV_VARS]
          --config-env <NAME>
              Section of samconfig.toml to read [default: default] [env: HANDLERD_CONFIG_ENV]
          --state-dir <FOLDER>
              Folder for logs and other state [default: .handlerd beside the handlers folder] [env:
              HANDLERD_STATE_DIR]
          --python <PYTHON>
              Python to use: a version such as 3.12, an executable, or a virtual environment [default:
              that of the nearest virtual environment, else python3] [env: HANDLERD_PYTHON]
          --buckets <FOLDER>
              Folder whose subfolders stand for S3 buckets [default: buckets beside the handlers folder]
              [env: HANDLERD_BUCKETS]
          --isolation <auto|0>
              How handlers are kept to themselves: `auto`, all that this machine can, or 0, nothing
              [default: auto] [env: HANDLERD_ISOLATION] [possible values: auto, 0]
          --require-isolation <TIER>
              Run nothing unless this tier of isolation is in force: 0 to 4 [default: 0] [env:
              HANDLERD_REQUIRE_ISOLATION]
          --writable <PATH,...>
              Folders and files that handlers may write to, beside /tmp [default: none] [env:
              HANDLERD_WRITABLE]
          --region <REGION>
              Region in ARNs and AWS_REGION [default: us-east-1] [env: HANDLERD_REGION]
          --account-id <ID>
              Account in ARNs [default: 123456789012] [env: HANDLERD_ACCOUNT_ID]
          --no-load
              Do not load the handlers, only read their configuration
      -h, --help
              Print help
    ");
    insta::assert_snapshot!(help(&["doctor", "--help"]), @"
    Show the Pythons found on this machine and what is wrong with them

    Usage: handlerd doctor [OPTIONS] [FOLDER]

    Arguments:
      [FOLDER]  Folder whose subfolders are the functions [default: handlers] [env: HANDLERD_HANDLERS]

    Options:
      -t, --template <FILE>
              SAM or CloudFormation template to serve [default: template.yaml, if it is there and no
              FOLDER is named] [env: HANDLERD_TEMPLATE]
          --parameter-overrides <KEY=VALUE>...
              Values for the template's parameters, also in SAM's forms [default: those of
              samconfig.toml] [env: HANDLERD_PARAMETER_OVERRIDES]
      -n, --env-vars <FILE>
              Environment variables by function, a file in SAM's format [default: none] [env:
              HANDLERD_ENV_VARS]
          --config-env <NAME>
              Section of samconfig.toml to read [default: default] [env: HANDLERD_CONFIG_ENV]
          --state-dir <FOLDER>
              Folder for logs and other state [default: .handlerd beside the handlers folder] [env:
              HANDLERD_STATE_DIR]
          --python <PYTHON>
              Python to use: a version such as 3.12, an executable, or a virtual environment [default:
              that of the nearest virtual environment, else python3] [env: HANDLERD_PYTHON]
      -h, --help
              Print help
    ");
    assert_eq!(help(&["help", "new"]), help(&["new", "--help"]));
    assert_eq!(help(&["--version"]), format!("handlerd {}", env!("CARGO_PKG_VERSION")));
}

/// What stands in the environment is seen by nobody who asks for help.
#[test]
fn help_keeps_values_of_variables_to_itself() {
    let text = stdout_of(Desk::new().run_with(&[("HANDLERD_REGION", "eu-west-1")], &["serve", "--help"]));
    assert!(text.contains("HANDLERD_REGION") && !text.contains("eu-west-1"), "{text}");
}

#[test]
fn what_is_no_command_is_said_to_be_none() {
    let desk = Desk::new();
    insta::assert_snapshot!(refusal(desk.run(&["lst"]), 1), @"
    error: there is no command `lst`, and no folder of that name to serve
    hint: the commands are serve, new, invoke, list, routes, event, export, logs, queue, credentials, audit, backup, restore, check, doctor; `handlerd --help` says what they do
    ");
    insta::assert_snapshot!(refusal(desk.run(&["some/folder"]), 1), @"
    error: there is no folder some/folder
    hint: `handlerd new hello` makes it, with a first function in it; or name another: `handlerd serve FOLDER`
    ");
    insta::assert_snapshot!(refusal(desk.run(&["--prot", "1"]), 2), @"
    error: unexpected argument '--prot' found

      tip: a similar argument exists: '--port'

    Usage: handlerd serve --port <PORT> [FOLDER]

    For more information, try '--help'.
    ");
}

#[test]
fn new_makes_a_function_that_works() {
    let desk = Desk::new();
    let made = desk.run(&["new", "hello"]);
    assert_eq!(made.stderr, "it answers on http://127.0.0.1:3000/hello when `handlerd` runs\n");
    assert_eq!(stdout_of(made), "handlers/hello/lambda_function.py\n");
    let event = r#"{"queryStringParameters": {"name": "Kim"}}"#;
    let result: Value =
        serde_json::from_str(&stdout_of(desk.run(&["invoke", "hello", "--event", event]))).unwrap();
    assert_eq!(result, json!({"statusCode": 200, "body": r#""Hello from Kim!""#}));
}

#[test]
fn new_never_overwrites_anything() {
    let desk = Desk::new().file("handlers/hello/lambda_function.py", "precious");
    insta::assert_snapshot!(refusal(desk.run(&["new", "hello"]), 1), @"
    error: handlers/hello/lambda_function.py exists already
    hint: choose another name, or edit that file
    ");
    let kept = std::fs::read_to_string(desk.path().join("handlers/hello/lambda_function.py")).unwrap();
    assert_eq!(kept, "precious");
}

#[test]
fn new_takes_the_names_that_lambda_takes() {
    let desk = Desk::new();
    insta::assert_snapshot!(refusal(desk.run(&["new", "my function"]), 2), @"
    error: invalid value 'my function' for '<NAME>': `my function` contains ' '; Lambda allows letters, digits, `-` and `_` in a function's name

    For more information, try '--help'.
    ");
    for name in ["", "../evil", "a.b", "/tmp/x", "é", &"x".repeat(65)] {
        refusal(desk.run(&["new", name]), 2);
    }
    assert_eq!(std::fs::read_dir(desk.path()).unwrap().count(), 0, "a refused name leaves something behind");
    stdout_of(desk.run(&["new", &"x".repeat(64)]));
    stdout_of(desk.run(&["new", "there", "--handlers", "else/where"]));
    assert!(desk.path().join("else/where/there/lambda_function.py").is_file());
}

#[test]
fn invoke_takes_its_event_from_where_it_is() {
    let desk = Desk::new().handler("echo", "return event").file("event.json", r#"{"from": "a file"}"#);
    assert_eq!(stdout_of(desk.run(&["invoke", "echo"])), "{}\n");
    assert_eq!(
        stdout_of(desk.run(&["invoke", "echo", "--event", r#"{"a": [1, "é"]}"#])),
        "{\"a\": [1, \"\\u00e9\"]}\n"
    );
    assert_eq!(stdout_of(desk.run(&["invoke", "echo", "-e", "event.json"])), "{\"from\": \"a file\"}\n");
    let ended = commands::run(desk.command().args(["invoke", "echo", "--event", "-"]), "[\"from stdin\"]");
    assert_eq!(stdout_of(ended), "[\"from stdin\"]\n");
    insta::assert_snapshot!(refusal(desk.run(&["invoke", "echo", "--event", "{a: 1}"]), 1), @"
    error: the event in --event is no JSON: key must be a string at line 1 column 2
    hint: --event takes JSON, the path of a file, or `-`
    ");
    insta::assert_snapshot!(
        refusal(desk.run(&["invoke", "echo", "--event", "evnt.json"]), 1),
        @"error: there is no file evnt.json to read the event from"
    );
}

#[test]
fn invoke_prints_the_result_alone_and_the_log_beside_it() {
    let desk = Desk::new().handler("prints", "print('hello from inside'); return 1");
    let plain = desk.run(&["invoke", "prints"]);
    assert!(plain.stderr.contains("prints | hello from inside"), "{plain:?}");
    assert_eq!(stdout_of(plain), "1\n");
    let tail = desk.run(&["invoke", "prints", "--tail"]);
    let lines: Vec<&str> = tail.stderr.lines().collect();
    assert!(lines[0].starts_with("INIT_START Runtime Version: "), "{tail:?}");
    assert!(lines[1].starts_with("START RequestId: ") && lines[1].ends_with(" Version: $LATEST"), "{tail:?}");
    assert_eq!(lines[2], "hello from inside");
    assert!(
        lines[3].starts_with("END RequestId: ") && lines[4].starts_with("REPORT RequestId: "),
        "{tail:?}"
    );
    assert_eq!(stdout_of(tail), "1\n");
}

#[test]
fn invoke_ends_with_one_when_the_function_fails() {
    let desk = Desk::new()
        .handler("raises", "raise ValueError('on purpose')")
        .handler("loops", "\n    while True: pass")
        .file("handlers/loops/function.yaml", "Timeout: 1\n");
    let raised = desk.run(&["invoke", "raises"]);
    assert_eq!(raised.code, Some(1), "{raised:?}");
    let error: Value = serde_json::from_str(&raised.stdout).unwrap();
    assert_eq!((&error["errorType"], &error["errorMessage"]), (&json!("ValueError"), &json!("on purpose")));
    assert!(raised.stderr.contains("error: raises raised ValueError: on purpose"), "{raised:?}");
    assert!(raised.stderr.contains("Traceback (most recent call last)"), "{raised:?}");
    let late = desk.run(&["invoke", "loops"]);
    assert_eq!(late.code, Some(1), "{late:?}");
    assert!(late.stdout.contains(r#""errorType":"Sandbox.Timedout""#), "{late:?}");
    assert!(late.stderr.contains("loops was ended: it had not answered after 1 s, its Timeout"), "{late:?}");
}

#[test]
fn invoke_names_what_there_is() {
    let desk = Desk::new().handler("hello", "pass").handler("other", "pass");
    insta::assert_snapshot!(refusal(desk.run(&["invoke", "helo"]), 1), @"
    error: there is no function `helo`
    hint: there are: hello, other
    ");
    let empty = Desk::new();
    std::fs::create_dir(empty.path().join("handlers")).unwrap();
    insta::assert_snapshot!(refusal(empty.run(&["invoke", "hello"]), 1), @"
    error: there is no function `hello`
    hint: there are none yet; `handlerd new hello` makes it
    ");
    let broken = Desk::new().handler("hello", "pass").file("handlers/hello/function.yaml", "Timeout: 0\n");
    insta::assert_snapshot!(refusal(broken.run(&["invoke", "hello"]), 1), @"error: function `hello` cannot run: handlers/hello/function.yaml:1: `Timeout` must be a whole number of seconds from 1 to 900, not `0`");
}

#[test]
fn list_and_routes_show_what_is_deployed() {
    let desk = Desk::new()
        .handler("hello", "pass")
        .file("handlers/hello/function.yaml", "Timeout: 10\nRuntime: python3.12\nDescription: greets\n")
        .handler("wrong", "pass")
        .file("handlers/wrong/function.yaml", "Timeout: soon\n");
    insta::assert_snapshot!(stdout_of(desk.run(&["list"])), @"
    NAME   HANDLER                         RUNTIME     TIMEOUT  MEMORY  DESCRIPTION
    hello  lambda_function.lambda_handler  python3.12  10 s     128 MB  greets
    wrong  cannot run: handlers/wrong/function.yaml:1: `Timeout` must be a whole number of seconds from 1 to 900, not `soon`
    ");
    let listed: Value = serde_json::from_str(&stdout_of(desk.run(&["list", "--json"]))).unwrap();
    assert_eq!(listed["functions"].as_array().unwrap().len(), 2);
    let hello = &listed["functions"][0];
    assert_eq!(
        (&hello["name"], &hello["timeout"], &hello["memorySize"]),
        (&json!("hello"), &json!(10), &json!(128))
    );
    assert_eq!(
        (&listed["functions"][1]["name"], &listed["functions"][1]["state"]),
        (&json!("wrong"), &json!("Failed"))
    );
    insta::assert_snapshot!(stdout_of(desk.run(&["routes"])), @"
    METHOD  PATH             API                    FUNCTION  AUTHORIZER
    ANY     /hello           HTTP API, payload 2.0  hello     -
    ANY     /hello/{proxy+}  HTTP API, payload 2.0  hello     -
    ANY     /wrong           HTTP API, payload 2.0  wrong     -
    ANY     /wrong/{proxy+}  HTTP API, payload 2.0  wrong     -
    ");
    // From elsewhere, with the folder named.
    let elsewhere = Desk::new();
    let folder = desk.path().join("handlers");
    assert!(stdout_of(elsewhere.run(&["list", folder.to_str().unwrap()])).contains("greets"));
}

#[test]
fn a_missing_or_empty_folder_is_said_to_be_so() {
    let desk = Desk::new();
    for command in ["list", "routes", "check", "serve"] {
        let text = refusal(desk.run(&[command]), 1);
        assert!(text.starts_with("error: there is no folder handlers\nhint: `handlerd new hello`"), "{text}");
    }
    std::fs::create_dir(desk.path().join("handlers")).unwrap();
    let listed = desk.run(&["list"]);
    assert_eq!(
        listed.stderr,
        "there are no functions in handlers yet\nhint: `handlerd new hello` makes one\n"
    );
    assert_eq!(stdout_of(listed), "");
}

#[test]
fn logs_show_what_functions_have_logged() {
    let desk = Desk::new().handler("one", "print('from one')").handler("two", "print('from two')");
    let nothing = desk.run(&["logs"]);
    assert_eq!(nothing.stderr, "no function has logged anything in ./.handlerd\n");
    stdout_of(desk.run(&["invoke", "one"]));
    stdout_of(desk.run(&["invoke", "two"]));
    let one = stdout_of(desk.run(&["logs", "one"]));
    assert!(one.contains("Z from one\n") && !one.contains("from two"), "{one}");
    let both = stdout_of(desk.run(&["logs"]));
    assert!(both.contains(" one from one\n") && both.contains(" two from two\n"), "{both}");
    let request = one.lines().find_map(|line| line.split_once("START RequestId: ")).unwrap().1;
    let request = request.split(' ').next().unwrap();
    let own = stdout_of(desk.run(&["logs", "--request", request]));
    assert!(own.contains("one from one") && own.contains("REPORT") && !own.contains("two"), "{own}");
    let last = stdout_of(desk.run(&["logs", "one", "-n", "1"]));
    assert!(last.lines().count() == 1 && last.contains("REPORT RequestId: "), "{last}");
    assert_eq!(desk.run(&["logs", "nobody"]).stderr, "`nobody` has logged nothing in ./.handlerd\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_follow_a_running_server() {
    let source = "def lambda_handler(event, context):\n    print('asked for', event['rawQueryString'])\n";
    let server = TestServerBuilder::new().handler("hello", source).start().await;
    server.get("/hello?before").await;
    let mut follower = program()
        .args(["logs", "hello", "--follow", "--handlers"])
        .arg(server.handlers())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (sender, lines) = mpsc::channel();
    let stdout = BufReader::new(follower.stdout.take().unwrap());
    std::thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
    let wait_for = |text: &str| {
        let found = std::iter::from_fn(|| lines.recv_timeout(PATIENCE).ok()).any(|line| line.ends_with(text));
        assert!(found, "`{text}` was not followed");
    };
    wait_for("asked for before");
    server.get("/hello?after").await;
    wait_for("asked for after");
    assert!(follower.try_wait().unwrap().is_none(), "it goes on until it is stopped");
    follower.kill().unwrap();
    follower.wait().unwrap();
}

#[test]
fn check_finds_every_mistake_and_its_line() {
    let good = Desk::new().handler("good", "pass");
    let ended = good.run(&["check"]);
    assert_eq!(ended.stderr, "");
    assert_eq!(stdout_of(ended), "ok  good\n");

    let desk = Desk::new()
        .handler("good", "pass")
        .handler("ignored", "pass")
        .file("handlers/ignored/function.yaml", "# other things\nVpcConfig: {SubnetIds: [a]}\n")
        .handler("mistyped", "pass")
        .file("handlers/mistyped/function.yaml", "Description: x\nTimeuot: 3\n")
        .handler("wrong", "pass")
        .file(
            "handlers/wrong/function.yaml",
            "MemorySize: 64\nEnvironment:\n  Variables:\n    AWS_REGION: x\n",
        )
        .handler("yaml", "pass")
        .file("handlers/yaml/function.yaml", "Timeout: [3\n")
        .handler("dotenv", "pass")
        .file("handlers/dotenv/.env", "not an assignment\n")
        .handler("syntax", "return (")
        .handler("imports", "pass\n\nimport no_such_module")
        .file("handlers/named/function.yaml", "Handler: app.main\n")
        .file("handlers/named/app.py", "def other(event, context): pass\n")
        .file("handlers/nearly/app.py", "def main(event, context): pass\n");
    let ended = desk.run(&["check"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    for expected in [
        "warning: handlers/ignored/function.yaml:2: `VpcConfig` is ignored: functions use the network of this machine\n",
        "warning: handlers/mistyped/function.yaml:2: `Timeuot` is no property of AWS::Serverless::Function; it is \
         ignored\nhint: did you mean `Timeout`?\n",
        "error: handlers/wrong/function.yaml:1: `MemorySize` must be a whole number of megabytes from 128 to 10240, \
         not `64`\n",
        "error: handlers/wrong/function.yaml:4: `AWS_REGION` is reserved: ",
        "error: handlers/yaml/function.yaml:2: is not valid YAML: ",
        "error: handlers/dotenv/.env: is not in the form NAME=value: ",
        "warning: handlers/nearly: is no function: it has neither `lambda_function.py` nor `function.yaml`\nhint: ",
    ] {
        assert!(ended.stderr.contains(expected), "no {expected:?} in:\n{}", ended.stderr);
    }
    let rows: Vec<String> =
        ended.stdout.lines().map(|row| row.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(rows.len(), 9, "{}", ended.stdout);
    for expected in [
        "FAILED dotenv its configuration is wrong",
        "ok good",
        "ok ignored",
        "FAILED imports imports could not be loaded: Unable to import module 'lambda_function': No module named \
         'no_such_module' (Runtime.ImportModuleError)",
        "ok mistyped",
        "FAILED named named could not be loaded: Handler 'main' missing on module 'app' (Runtime.HandlerNotFound)",
        "FAILED wrong its configuration is wrong",
        "FAILED yaml its configuration is wrong",
    ] {
        assert!(rows.iter().any(|row| row == expected), "no {expected:?} in:\n{}", ended.stdout);
    }
    assert!(rows.iter().any(|row| row.starts_with("FAILED syntax ") && row.contains("UserCodeSyntaxError")));

    let unloaded = desk.run(&["check", "--no-load"]);
    assert_eq!(unloaded.code, Some(1));
    assert!(unloaded.stdout.contains("ok      syntax\n"), "{unloaded:?}");
}

#[test]
fn doctor_shows_what_functions_run_on() {
    let desk = Desk::new()
        .handler("hello", "pass")
        .handler("wrong", "pass")
        .file("handlers/wrong/function.yaml", "Timeout: 0\n");
    let text = stdout_of(desk.run(&["doctor"]));
    let default = text.lines().find(|line| line.starts_with("*  ")).expect("one Python is the default");
    assert!(default.contains("libpython") && default.contains("  ok"), "{text}");
    let version = default.split_whitespace().nth(1).unwrap();
    assert!(text.contains(&format!("hello  {version}")), "{text}");
    assert!(text.contains("wrong  -  "), "{text}");
    let none = desk.run(&["doctor", "--python", "/no/such/python"]);
    assert_eq!(none.code, Some(1), "{none:?}");
    assert!(none.stderr.contains("--python /no/such/python: there is no such file"), "{none:?}");
}

#[test]
fn serve_says_why_it_cannot_start() {
    let desk = Desk::new().handler("hello", "pass");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    for (arguments, flag) in [
        (["serve", "--port", &port, "--api-port", "0"], "--port"),
        (["serve", "--port", "0", "--api-port", &port], "--api-port"),
    ] {
        let text = refusal(desk.run(&arguments), 1);
        assert!(text.starts_with(&format!("error: could not listen on 127.0.0.1:{port}\n")), "{text}");
        assert!(text.contains("because: Address already in use"), "{text}");
        assert!(text.contains(&format!("choose another with `{flag}` (0: any free one)")), "{text}");
    }
    for host in ["0.0.0.0", "::"] {
        let text = refusal(desk.run(&["--host", host, "--port", "0", "--api-port", "0"]), 1);
        let expected = format!(
            "error: refusing to listen on {host}: anybody who reaches that address could run code on this machine, and \
             there are no credentials in "
        );
        assert!(text.starts_with(&expected), "{text}");
        assert!(text.contains("\nhint: leave out `--host`"), "{text}");
        assert!(text.contains("`handlerd credentials create NAME`"), "{text}");
    }
    let text = refusal(desk.run(&["--host", "example.com"]), 2);
    assert!(text.contains("an IP address is needed, such as 127.0.0.1 or ::1"), "{text}");
    let text = refusal(desk.run(&["--account-id", "12"]), 1);
    assert_eq!(text, "error: `12` is no account id: it must be twelve digits, such as 123456789012\n");
    let text = refusal(desk.run(&["--port", "65536"]), 2);
    assert!(text.contains("invalid value '65536' for '--port <PORT>'"), "{text}");
    for (arguments, expected) in [
        (["--queue", "0"], "`--queue` must be at least 1"),
        (["--concurrency", "0"], "`--concurrency` must be at least 1"),
        (["--idle-timeout", "1e9"], "`1000000000` is no number of seconds for `--idle-timeout`"),
        (["--region", "eu west"], "`eu west` is no region: it should look like us-east-1"),
    ] {
        assert_eq!(refusal(desk.run(&arguments), 1), format!("error: {expected}\n"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_state_folder_has_one_gateway() {
    let server =
        TestServerBuilder::new().handler("hello", "def lambda_handler(e, c): return 1\n").start().await;
    let handlers = server.handlers();
    let second = |more: &[&str]| {
        let mut command = program();
        command.arg("serve").arg(&handlers).args(["--port", "0", "--api-port", "0"]).args(more);
        command
    };
    let text = refusal(commands::run(&mut second(&[]), ""), 1);
    assert!(text.starts_with("error: another handlerd uses "), "{text}");
    assert!(text.contains("hint: stop it, or give this one its own with `--state-dir`"), "{text}");
    assert_eq!(server.get("/hello").await.text(), "1");
    // One invocation beside a running server is no second gateway.
    let mut invoke = program();
    let ended = commands::run(invoke.args(["invoke", "hello", "--handlers"]).arg(&handlers), "");
    assert_eq!(stdout_of(ended), "1\n");
    crate::catalogue::seen("40", "refused", None);
}

#[test]
fn the_command_line_wins_then_the_environment_then_the_file() {
    let desk = Desk::new().handler("region", "return os.environ['AWS_REGION']");
    let region = |desk: &Desk, variables: &[(&str, &str)], more: &[&str]| {
        let arguments: Vec<&str> = ["invoke", "region"].into_iter().chain(more.iter().copied()).collect();
        stdout_of(desk.run_with(variables, &arguments))
    };
    assert_eq!(region(&desk, &[], &[]), "\"us-east-1\"\n");
    let desk = desk.file("handlerd.toml", "region = \"from-file\"\n");
    assert_eq!(region(&desk, &[], &[]), "\"from-file\"\n");
    let variable = [("HANDLERD_REGION", "from-variable")];
    assert_eq!(region(&desk, &variable, &[]), "\"from-variable\"\n");
    assert_eq!(region(&desk, &variable, &["--region", "from-flag"]), "\"from-flag\"\n");
}

/// The file stands beside the handlers folder, and its paths start there.
#[test]
fn the_file_is_found_beside_the_handlers() {
    let desk = Desk::new()
        .file("project/functions/hello/lambda_function.py", "def lambda_handler(e, c): print('kept here')\n")
        .file("project/handlerd.toml", "handlers = \"functions\"\nstate-dir = \"state\"\n");
    let project = desk.path().join("project");
    let mut list = desk.command();
    assert!(stdout_of(commands::run(list.arg("list").current_dir(&project), "")).contains("hello"));
    stdout_of(desk.run(&["invoke", "hello", "--handlers", "project/functions"]));
    let kept = std::fs::read_to_string(project.join("state/logs/hello.log")).unwrap();
    assert!(kept.contains("kept here"), "{kept}");
}

#[test]
fn mistakes_in_the_file_are_named_with_their_line() {
    let desk = Desk::new().handler("hello", "pass").file("handlerd.toml", "# ports\n\nprot = 4000\n");
    let text = refusal(desk.run(&["list"]), 1);
    assert!(
        text.starts_with("error: ./handlerd.toml:3: unknown field `prot`, expected one of `handlers`, "),
        "{text}"
    );
    assert!(text.contains("\nhint: the names are those of the options in `handlerd serve --help`"), "{text}");
    let desk = desk.file("handlerd.toml", "port = \"x\"\n");
    let text = refusal(desk.run(&["list"]), 1);
    assert!(text.starts_with("error: ./handlerd.toml:1: invalid type: string \"x\""), "{text}");
}

/// A variable is meant for `serve`, also while another command is typed.
#[test]
fn variables_for_serve_do_not_disturb_other_commands() {
    let desk = Desk::new().handler("hello", "return 1");
    let variables = [
        ("HANDLERD_HANDLERS", "handlers"),
        ("HANDLERD_HOST", "0.0.0.0"),
        ("HANDLERD_PORT", "not a port"),
        ("HANDLERD_KEEP_LAST_GOOD", "1"),
        ("HANDLERD_LOG_FORMAT", "json"),
        ("HANDLERD_QUEUE", "0"),
    ];
    assert!(stdout_of(desk.run_with(&variables, &["list"])).contains("hello"));
    assert!(stdout_of(desk.run_with(&variables, &["routes"])).contains("/hello"));
    assert_eq!(stdout_of(desk.run_with(&variables, &["invoke", "hello"])), "1\n");
    assert_eq!(stdout_of(desk.run_with(&variables, &["check"])), "ok  hello\n");
    stdout_of(desk.run_with(&variables, &["doctor"]));
    stdout_of(desk.run_with(&variables, &["new", "other"]));
    assert!(stdout_of(desk.run_with(&variables, &["logs"])).contains("hello"));
    // `serve` does look at them.
    let text = refusal(desk.run_with(&variables, &[]), 2);
    assert!(text.contains("invalid value 'not a port' for '--port <PORT>'"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn json_logs_are_one_object_a_line() {
    let source =
        "def lambda_handler(event, context):\n    print('hello \\x1b[31m\\t\"quoted\"')\n    1 / 0\n";
    let mut server = TestServerBuilder::new()
        .handler("hello", source)
        .variable("HANDLERD_LOG_FORMAT", "json")
        .start()
        .await;
    server.get("/hello?a=1").await;
    server.get("/nobody").await;
    server.wait_for_terminal("/nobody");
    server.signal(rustix::process::Signal::TERM);
    assert!(server.wait_for_exit().success());
    let terminal = server.terminal();
    let records: Vec<Value> = terminal
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
        .collect();
    let request =
        records.iter().find(|record| record["path"] == "/hello?a=1").expect("the request is logged");
    assert_eq!((&request["method"], &request["status"]), (&json!("GET"), &json!(500)));
    assert!(request["ms"].is_f64() && request["timestamp"].is_string(), "{request}");
    assert!(
        records.iter().any(|record| record["function"] == "hello" && record["level"] == "ERROR"),
        "{terminal}"
    );
}

#[test]
fn doctor_and_check_say_what_functions_need_from_elsewhere() {
    let desk = Desk::new()
        .handler("work", "return 1")
        .file("handlers/work/requirements.txt", "no-such-package-of-handlerd==1\n")
        .file("handlers/work/function.yaml", "Events:\n  Jobs: {Type: SQS, Properties: {Queue: jobs}}\n");
    let run = |variables: &[(&str, &str)], arguments: &[&str]| {
        let mut command = desk.command();
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("AWS_")) {
            command.env_remove(name);
        }
        commands::run(command.envs(variables.iter().copied()).args(arguments), "")
    };
    let missing =
        "SQS cannot be asked, for trigger workJobs: it is not said where it is, and nobody's keys are set";
    let doctor = stdout_of(run(&[], &["doctor"]));
    assert!(doctor.contains("requirements.txt: will be installed at the start"), "{doctor}");
    assert!(doctor.contains(missing) && doctor.contains("set AWS_ENDPOINT_URL_SQS"), "{doctor}");
    let check = run(&[], &["check", "--no-load"]);
    assert_eq!(check.code, Some(0), "{check:?}");
    assert!(check.stderr.contains(&format!("warning: {missing}")), "{check:?}");
    let told = [("AWS_ENDPOINT_URL_SQS", "http://127.0.0.1:9")];
    assert!(!stdout_of(run(&told, &["doctor"])).contains("SQS"));
    assert!(!run(&told, &["check", "--no-load"]).stderr.contains("SQS"));
}

/// The tables in both READMEs, and what the program says of itself.
#[test]
fn the_readme_knows_every_setting() {
    let help = help(&["serve", "--help"]).split_whitespace().collect::<Vec<_>>().join(" ");
    let mut settings = Vec::new();
    for part in help.split(" --").skip(1).filter(|part| part.contains("[env: ")) {
        let name = part.split([' ', '[', '=']).next().unwrap();
        let inner = |before: &str| Some(part.split_once(before)?.1.split_once(']')?.0);
        settings.push((name, inner("[env: ").unwrap(), inner("[default: ").unwrap()));
    }
    assert_eq!(settings.len(), 39, "{settings:?}");
    for readme in ["README.md", "README.ko.md"] {
        let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(readme)).unwrap();
        let rows: Vec<Vec<&str>> = text
            .lines()
            .filter(|line| line.contains("`HANDLERD_"))
            .map(|line| {
                line.trim_matches('|').split(" | ").map(|cell| cell.trim().trim_matches('`')).collect()
            })
            .filter(|row: &Vec<&str>| row.len() == 5)
            .collect();
        let names: Vec<&str> = rows.iter().filter_map(|row| row[0].strip_prefix("--")).collect();
        let expected: Vec<&str> = settings.iter().map(|(name, ..)| *name).collect();
        assert_eq!(names, expected, "{readme}");
        for (row, (name, variable, default)) in rows.iter().skip(1).zip(&settings) {
            assert_eq!((row[1], row[2]), (*variable, *name), "{readme}");
            // What is more than one word is said in the language of the page.
            assert!(
                default.contains(' ') || row[3] == *default,
                "{readme}: --{name}: {} is {default}",
                row[3]
            );
        }
    }
}
