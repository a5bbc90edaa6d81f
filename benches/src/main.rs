//! Load programs that drive any tus server, measure it from outside and check every answer.

mod client;
mod content;
mod figures;
mod process;
mod report;
mod target;
mod workload;

use std::{error::Error, io::Write, process::ExitCode};

use clap::{Parser, Subcommand};

use target::Target;
use workload::stalled;

/// The command line of `wharf-benches`.
#[derive(Debug, Parser)]
#[command(name = "wharf-benches", about = "Load programs for tus servers", disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Let many uploads stall half-way, all at once: what each costs, and what the others feel of it
    Stalled {
        #[command(flatten)]
        target: target::Options,
        #[command(flatten)]
        options: stalled::Options,
        /// Print the figures as one JSON object
        #[arg(long)]
        json: bool,
    },
}

/// Exits with failure when something was not right, never for being slow.
fn main() -> ExitCode {
    let Arguments { task: Task::Stalled { target, options, json } } = Arguments::parse();
    match run(&target, &options) {
        Ok(report) => {
            let text = if json { report.to_json() } else { report.to_string() };
            // Whoever closed standard output still gets the exit code.
            let _ = writeln!(std::io::stdout().lock(), "{}", text.trim_end());
            if report.is_right() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            let mut cause = error.source();
            let mut text = format!("wharf-benches: {error}");
            while let Some(error) = cause {
                text.push_str(&format!(": {error}"));
                cause = error.source();
            }
            let _ = writeln!(std::io::stderr(), "{text}");
            ExitCode::FAILURE
        }
    }
}

fn run(target: &target::Options, options: &stalled::Options) -> Result<stalled::Report, Box<dyn Error>> {
    // One thread: the client takes no more than one core from the server, and its own timing stays simple.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let target = Target::start(target, options.open_files()).await?;
        let report = stalled::run(&target, options).await;
        let stopped = target.stop().await;
        let report = report?;
        stopped?;
        Ok(report)
    })
}
