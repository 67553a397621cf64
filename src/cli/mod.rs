//! The command line: one file per subcommand. Data goes to stdout, everything else to stderr; the
//! exit status says who must act (0 nobody, 1 the user, 2 whoever typed the command).

mod check;
mod doctor;
mod invoke;
mod list;
mod logs;
mod new;
mod options;
mod output;
mod routes;
mod serve;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Runs AWS Lambda handlers written in Python behind an API Gateway, on your own machine.
///
/// A folder `handlers/NAME/` with a `lambda_function.py` is a function; it answers on
/// http://127.0.0.1:3000/NAME and to `aws lambda invoke --endpoint-url http://127.0.0.1:3001`.
/// Saving a file deploys it.
#[derive(Parser)]
#[command(name = "handlerd", version, args_conflicts_with_subcommands = true)]
#[command(after_help = "Examples:
  handlerd                                  serve ./handlers
  handlerd new hello                        make handlers/hello/ with a first handler in it
  handlerd invoke hello --event '{\"a\": 1}'  run it once, without a server
  handlerd logs hello --follow              see what it prints

Without a command, handlerd serves. Every option can also be given as HANDLERD_NAME in the
environment, or in handlerd.toml beside the handlers folder; the command line wins, then the
environment, then the file.")]
struct Program {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: serve::Arguments,
}

#[derive(Subcommand)]
enum Command {
    /// Serve the functions of a folder (also without a command)
    Serve(serve::Arguments),
    /// Make a new function from a small example
    New(new::Arguments),
    /// Run a function once, without a server, and print its result
    Invoke(invoke::Arguments),
    /// List the functions
    List(list::Arguments),
    /// List the routes and the functions behind them
    Routes(routes::Arguments),
    /// Show what functions have logged
    Logs(logs::Arguments),
    /// Check every function: its configuration, and whether it can be loaded
    Check(check::Arguments),
    /// Show the Pythons found on this machine and what is wrong with them
    Doctor(doctor::Arguments),
}

pub fn main() -> ExitCode {
    let arguments = Program::parse();
    let result = match arguments.command.unwrap_or(Command::Serve(arguments.serve)) {
        Command::Serve(arguments) => serve::run(arguments),
        Command::New(arguments) => new::run(&arguments),
        Command::Invoke(arguments) => invoke::run(arguments),
        Command::List(arguments) => list::run(&arguments),
        Command::Routes(arguments) => routes::run(&arguments),
        Command::Logs(arguments) => logs::run(&arguments),
        Command::Check(arguments) => check::run(arguments),
        Command::Doctor(arguments) => doctor::run(&arguments),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            output::error(&error);
            ExitCode::FAILURE
        }
    }
}

/// One thread for the gateway: it has little to compute, and tasks that never move between cores
/// cost a tenth less.
fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}
