//! Who may know whom, room by room.

/// One rule about what a room may name. A room is a module with all its parts, the first in the table that fits; a
/// path is a whole one, or the start of one that ends with `::`.
pub(crate) struct Rule {
    pub(crate) room: &'static str,
    /// What it may name of wharf's own two crates, besides itself.
    pub(crate) own: &'static [&'static str],
    /// What of other crates it may not name, unless it stands in `except`.
    pub(crate) never: &'static [&'static str],
    pub(crate) except: &'static [&'static str],
}

/// Whatever waits, or reaches outside of the process.
const OUTSIDE: &[&str] = &[
    "tokio::",
    "actix",
    "futures_util::",
    "crossbeam_channel::",
    "rustix::",
    "socket2::",
    "slog::",
    "std::fs",
    "std::net",
    "std::io",
    "std::env",
    "std::process",
    "std::thread",
    "std::sync",
    "std::os",
];

/// HTTP, below the wall between the crates.
pub(crate) const WEB: &[&str] = &["actix_web", "actix_http", "http::", "httparse", "hyper", "wharf::"];

/// What clients are made of, those of S3 and those of hooks. Each may name its own.
pub(crate) const SDKS: &[&str] = &["aws_", "http_body", "prost", "rusoto_", "rustls", "tonic"];

/// HTTP and actors, below the store's trait.
const WEB_AND_ACTORS: &[&str] =
    &["actix::", "actix_rt::", "actix_web", "actix_http", "http::", "httparse", "hyper", "wharf::"];

/// What the facade hands out: names of things, and what is known of them.
const VALUES: &str = "wharf_actors::{Claimant, Info, Kind, Own, Reach, Record, UploadId, MAX_ID_BYTES, InvalidId}";

/// What every way to the application is made with.
const TRANSPORTS: &str =
    "wharf_actors::hooks::{Calling, HookError, HookFailure, Notice, SetupError, Transport, Verdict}";

pub(crate) const RULES: &[Rule] = &[
    Rule { room: "wharf::protocol", own: &["wharf_actors::UploadId"], never: OUTSIDE, except: &[] },
    Rule {
        room: "wharf::problem",
        own: &[
            "wharf::protocol::Refusal",
            "wharf_actors::{AskFailure, Denial, Denied, Ended, Refusal}",
            "wharf_actors::hooks::{HookError, HookFailure, HookResponse}",
        ],
        never: OUTSIDE,
        except: &["std::sync::Arc"],
    },
    Rule {
        room: "wharf::page",
        own: &["wharf::protocol::Header", "wharf::protocol::route::PageFile"],
        never: OUTSIDE,
        except: &[],
    },
    Rule {
        room: "wharf::routes::download",
        own: &[
            "wharf::protocol::",
            "wharf::routes::",
            "wharf::problem",
            "wharf::server::{Incoming, Outgoing}",
            VALUES,
            "wharf_actors::storage::{Reader, Sent, Stop}",
        ],
        never: &["std::fs", "actix_web", "tokio::fs"],
        except: &[],
    },
    Rule {
        room: "wharf::routes",
        own: &[
            "wharf::metrics::",
            "wharf::page::Page",
            "wharf::protocol::",
            "wharf::problem",
            "wharf::server::{BodyError, BodyKind, Expect, Fault, Incoming, Timer, Trailers, peer_name}",
            "wharf::telemetry::hostile",
            "wharf::auth::{Auth, Denied}",
            "wharf::limits::{Client, Exceeded, Limits, Place, Throttle, Turn}",
            VALUES,
            "wharf_actors::events::Watcher",
            "wharf_actors::{Appending, AskFailure, Begun, Committed, Departure, Lease, NewUpload, Refusal, Snapshot}",
            "wharf_actors::{Appended, Consulted, Created, CreatedWhole, Share, Stored, Tap, Uploads}",
            "wharf_actors::hooks::{Caller, HookResponse}",
            "wharf_actors::post::now_nanos",
        ],
        never: &["std::fs", "std::env", "std::thread", "tokio::fs", "tokio::net"],
        except: &[],
    },
    Rule {
        room: "wharf::metrics",
        own: &["wharf::protocol::Refusal", "wharf_actors::post::now_nanos"],
        never: OUTSIDE,
        except: &["std::sync::atomic"],
    },
    // Tokens: one file reads files, one fetches, and the rest compares.
    Rule {
        room: "wharf::auth",
        own: &["wharf::metrics::Cause", "wharf_actors::{Claimant, Reach}"],
        never: &["tokio::", "actix", "hyper", "std::fs", "std::net", "std::env", "std::thread", "std::process"],
        except: &[],
    },
    Rule {
        room: "wharf::auth::files",
        own: &["wharf::auth::keys::"],
        never: &["tokio::", "actix", "hyper", "std::net", "std::env", "std::thread"],
        except: &[],
    },
    Rule { room: "wharf::auth::spki", own: &[], never: OUTSIDE, except: &["rustls::pki_types"] },
    Rule {
        room: "wharf::auth::remote",
        own: &["wharf::auth::keys::"],
        never: &["actix_web", "actix_http", "std::fs", "std::env", "std::thread", "tokio::fs"],
        except: &["http_body_util", "rustls"],
    },
    Rule {
        room: "wharf::limits",
        own: &["wharf::metrics::Cause", "wharf_actors::UploadId", "wharf_actors::events::Watcher"],
        never: OUTSIDE,
        except: &["std::net", "std::sync::Arc", "std::sync::atomic", "tokio::sync::watch"],
    },
    // What operators look at: meters and the facade. It reads no settings but what it is handed, and no file.
    Rule {
        room: "wharf::admin",
        own: &[
            "wharf::limits::",
            "wharf::metrics::",
            "wharf::protocol::percent",
            "wharf::reload::{By, Failure, Outcome, Reloader}",
            "wharf::server::{self, BodyError, Expect, Incoming, Listening, Patience, Running, serve, Config, peer_name}",
            "wharf::server::wire::Limits",
            "wharf::settings::{self, Admin, Changes, Problem, Secret, SettingsError}",
            "wharf::telemetry::{self, hostile, Control}",
            VALUES,
            "wharf_actors::events::",
            "wharf_actors::hooks::{EventKind, HookFailure, HooksReport, Owed, OwedState}",
            "wharf_actors::post::",
            "wharf_actors::storage::{BOUNDS, OperationReport, PartReport, StoreReport}",
            "wharf_actors::{AskFailure, BudgetReport, HistoryReport, Level, ListCursor, Listed, LogLine, Mailboxes}",
            "wharf_actors::{Overview, Refusal, TIMELINE_BYTES, Uploads, UploadState}",
        ],
        never: &["std::fs", "std::env", "std::thread", "tokio::fs", "actix_http"],
        except: &[],
    },
    Rule {
        room: "wharf::admin::process",
        own: &[],
        never: &["actix", "tokio::", "std::net", "std::env", "std::thread"],
        except: &[],
    },
    Rule {
        room: "wharf::reload",
        own: &["wharf::settings"],
        never: &["actix_web", "actix_http", "actix::", "std::env", "std::thread"],
        except: &[],
    },
    // Certificates, names of sockets, and what the service manager passed.
    Rule {
        room: "wharf::server::tls",
        own: &["wharf::server::"],
        never: &["std::env", "tokio::fs", "actix"],
        except: &["rustls"],
    },
    Rule { room: "wharf::server::unix", own: &[], never: &["std::env", "tokio::", "actix", "slog::"], except: &[] },
    Rule { room: "wharf::server::inherited", own: &[], never: &["std::fs", "tokio::", "actix", "slog::"], except: &[] },
    // How answers are written: pure.
    Rule { room: "wharf::server::encode", own: &[], never: OUTSIDE, except: &["actix_http"] },
    Rule { room: "wharf::server", own: &[], never: &["std::fs", "std::env", "tokio::fs"], except: &[] },
    Rule {
        room: "wharf::settings",
        own: &[
            "wharf_actors::hooks::{EventKind, client, file}",
            "wharf_actors::hooks::client::",
            "wharf_actors::storage::Durability",
        ],
        never: &["tokio::", "actix", "futures_util::", "std::net::Tcp", "std::thread"],
        except: &[],
    },
    Rule { room: "wharf::flags", own: &["wharf::doctor", "wharf::settings"], never: OUTSIDE, except: &[] },
    // A client of the protocol: it knows nothing of the server that it is compiled into.
    Rule {
        room: "wharf::doctor",
        own: &["wharf::telemetry::escaped"],
        never: &["actix", "wharf_actors", "std::fs", "std::env", "std::thread", "tokio::fs", "hyper"],
        except: &["rustls"],
    },
    Rule {
        room: "wharf::telemetry",
        own: &["wharf::settings::"],
        never: &["actix", "tokio::", "std::fs", "std::net"],
        except: &[],
    },
    Rule {
        room: "wharf::notify",
        own: &[],
        never: OUTSIDE,
        except: &["std::io", "std::os::linux::net", "std::os::unix", "rustix::time"],
    },
    Rule {
        room: "wharf::probe",
        own: &[],
        never: &["tokio::", "actix", "rustix::", "slog::", "std::fs", "std::env"],
        except: &["rustls"],
    },
    Rule { room: "wharf::service", own: &["wharf::", "wharf_actors::"], never: &["std::fs"], except: &[] },
    // `main.rs` and `lib.rs`.
    Rule {
        room: "wharf",
        own: &[
            "wharf::doctor",
            "wharf::flags",
            "wharf::notify",
            "wharf::probe",
            "wharf::reload",
            "wharf::settings",
            "wharf::telemetry",
            "wharf::service",
        ],
        never: &["actix_web", "actix_http", "wharf_actors", "std::fs", "std::net"],
        except: &[],
    },
    Rule { room: "wharf_actors::upload::state", own: &[], never: OUTSIDE, except: &[] },
    Rule {
        room: "wharf_actors::upload",
        own: &[
            VALUES,
            "wharf_actors::directory::Directory",
            "wharf_actors::events::",
            "wharf_actors::history::",
            "wharf_actors::hooks::",
            "wharf_actors::post::",
            "wharf_actors::receives_letters",
            "wharf_actors::Share",
            "wharf_actors::storage::metered::{Name, Outcome, Run}",
            "wharf_actors::storage::{Blob, ErrorKind, LastWrite, Op, Opened, PartReport, StorageError, Tap, Ticket, Written}",
            "wharf_actors::tally::OpenLease",
            // In builds for tests.
            "wharf_actors::storage::faulty::trip",
        ],
        never: &["std::fs", "std::net", "rustix::", "crossbeam_channel::"],
        except: &["std::net::IpAddr", "std::net::Ipv6Addr", "std::net::SocketAddr"],
    },
    Rule {
        room: "wharf_actors::storage",
        own: &[VALUES, "wharf_actors::Share", "wharf_actors::disk::", "wharf_actors::post::"],
        never: WEB_AND_ACTORS,
        except: &[],
    },
    Rule {
        room: "wharf_actors::storage::s3",
        own: &[
            VALUES,
            "wharf_actors::{Budget, Share}",
            "wharf_actors::parts::{Part, PartError, Parts}",
            "wharf_actors::storage::",
        ],
        never: WEB_AND_ACTORS,
        except: &[],
    },
    // What is on this side of the trait knows no uploads; what is on the other knows no SDK.
    Rule {
        room: "wharf_actors::storage::s3::client",
        own: &[],
        never: OUTSIDE,
        except: &["futures_util::Stream", "std::sync::Arc", "std::io"],
    },
    Rule {
        room: "wharf_actors::storage::s3::client::body",
        own: &["wharf_actors::storage::s3::client::"],
        never: WEB_AND_ACTORS,
        except: &["http_body"],
    },
    Rule {
        room: "wharf_actors::storage::s3::client::metered",
        own: &[
            "wharf_actors::post::METERED",
            "wharf_actors::post::now_nanos",
            "wharf_actors::storage::{OperationMeter, OperationReport}",
            "wharf_actors::storage::s3::client::",
        ],
        never: OUTSIDE,
        except: &["std::sync::Arc"],
    },
    Rule {
        room: "wharf_actors::storage::s3::client::aws",
        own: &["wharf_actors::storage::s3::client::"],
        never: WEB_AND_ACTORS,
        except: &["aws_"],
    },
    Rule {
        room: "wharf_actors::storage::s3::client::rusoto",
        own: &["wharf_actors::storage::s3::client::"],
        never: &["actix::", "actix_rt::", "actix_web", "actix_http", "httparse", "wharf::"],
        except: &["rusoto_", "http_body", "http", "hyper", "hyper_rustls", "hyper_util", "rustls"],
    },
    // The ways to the application. Each knows the contract and its own means, and no pool, owner or store.
    Rule {
        room: "wharf_actors::hooks::verdict",
        own: &["wharf_actors::hooks::EventKind"],
        never: OUTSIDE,
        except: &[],
    },
    Rule { room: "wharf_actors::hooks::setup", own: &[], never: OUTSIDE, except: &[] },
    Rule {
        room: "wharf_actors::hooks::several",
        own: &["wharf_actors::hooks::{Calling, EventKind, HookError, Notice, Transport, Verdict}"],
        never: OUTSIDE,
        except: &["slog::", "std::sync::Arc"],
    },
    Rule { room: "wharf_actors::hooks::file", own: &[TRANSPORTS], never: WEB_AND_ACTORS, except: &[] },
    Rule {
        room: "wharf_actors::hooks::client",
        own: &[
            TRANSPORTS,
            "wharf_actors::hooks",
            "wharf_actors::hooks::verdict::is_framing",
            "wharf_actors::hooks::Caller",
        ],
        never: WEB_AND_ACTORS,
        except: &["hyper", "hyper_rustls", "hyper_util", "rustls", "rustls_native_certs"],
    },
    Rule {
        room: "wharf_actors::hooks::http",
        own: &[TRANSPORTS, "wharf_actors::hooks::client::"],
        never: WEB_AND_ACTORS,
        except: &["http_body_util", "hyper", "hyper_util"],
    },
    Rule {
        room: "wharf_actors::hooks::grpc",
        own: &[
            TRANSPORTS,
            "wharf_actors::hooks::client::",
            "wharf_actors::hooks::{Call, Caller, Changes, HookResponse, InvalidVerdict, UploadFacts}",
        ],
        never: WEB_AND_ACTORS,
        except: &["hyper", "hyper_util", "prost", "tonic"],
    },
    Rule {
        room: "wharf_actors::disk",
        own: &[
            "wharf_actors::post::{Gauge, PoolReport, Stamp}",
            "wharf_actors::room::",
            "wharf_actors::storage::{ErrorKind, Op, StorageError, Ticket}",
        ],
        never: WEB_AND_ACTORS,
        except: &[],
    },
    // The pool of S3 parts: the client by its trait only.
    Rule {
        room: "wharf_actors::parts",
        own: &[
            "wharf_actors::Share",
            "wharf_actors::post::",
            "wharf_actors::receives_letters",
            "wharf_actors::room::",
            "wharf_actors::storage::{StoreReport, StoreTuning}",
            "wharf_actors::storage::s3::client::metered::CallMeters",
            "wharf_actors::storage::s3::client::{Call, Client, ClientError, ETag, ErrorKind}",
            "wharf_actors::storage::s3::retry::",
            "wharf_actors::turns::Turns",
        ],
        never: &["std::fs", "std::net", "rustix::", "crossbeam_channel::"],
        except: &[],
    },
    // Those who call hooks, and the outbox: they know no owner, and of the store its outbox.
    Rule {
        room: "wharf_actors::hooks",
        own: &[
            VALUES,
            "wharf_actors::post::",
            "wharf_actors::receives_letters",
            "wharf_actors::room::",
            "wharf_actors::storage::{ErrorKind, OperationMeter, OperationReport, OutboxStore, Storage, StorageError}",
            "wharf_actors::storage::{StoreReport, Wait}",
            "wharf_actors::turns::Turns",
        ],
        never: &["std::fs", "std::net", "rustix::", "crossbeam_channel::"],
        except: &[],
    },
    Rule { room: "wharf_actors::turns", own: &[], never: OUTSIDE, except: &[] },
    Rule { room: "wharf_actors::post", own: &[], never: &["std::fs", "std::net"], except: &[] },
    Rule { room: "wharf_actors::id", own: &[], never: OUTSIDE, except: &["std::sync::Arc"] },
    Rule {
        room: "wharf_actors::budget",
        own: &["wharf_actors::room::"],
        never: OUTSIDE,
        except: &["std::sync::atomic"],
    },
    Rule {
        room: "wharf_actors::room",
        own: &[],
        never: OUTSIDE,
        except: &[
            "std::sync::Arc",
            "std::sync::atomic",
            "tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore, TryAcquireError}",
        ],
    },
    Rule {
        room: "wharf_actors::events",
        own: &["wharf_actors::UploadId"],
        never: OUTSIDE,
        except: &["std::sync::Arc", "std::sync::atomic", "tokio::sync::broadcast"],
    },
    Rule {
        room: "wharf_actors::history::kept",
        own: &["wharf_actors::UploadId", "wharf_actors::history::"],
        never: OUTSIDE,
        except: &["std::sync::Arc", "crossbeam_channel"],
    },
    Rule {
        room: "wharf_actors::history",
        own: &["wharf_actors::events::Interruption"],
        never: OUTSIDE,
        except: &["std::sync::Arc"],
    },
    Rule {
        room: "wharf_actors::tally",
        own: &["wharf_actors::events::Interruption", "wharf_actors::post::METERED"],
        never: OUTSIDE,
        except: &["std::sync::Arc", "std::sync::atomic"],
    },
    Rule { room: "wharf_actors::live", own: &[], never: OUTSIDE, except: &["std::sync::atomic"] },
    Rule { room: "wharf_actors::info", own: &[VALUES], never: OUTSIDE, except: &[] },
    Rule { room: "wharf_actors::claimant", own: &[VALUES], never: OUTSIDE, except: &["std::sync::Arc"] },
    Rule { room: "wharf_actors::clock", own: &[], never: OUTSIDE, except: &["std::sync::atomic"] },
    // The directory, leases, the reaper and the facade: the store by its trait only.
    Rule {
        room: "wharf_actors",
        own: &[
            VALUES,
            "wharf_actors::clock::",
            "wharf_actors::directory::",
            "wharf_actors::events::",
            "wharf_actors::history::",
            "wharf_actors::lease::",
            "wharf_actors::live::",
            "wharf_actors::monitor::",
            "wharf_actors::post::",
            "wharf_actors::reaper::",
            "wharf_actors::receives_letters",
            "wharf_actors::tally::",
            "wharf_actors::upload::",
            "wharf_actors::{AskFailure, Budget, BudgetReport, Committed, Departure, Share}",
            "wharf_actors::storage::metered::{Metered, Meters, Name, Outcome, Run}",
            "wharf_actors::storage::{Durability, ErrorKind, Opened, Reader, ScanCursor, Storage, StorageError, Ticket}",
            "wharf_actors::storage::{PartReport, Sighting, StoreReport, StoreTuning}",
        ],
        never: &["std::fs", "std::net", "rustix::"],
        except: &["std::net::SocketAddr"],
    },
];
