//! The wharf server: settings, log, signals, run.

use std::{io::Write, path::PathBuf, process::ExitCode};

use clap::Parser;
use rustix::process::Signal;
use tokio::signal::unix::{SignalKind, signal};
use wharf::{flags, reload::Source, service::Service, settings, telemetry};

/// Buffers cross threads on their way from the socket to the disk, which the system's allocator pays for dearly.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let arguments = flags::Arguments::parse();
    #[cfg(feature = "doctor")]
    if let Some(flags::Task::Doctor(options)) = &arguments.task {
        return actix_rt::System::new().block_on(wharf::doctor::run(options));
    }
    let source = Source { overrides: arguments.flags().overrides(), directory: PathBuf::from(".") };
    let loaded = match settings::load(&source.overrides, settings::process_environment(), &source.directory) {
        Ok(loaded) => loaded,
        Err(error) => return fail(&error),
    };
    if matches!(arguments.task, Some(flags::Task::Check(_))) {
        say(&settings::check_report(&loaded));
        return ExitCode::SUCCESS;
    }
    let (logger, _guard, control) = telemetry::logger(&loaded.settings.log, telemetry::Destination::standard_error());
    actix_rt::System::new().block_on(async {
        // A file that grows beyond the process's limit is a full store, not the end: with a handler in place, the write
        // that was too much fails with an error of its own.
        let Ok(_file_limit) = signal(SignalKind::from_raw(Signal::XFSZ.as_raw())) else {
            return fail(&"signals can't be awaited");
        };
        // From the first moment on: a reload that comes too early must not end the process.
        let Ok(mut hang_up) = signal(SignalKind::hangup()) else {
            return fail(&"signals can't be awaited");
        };
        let settings = loaded.settings.clone();
        let service = match Service::start(loaded, source, logger, control).await {
            Ok(service) => service,
            Err(error) => return fail(&error),
        };
        say(&banner(&settings, &service));
        let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
        else {
            return fail(&"signals can't be awaited");
        };
        loop {
            tokio::select! {
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                _ = hang_up.recv() => service.reload(),
            }
        }
        tokio::select! {
            _ = service.shutdown() => ExitCode::SUCCESS,
            // Whoever asks twice does not want to wait.
            _ = terminate.recv() => ExitCode::FAILURE,
            _ = interrupt.recv() => ExitCode::FAILURE,
        }
    })
}

fn banner(settings: &settings::Settings, service: &Service) -> String {
    let base = format!("http://{}{}", service.address(), settings.server.base_path.path());
    let dir = || std::path::absolute(&settings.storage.dir).unwrap_or_else(|_| settings.storage.dir.clone());
    let place = match settings.storage.kind {
        settings::StorageKind::Disk => dir().display().to_string(),
        #[cfg(feature = "s3")]
        settings::StorageKind::S3 => format!("s3://{}/{}", settings.storage.s3.bucket, settings.storage.s3.prefix),
    };
    let admin = service.admin_address().map(|address| format!("and tells of itself at http://{address}/\n"));
    let page = format!("For a first upload open http://{}/ in a browser, or send one with", service.address());
    let first = if settings.server.page { page.as_str() } else { "Send a first file with" };
    format!(
        "wharf {} takes uploads at {base}\nand stores them in {}\n{}{first}\n  \
         curl -i -X POST -H 'Tus-Resumable: 1.0.0' -H 'Upload-Length: 5' \
         -H 'Content-Type: application/offset+octet-stream' -d hello {base}\n",
        env!("CARGO_PKG_VERSION"),
        place,
        admin.unwrap_or_default()
    )
}

/// Standard output may be closed; that is no reason not to serve.
fn say(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes()).and_then(|()| std::io::stdout().flush());
}

fn fail(error: &dyn std::fmt::Display) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "wharf: {error}");
    ExitCode::FAILURE
}
