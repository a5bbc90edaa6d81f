//! The S3 server as a program, for shell scripts and load programs: prints its endpoint and serves until it is killed.

use std::io::Write as _;

use clap::Parser;
use wharf_s3_testbed::{Bed, Options};

/// A strict S3 server in memory, on 127.0.0.1.
#[derive(Parser)]
struct Arguments {
    /// The port; 0 takes a free one
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// The bucket that exists from the start
    #[arg(long, default_value = "wharf-test")]
    bucket: String,
    /// The key id that requests must be signed with
    #[arg(long, default_value = "AKIDTESTBED")]
    access_key: String,
    /// The secret that requests must be signed with
    #[arg(long, default_value = "secret/of+the-testbed")]
    secret_key: String,
    /// The region that signatures must name
    #[arg(long, default_value = "test-region-1")]
    region: String,
    /// Keep no bytes of parts and don't digest them
    #[arg(long)]
    sink: bool,
    /// Take no more than so many bytes of bodies each second
    #[arg(long)]
    bytes_per_second: Option<u64>,
}

fn main() -> std::io::Result<()> {
    let arguments = Arguments::parse();
    let bed = Bed::start_with(Options {
        port: arguments.port,
        bucket: arguments.bucket,
        access_key: arguments.access_key,
        secret_key: arguments.secret_key,
        region: arguments.region,
        sink: arguments.sink,
        bytes_per_second: arguments.bytes_per_second,
        ..Options::default()
    })?;
    let mut output = std::io::stdout();
    writeln!(output, "{}", bed.endpoint())?;
    output.flush()?;
    loop {
        std::thread::park();
    }
}
