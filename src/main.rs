//! The wharf server: settings, log, signals, run.

use std::{io::Write, path::Path, process::ExitCode, time::Duration};

use clap::Parser;
use rustix::process::Signal;
use tokio::signal::unix::{SignalKind, signal};
use wharf::{flags, notify::Notifier, probe, service::Service, settings, telemetry};

/// Buffers cross threads on their way from the socket to the disk, which the system's allocator pays for dearly.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let arguments = flags::Arguments::parse();
    if let Some(flags::Task::Probe(task)) = &arguments.task {
        return match probe::probe(&task.url, Duration::from_secs(task.timeout)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&error),
        };
    }
    let loaded = settings::load(&arguments.flags().overrides(), settings::process_environment(), Path::new("."));
    let loaded = match loaded {
        Ok(loaded) => loaded,
        Err(error) => return fail(&error),
    };
    if matches!(arguments.task, Some(flags::Task::Check(_))) {
        say(&settings::check_report(&loaded));
        return ExitCode::SUCCESS;
    }
    let (logger, _guard, _drops) = telemetry::logger(&loaded.settings.log, telemetry::Destination::standard_error());
    actix_rt::System::new().block_on(run(&loaded.settings, logger))
}

/// Serves until a signal ends it.
async fn run(settings: &settings::Settings, logger: slog::Logger) -> ExitCode {
    let on = |kind| signal(SignalKind::from_raw(Signal::as_raw(kind)));
    // A file that grows beyond the process's limit is a full store, not the end: with a handler in place, the write that
    // was too much fails with an error of its own.
    let (Ok(_file_limit), Ok(mut hangup)) = (on(Signal::XFSZ), on(Signal::HUP)) else {
        return fail(&"signals can't be awaited");
    };
    let service = match Service::start(settings, logger).await {
        Ok(service) => service,
        Err(error) => return fail(&chain(&error)),
    };
    say(&banner(settings, &service));
    let (Ok(mut terminate), Ok(mut interrupt)) = (on(Signal::TERM), on(Signal::INT)) else {
        return fail(&"signals can't be awaited");
    };
    let notifier = Notifier::at(std::env::var_os("NOTIFY_SOCKET").as_deref());
    notifier.ready();
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => {
                notifier.reloading();
                service.reload_certificates();
                notifier.ready();
            }
        }
    }
    notifier.stopping();
    tokio::select! {
        _ = service.shutdown() => ExitCode::SUCCESS,
        // Whoever asks twice does not want to wait.
        _ = terminate.recv() => ExitCode::FAILURE,
        _ = interrupt.recv() => ExitCode::FAILURE,
    }
}

fn banner(settings: &settings::Settings, service: &Service) -> String {
    let scheme = if settings.server.tls.is_some() { "https" } else { "http" };
    let path = settings.server.base_path.path();
    let (base, at) = match service.endpoint().path() {
        Some(socket) => (format!("{scheme}://localhost{path}"), format!("--unix-socket {} ", socket.display())),
        None => (format!("{scheme}://{}{path}", service.endpoint()), String::new()),
    };
    let shown = if at.is_empty() { base.clone() } else { format!("{} ({base})", service.endpoint()) };
    let dir = || std::path::absolute(&settings.storage.dir).unwrap_or_else(|_| settings.storage.dir.clone());
    let place = match settings.storage.kind {
        settings::StorageKind::Disk => dir().display().to_string(),
        #[cfg(feature = "s3")]
        settings::StorageKind::S3 => format!("s3://{}/{}", settings.storage.s3.bucket, settings.storage.s3.prefix),
    };
    let page = format!("For a first upload open {scheme}://{}/ in a browser, or send one with", service.endpoint());
    let has_page = settings.server.page && service.endpoint().path().is_none();
    let first = if has_page { page.as_str() } else { "Send a first file with" };
    format!(
        "wharf {} takes uploads at {shown}\nand stores them in {}\n{first}\n  \
         curl -i -X POST -H 'Tus-Resumable: 1.0.0' -H 'Upload-Length: 5' \
         -H 'Content-Type: application/offset+octet-stream' -d hello {at}{base}\n",
        env!("CARGO_PKG_VERSION"),
        place
    )
}

/// Standard output may be closed; that is no reason not to serve.
fn say(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes()).and_then(|()| std::io::stdout().flush());
}

/// An error with what is behind it, in a line.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

fn fail(error: &dyn std::fmt::Display) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "wharf: {error}");
    ExitCode::FAILURE
}
