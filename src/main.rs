//! The wharf server: settings, log, signals, run.

use std::{io::Write, path::PathBuf, pin::Pin, process::ExitCode, time::Duration};

use clap::Parser;
use rustix::process::Signal;
use tokio::signal::unix::{SignalKind, signal};
use wharf::{
    flags,
    notify::Notifier,
    probe,
    reload::Source,
    service::{self, Endpoint, Service},
    settings, telemetry,
};

/// Buffers cross threads on their way from the socket to the disk, which the system's allocator pays for dearly.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    keep_memory_small();
    let arguments = flags::Arguments::parse();
    #[cfg(feature = "doctor")]
    if let Some(flags::Task::Doctor(options)) = &arguments.task {
        return actix_rt::System::new().block_on(wharf::doctor::run(options));
    }
    if let Some(flags::Task::Probe(task)) = &arguments.task {
        let files = task.certificate.clone().zip(task.key.clone());
        let identity = files.map(|(certificate, key)| probe::Identity { certificate, key });
        return match probe::probe(&task.url, identity.as_ref(), Duration::from_secs(task.timeout)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&error),
        };
    }
    let source = Source { overrides: arguments.flags().overrides(), directory: PathBuf::from(".") };
    let loaded = match settings::load(&source.overrides, settings::process_environment(), &source.directory) {
        Ok(loaded) => loaded,
        Err(error) => return fail(&error),
    };
    if matches!(arguments.task, Some(flags::Task::Check(_))) {
        return match service::check(&loaded) {
            Ok(()) => {
                say(&settings::check_report(&loaded));
                ExitCode::SUCCESS
            }
            Err(error) => fail(&error),
        };
    }
    let (logger, _guard, control) = telemetry::logger(&loaded.settings.log, telemetry::Destination::standard_error());
    actix_rt::System::new().block_on(run(loaded, source, logger, control))
}

/// How long the allocator keeps what is free, lest it be paid for again, page by page, when it is taken again. A buffer of a part
/// for S3 is back after as long as a part takes to come in and go out.
const KEEP_FREE: Duration = Duration::from_secs(5);

/// Has the allocator give back what is free after a while, and not in pages of 2 MiB, of which each thread would use little.
/// That is 40 MiB less at rest.
fn keep_memory_small() {
    /// mimalloc's `mi_option_purge_delay`, in milliseconds, which the crate does not name.
    const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;
    // A kernel that doesn't know this has no such pages.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
    let delay = std::ffi::c_long::try_from(KEEP_FREE.as_millis()).unwrap_or(std::ffi::c_long::MAX);
    // SAFETY: `mi_option_set` may be called at any time; it stores a number in a table that has more entries than this, and
    // no other thread runs yet.
    #[expect(unsafe_code, reason = "the allocator can't be told otherwise")]
    unsafe {
        libmimalloc_sys::mi_option_set(PURGE_DELAY, delay);
    }
}

/// Has the allocator look now and then whether something has been free for so long: by itself it looks only while threads take
/// and give back memory, so that a server at rest would keep all that its last load has freed.
async fn give_memory_back() {
    let mut interval = tokio::time::interval(KEEP_FREE);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        // SAFETY: `mi_collect` may be called at any time, by any thread.
        #[expect(unsafe_code, reason = "the allocator can't be told otherwise")]
        unsafe {
            libmimalloc_sys::mi_collect(false);
        }
    }
}

/// Serves until a signal ends it.
async fn run(loaded: settings::Loaded, source: Source, logger: slog::Logger, control: telemetry::Control) -> ExitCode {
    let on = |kind: Signal| signal(SignalKind::from_raw(kind.as_raw()));
    // A file that grows beyond the process's limit is a full store, not the end: with a handler in place, the write that
    // was too much fails with an error of its own. And a reload that comes too early must not end the process.
    let (Ok(_file_limit), Ok(mut hang_up)) = (on(Signal::XFSZ), on(Signal::HUP)) else {
        return fail(&"signals can't be awaited");
    };
    let settings = loaded.settings.clone();
    let service = match Service::start(loaded, source, logger, control).await {
        Ok(service) => service,
        Err(error) => return fail(&chain(&error)),
    };
    // Only now, so that a start that takes long can be broken off; and before anybody is told that it serves, who may have it
    // ended at once.
    let (Ok(mut terminate), Ok(mut interrupt)) = (on(Signal::TERM), on(Signal::INT)) else {
        return fail(&"signals can't be awaited");
    };
    say(&banner(&settings, &service));
    let notifier = Notifier::at(std::env::var_os("NOTIFY_SOCKET").as_deref());
    notifier.ready();
    actix_rt::spawn(give_memory_back());
    let mut reloading = None;
    loop {
        let reloaded = async {
            match &mut reloading {
                Some(reload) => Pin::new(reload).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hang_up.recv() => {
                notifier.reloading();
                reloading = Some(Box::pin(service.reload()));
            }
            () = reloaded => {
                notifier.ready();
                reloading = None;
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

/// What is at an endpoint, as a URL, and the socket that must be named besides if it is at a path.
fn url(endpoint: &Endpoint, tls: Option<&settings::Tls>, path: &str) -> (String, Option<String>) {
    let scheme = if tls.is_some() { "https" } else { "http" };
    match endpoint.path() {
        Some(socket) => (format!("{scheme}://localhost{path}"), Some(socket.display().to_string())),
        None => (format!("{scheme}://{endpoint}{path}"), None),
    }
}

/// The same for people.
fn shown((url, socket): (String, Option<String>)) -> String {
    socket.map_or(url.clone(), |socket| format!("unix:{socket} ({url})"))
}

fn banner(settings: &settings::Settings, service: &Service) -> String {
    let settings::Server { tls, base_path, page, .. } = &settings.server;
    let at = |path: &str| url(service.endpoint(), tls.as_ref(), path);
    let (base, socket) = at(base_path.path());
    let socket = socket.map(|socket| format!("--unix-socket {socket} ")).unwrap_or_default();
    let dir = || std::path::absolute(&settings.storage.dir).unwrap_or_else(|_| settings.storage.dir.clone());
    let place = match settings.storage.kind {
        settings::StorageKind::Disk => dir().display().to_string(),
        #[cfg(feature = "s3")]
        settings::StorageKind::S3 => format!("s3://{}/{}", settings.storage.s3.bucket, settings.storage.s3.prefix),
    };
    let admin = service
        .admin_endpoint()
        .map(|endpoint| format!("and tells of itself at {}\n", shown(url(endpoint, settings.admin.tls.as_ref(), "/"))));
    let first = match at("/") {
        (root, None) if *page => format!("For a first upload open {root} in a browser, or send one with"),
        _ => "Send a first file with".to_owned(),
    };
    format!(
        "wharf {} takes uploads at {}\nand stores them in {}\n{}{first}\n  \
         curl -i -X POST -H 'Tus-Resumable: 1.0.0' -H 'Upload-Length: 5' \
         -H 'Content-Type: application/offset+octet-stream' -d hello {socket}{base}\n",
        env!("CARGO_PKG_VERSION"),
        shown(at(base_path.path())),
        place,
        admin.unwrap_or_default()
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
