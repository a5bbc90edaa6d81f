//! Load programs that drive any tus server, measure it from outside and check every answer.

mod ballast;
mod bed;
mod client;
mod compare;
mod content;
mod figures;
mod floor;
mod process;
mod report;
mod target;
mod workload;

use std::{error::Error, io::Write, process::ExitCode};

use clap::{Parser, Subcommand};

use bed::Programs;
use report::Outcome;
use target::Target;
use workload::{disk_stall, durability, finished_store, s3_memory, s3_throughput, scaling, stalled};

/// The command line of `wharf-benches`.
#[derive(Debug, Parser)]
#[command(name = "wharf-benches", about = "Load programs for tus servers", disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Put wharf, a floor and other tus servers under the same loads, turn by turn, and write a report
    Compare {
        #[command(flatten)]
        options: compare::Options,
    },
    /// The bare server that all others are held against
    #[command(hide = true)]
    Floor {
        #[command(flatten)]
        options: floor::Options,
    },
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
    /// Upload more into a slow S3 than memory has room for: how much wharf takes, and whether all uploads go on
    S3Memory {
        #[command(flatten)]
        programs: Programs,
        #[command(flatten)]
        options: s3_memory::Options,
        /// Print the figures as one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Upload to S3: the processor time that it costs wharf, beside that of a bare S3 client
    S3Throughput {
        #[command(flatten)]
        programs: Programs,
        #[command(flatten)]
        options: s3_throughput::Options,
        /// Print the figures as one JSON object
        #[arg(long)]
        json: bool,
    },
    /// As many bytes by few and by many active uploads: what a byte costs
    Scaling {
        #[command(flatten)]
        options: scaling::Options,
        /// Print the figures as one JSON object
        #[arg(long)]
        json: bool,
    },
    /// A store with a million finished uploads: how soon wharf starts, and what HEAD costs
    FinishedStore {
        #[command(flatten)]
        options: finished_store::Options,
        /// Print the figures as one JSON object
        #[arg(long)]
        json: bool,
    },
    /// What each level of durability costs on a disk, and how many syncs it needs
    Durability {
        #[command(flatten)]
        options: durability::Options,
        /// Print the figures as one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Let the disk stall under one upload: what the others feel of it
    DiskStall {
        #[command(flatten)]
        options: disk_stall::Options,
        /// Print the figures as one JSON object
        #[arg(long)]
        json: bool,
    },
    /// The bare client of s3-throughput
    #[command(hide = true)]
    S3Bare {
        #[command(flatten)]
        options: s3_throughput::BareOptions,
    },
}

/// Exits with failure when something was not right, never for being slow.
fn main() -> ExitCode {
    match run(Arguments::parse().task) {
        Ok((text, is_right)) => {
            // Whoever closed standard output still gets the exit code.
            let _ = writeln!(std::io::stdout().lock(), "{}", text.trim_end());
            if is_right { ExitCode::SUCCESS } else { ExitCode::FAILURE }
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

/// What came of it, and whether all was right.
fn run(task: Task) -> Result<(String, bool), Box<dyn Error>> {
    // One thread: the client takes no more than one core from the server, and its own timing stays simple.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match task {
            Task::Compare { options } => Ok(told(&compare::run(&options).await?, false)),
            Task::Floor { options } => Ok(floor::serve(options).await.map(|()| (String::new(), true))?),
            Task::Stalled { target, options, json } => {
                let target = Target::start(&target, options.open_files()).await?;
                let report = stalled::run(&target, &options).await;
                let stopped = target.stop().await;
                let report = report?;
                stopped?;
                Ok(told(&report, json))
            }
            Task::S3Memory { programs, options, json } => Ok(told(&s3_memory::run(&programs, &options).await?, json)),
            Task::S3Throughput { programs, options, json } => {
                Ok(told(&s3_throughput::run(&programs, &options).await?, json))
            }
            Task::Scaling { options, json } => Ok(told(&scaling::run(&options).await?, json)),
            Task::FinishedStore { options, json } => Ok(told(&finished_store::run(&options).await?, json)),
            Task::Durability { options, json } => Ok(told(&durability::run(&options).await?, json)),
            Task::DiskStall { options, json } => Ok(told(&disk_stall::run(&options).await?, json)),
            Task::S3Bare { options } => Ok(told(&s3_throughput::send(&options).await?, true)),
        }
    })
}

fn told(report: &impl Outcome, json: bool) -> (String, bool) {
    (if json { report.to_json() } else { report.to_string() }, report.is_right())
}
