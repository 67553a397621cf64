//! The command line: one file per subcommand. Data goes to stdout, everything else to stderr; the
//! exit status says who must act (0 nobody, 1 the user, 2 whoever typed the command).

mod audit;
mod backup;
mod check;
mod credentials;
mod doctor;
mod event;
mod export;
mod invoke;
mod list;
mod logs;
mod new;
mod options;
mod output;
mod queue;
mod routes;
mod serve;
mod template_report;
mod urls;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::aws::Endpoints;
use crate::config::Settings;
use crate::deployment::{Deployment, Deployments, Severity};
use crate::server;

/// Runs AWS Lambda handlers written in Python behind an API Gateway, on your own machine.
///
/// A SAM or CloudFormation template (`template.yaml`) is served as it is: its functions, APIs and
/// authorizers. Without one, a folder `handlers/NAME/` with a `lambda_function.py` is a function that
/// answers on http://127.0.0.1:3000/NAME. Both answer to
/// `aws lambda invoke --endpoint-url http://127.0.0.1:3001`. Saving a file deploys it.
#[derive(Parser)]
#[command(name = "handlerd", version, override_usage = "handlerd [COMMAND] [OPTIONS]")]
#[command(after_help = "Examples:
  handlerd                                  serve ./template.yaml, or else ./handlers
  handlerd new hello                        make handlers/hello/ with a first handler in it
  handlerd invoke hello --event '{\"a\": 1}'  run it once, without a server
  handlerd logs hello --follow              see what it prints
  handlerd event sqs > event.json           a sample event, to edit and to pass to `invoke`
  handlerd export --output template.yaml    make a SAM template of ./handlers

Without a command, handlerd serves: `handlerd --port 4000` is `handlerd serve --port 4000`. Every
option can also be given as HANDLERD_NAME in the environment, or in handlerd.toml beside the
handlers folder; the command line wins, then the environment, then the file.")]
struct Program {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve a template, or the functions of a folder; what happens without a command
    Serve(Box<serve::Arguments>),
    /// Make a new function from a small example
    New(new::Arguments),
    /// Run a function once, without a server, and print its result
    Invoke(invoke::Arguments),
    /// List the functions
    List(list::Arguments),
    /// List the routes and the functions behind them
    Routes(routes::Arguments),
    /// Print a sample event of any source
    Event(event::Arguments),
    /// Write a SAM template of what is served
    Export(export::Arguments),
    /// Show what functions have logged
    Logs(logs::Arguments),
    /// Show, retry or discard asynchronous invocations that wait or have failed
    Queue(queue::Arguments),
    /// Make, list and revoke credentials for the control plane
    Credentials(credentials::Arguments),
    /// Show who has changed what, and check that the log of it is whole
    Audit(audit::Arguments),
    /// Write the state folder into one file, also while handlerd serves
    Backup(backup::Arguments),
    /// Put a backup into a state folder that is empty
    Restore(backup::Arguments),
    /// Check the template and every function: its configuration, and whether it can be loaded
    Check(check::Arguments),
    /// Show the Pythons found on this machine and what is wrong with them
    Doctor(doctor::Arguments),
}

pub fn main() -> ExitCode {
    let result = with_command(std::env::args_os().collect()).and_then(|arguments| run(&arguments));
    match result {
        Ok(code) => code,
        Err(error) => {
            output::error(&error);
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[OsString]) -> anyhow::Result<ExitCode> {
    // What a variable holds is nobody's default; its name is what help has to tell.
    let program = program();
    let program = program.mut_subcommands(|command| command.mut_args(|option| option.hide_env_values(true)));
    let matches = program.get_matches_from(arguments);
    match Program::from_arg_matches(&matches).unwrap_or_else(|error| error.exit()).command {
        Command::Serve(arguments) => serve::run(*arguments),
        Command::New(arguments) => new::run(&arguments),
        Command::Invoke(arguments) => invoke::run(arguments),
        Command::List(arguments) => list::run(&arguments),
        Command::Routes(arguments) => routes::run(&arguments),
        Command::Event(arguments) => event::run(&arguments),
        Command::Export(arguments) => export::run(&arguments),
        Command::Logs(arguments) => logs::run(&arguments),
        Command::Queue(arguments) => queue::run(arguments),
        Command::Credentials(arguments) => credentials::run(&arguments),
        Command::Audit(arguments) => audit::run(&arguments),
        Command::Backup(arguments) => backup::backup(&arguments),
        Command::Restore(arguments) => backup::restore(&arguments),
        Command::Check(arguments) => check::run(arguments),
        Command::Doctor(arguments) => doctor::run(&arguments),
    }
}

fn program() -> clap::Command {
    Program::command()
}

/// What is deployed, for commands that only look. A template that cannot be read is their end.
fn deployment(settings: &Settings) -> anyhow::Result<Arc<Deployment>> {
    server::check_folder(settings)?;
    let deployment = Deployments::read(server::sources(settings)).current();
    if deployment.template_failed {
        let errors = deployment.problems.iter().filter(|problem| problem.severity == Severity::Error);
        let errors: Vec<String> = errors.map(ToString::to_string).collect();
        anyhow::bail!("{}", errors.join("\nerror: "));
    }
    Ok(deployment)
}

/// Where services of AWS are, by the variables of this process.
fn endpoints() -> Endpoints {
    let inherited: Vec<(String, String)> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    Endpoints::from_environment(&inherited)
}

/// Puts in the command that may be left out. (Were its options the program's own, a variable that
/// only `serve` reads could break every other command.)
fn with_command(mut arguments: Vec<OsString>) -> anyhow::Result<Vec<OsString>> {
    let first = arguments.get(1).map(|first| first.to_string_lossy().into_owned());
    let given = match first.as_deref() {
        Some("help" | "-h" | "--help" | "-V" | "--version") => true,
        Some(word) => program().find_subcommand(word).is_some(),
        None => false,
    };
    if given {
        return Ok(arguments);
    }
    if let Some(word) = first.filter(|word| is_word(word) && !Path::new(word).exists()) {
        let names: Vec<String> =
            program().get_subcommands().map(|known| known.get_name().to_owned()).collect();
        anyhow::bail!(
            "there is no command `{word}`, and no folder of that name to serve\nhint: the commands are {}; `handlerd \
             --help` says what they do",
            names.join(", ")
        );
    }
    arguments.insert(1.min(arguments.len()), "serve".into());
    Ok(arguments)
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphabetic())
}
