//! What operators look at: a listener of its own, on an arbiter of its own, so that it answers however busy the others
//! are. It reads meters and asks the facade; it knows no store and no actor.

mod access;
mod answer;
mod events;
mod exposition;
mod hooks;
mod login;
mod mailboxes;
mod metrics;
mod page;
mod pools;
mod probes;
mod process;
mod query;
mod reloading;
mod route;
mod session;
mod stats;
mod trail;
mod units;
mod uploads;

use std::{cell::RefCell, io, net::SocketAddr, rc::Rc, sync::Arc, time::Duration};

use actix_web::{App, HttpMessage, HttpRequest, HttpResponse, http::header, web};
use slog::{Logger, debug, warn};
use tokio::sync::watch;
use wharf_actors::Uploads;

use crate::{
    limits,
    metrics::Metrics,
    reload::Reloader,
    server::{self, Expect, Incoming, Listening, Patience, Running, peer_name, wire::Limits},
    settings::{Admin, Secret},
    telemetry::{self, hostile},
};
pub(crate) use access::Access;
use access::{Claims, Fingerprint, Pass};
use answer::Problem;
use route::Route;
use session::Sessions;

/// How many may be connected at once.
const CONNECTIONS: u32 = 256;

/// What changes while wharf runs.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    /// Who may ask.
    pub(crate) access: Access,
    /// How many threads serve uploads.
    pub(crate) arbiters: usize,
}

impl Config {
    /// From the settings, for a listener at this address, if it is at one.
    pub(crate) fn new(settings: &Admin, address: Option<SocketAddr>, arbiters: usize) -> Self {
        let token = settings.token.as_ref().map(Secret::reveal);
        let access = Access::new(token, settings.hosts.clone(), address);
        Self { access, arbiters }
    }

    /// Takes what may change meanwhile.
    pub(crate) fn update(&mut self, settings: &Admin) {
        *self = Self::new(settings, self.access.address(), self.arbiters);
    }
}

/// Everything that the endpoint can reach.
pub(crate) struct Site {
    /// The uploads.
    pub(crate) uploads: Uploads,
    /// Limits that are held in memory.
    pub(crate) limits: Arc<limits::Limits>,
    /// What was counted of requests.
    pub(crate) metrics: Arc<Metrics>,
    /// How many connections the public listener has.
    pub(crate) connections: Box<dyn Fn() -> usize + Send + Sync>,
    /// The log, for what it dropped.
    pub(crate) log: telemetry::Control,
    /// Reads the settings again.
    pub(crate) reloader: Reloader,
    /// How far the server is between its start and its end.
    pub(crate) stage: watch::Receiver<Stage>,
    /// What is set.
    pub(crate) config: watch::Receiver<Config>,
    /// For what is asked and done.
    pub(crate) logger: Logger,
}

/// How far the server is between its start and its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Uploads are served.
    Serving,
    /// The end has begun: uploads should be sent elsewhere.
    Ending,
    /// Only this endpoint is left, and its streams should end.
    Ended,
}

/// What lives on the arbiter.
struct Desk {
    site: Arc<Site>,
    /// Streams of events look here as well, whether the session that began them goes on.
    sessions: Rc<RefCell<Sessions>>,
    readiness: probes::Readiness,
    stats: stats::Feed,
    trail: trail::Trail,
    /// Held once by each stream of events besides.
    listeners: Arc<()>,
}

/// Serves on this listener, on one arbiter.
pub(crate) async fn serve(site: Site, listening: Listening) -> io::Result<Running> {
    process::note_start();
    let limits = Limits {
        head_max_bytes: 16 * 1024,
        head_timeout: Duration::from_secs(10),
        write_timeout: Duration::from_secs(30),
        linger: Duration::from_secs(2),
    };
    let patience = Patience { keep_alive: Duration::from_secs(75), limits };
    let config = server::Config { arbiters: 1, max_connections: CONNECTIONS, patience: watch::channel(patience).1 };
    let logger = site.logger.clone();
    let site = Arc::new(site);
    let app = move || {
        let desk = Rc::new(Desk {
            site: Arc::clone(&site),
            sessions: Rc::default(),
            readiness: probes::Readiness::default(),
            stats: stats::Feed::new(Arc::clone(&site)),
            trail: trail::Trail::begin(Arc::clone(&site)),
            listeners: Arc::default(),
        });
        App::new().app_data(web::Data::new(desk)).default_service(web::to(handle))
    };
    // Bodies are small here: there is nothing to be found out before they come.
    let expect = || -> Expect { Box::new(|request| Box::pin(async move { Ok(request) })) };
    server::serve(config, listening, logger, app, expect).await
}

async fn handle(request: HttpRequest, desk: web::Data<Rc<Desk>>) -> HttpResponse {
    let incoming = request.extensions_mut().remove::<Incoming>();
    let response = match answer(&desk, &request, incoming).await {
        Ok(response) => response,
        Err(problem) => {
            let peer = peer_name(request.peer_addr());
            if matches!(problem.status, 401 | 403) {
                warn!(desk.site.logger, "admin request refused"; "path" => hostile(request.path()), "peer" => peer,
                    "error" => problem.error, "why" => &problem.message);
            }
            problem.into()
        }
    };
    debug!(desk.site.logger, "admin request"; "method" => hostile(request.method().as_str()),
        "path" => hostile(request.path()), "status" => response.status().as_u16(),
        "peer" => peer_name(request.peer_addr()));
    if request.method() == "HEAD" { answer::without_body(response) } else { response }
}

async fn answer(desk: &Desk, request: &HttpRequest, incoming: Option<Incoming>) -> Result<HttpResponse, Problem> {
    if incoming.as_ref().and_then(Incoming::fault).is_some() {
        return Err(Problem::bad_request("the request can't be read"));
    }
    let route = route::route(request.method().as_str(), request.uri().path());
    let cookies = session::values(request.headers().get_all(header::COOKIE).map(header::HeaderValue::as_bytes));
    if !route.as_ref().is_ok_and(Route::is_probe) {
        let is_change = route.as_ref().map_or(request.method() != "GET", Route::is_change);
        desk.admit(request, &cookies, is_change, route.as_ref().is_ok_and(Route::is_open))?;
    }
    desk.serve(request, route?, incoming, &cookies).await
}

impl Desk {
    /// Whether a request may be served at all.
    fn admit(&self, request: &HttpRequest, cookies: &[&str], is_change: bool, is_open: bool) -> Result<(), Problem> {
        let config = self.site.config.borrow();
        let claims = self.claims(request, cookies, config.access.token());
        config.access.check_place(&claims, is_change)?;
        if is_open { Ok(()) } else { config.access.check_right(&claims, is_change) }
    }

    fn claims<'a>(&self, request: &'a HttpRequest, cookies: &[&str], token: Option<Fingerprint>) -> Claims<'a> {
        let field = |name: &str| request.headers().get(name).map(header::HeaderValue::as_bytes);
        Claims {
            host: field("host"),
            origin: field("origin"),
            fetch_site: field("sec-fetch-site"),
            authorization: field("authorization"),
            has_session: self.sessions.borrow_mut().holds(cookies, token, std::time::Instant::now()),
        }
    }

    /// What the request showed, to be looked at again while its answer goes on.
    fn pass(&self, request: &HttpRequest, cookies: &[&str]) -> Pass {
        let authorization = request.headers().get(header::AUTHORIZATION).map(header::HeaderValue::as_bytes);
        Pass::new(authorization, session::fingerprints(cookies))
    }

    async fn serve(
        &self,
        request: &HttpRequest,
        route: Route,
        incoming: Option<Incoming>,
        cookies: &[&str],
    ) -> Result<HttpResponse, Problem> {
        let query = query::Query::parse(request.query_string())?;
        let (site, peer) = (&*self.site, request.peer_addr());
        let is_secure = incoming.as_ref().is_some_and(Incoming::is_secure);
        match route {
            Route::Mailboxes => return mailboxes::mailboxes(site, query),
            Route::Uploads => return uploads::list(site, query).await,
            Route::Hooks => return hooks::hooks(site, query).await,
            Route::Events => return events::events(self, query, self.pass(request, cookies)),
            _ => query.end()?,
        }
        match route {
            Route::Health => Ok(probes::health()),
            Route::Ready => Ok(probes::ready(self).await),
            Route::Page(file) => Ok(page::serve(file)),
            Route::Session => Ok(self.session(request, cookies)),
            Route::Login => self.log_in(login::read_form(request, incoming).await?, is_secure),
            Route::Logout => Ok(self.log_out(cookies)),
            Route::Metrics => Ok(metrics::metrics(site, request)),
            Route::Upload(id) => uploads::show(site, &id).await,
            Route::DeleteUpload(id) => uploads::delete(site, &id, peer).await,
            Route::InterruptUpload(id) => uploads::interrupt(site, &id, peer).await,
            Route::Pools => Ok(pools::pools(site)),
            Route::Recent => Ok(self.trail.recent()),
            Route::Reload => reloading::reload(site, peer).await,
            Route::RetryEvents => hooks::retry(site, peer).await,
            Route::RetryEvent(event_id) => hooks::retry_one(site, &event_id, peer).await,
            Route::Mailboxes | Route::Uploads | Route::Events | Route::Hooks => {
                Err(Problem::not_found("asked for above"))
            }
        }
    }
}
