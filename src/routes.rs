//! From a request to its reply: what all methods have in common. Each method has a file of its own.

mod admission;
mod append;
mod caller;
mod create;
mod download;
mod exchange;
mod fields;
mod inspect;
mod intake;
mod options;
mod overlay;
mod page;
mod request_id;
mod terminate;

use std::{sync::Arc, time::Duration};

use actix_http::{HttpMessage, Request, Response, body::BoxBody};
use actix_web::{HttpRequest, HttpResponse, web};
use futures_util::future::LocalBoxFuture;
use slog::Logger;
use tokio::sync::watch;
use wharf_actors::Uploads;

use crate::{
    auth::Auth,
    limits::Limits,
    metrics::Metrics,
    page::Page,
    protocol::{
        Refusal, Rules,
        cors::{Cors, CorsAnswer},
        location::LocationRules,
        route::{self, Route},
    },
    server::{Expect, Fault, Incoming},
};
use append::Admitted;
use exchange::{Body, Exchange, Reply};
use fields::Lines;

/// What the routes need to know of the settings.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    /// What requests mean.
    pub(crate) rules: Rules,
    /// Who is let in.
    pub(crate) auth: Auth,
    /// Which origins get what.
    pub(crate) cors: Cors,
    /// The page to upload with.
    pub(crate) page: Page,
    /// How locations are written.
    pub(crate) locations: LocationRules,
    /// The most bytes that one message to an owner carries.
    pub(crate) message_bytes: usize,
    /// How many messages of one body may be under way.
    pub(crate) window: usize,
    /// How long a body may be silent.
    pub(crate) body_read: Duration,
    /// Whether each request gets a line in the log.
    pub(crate) log_requests: bool,
}

/// Everything that a request can reach.
#[derive(Clone)]
pub(crate) struct Site {
    /// The uploads, as whoever sends the request sees them.
    pub(crate) uploads: Uploads,
    /// Whose uploads are created.
    pub(crate) owner: Option<Arc<str>>,
    /// What is allowed.
    pub(crate) config: Arc<Config>,
    /// How much is allowed.
    pub(crate) limits: Arc<Limits>,
    /// The root of the requests' loggers.
    pub(crate) logger: Logger,
    /// Where requests are counted.
    pub(crate) metrics: Arc<Metrics>,
}

/// The site as it is now. A request sees it as it was at its beginning, until its end.
pub(crate) type Sites = watch::Receiver<Arc<Site>>;

/// Serves one request. In a box from the start: actix would move the whole future several times before it puts it into one.
pub(crate) fn serve(request: HttpRequest, sites: web::Data<Sites>) -> LocalBoxFuture<'static, HttpResponse> {
    Box::pin(async move {
        // The extensions must not stay borrowed across an await.
        let (incoming, admitted, begun) = {
            let mut extensions = request.extensions_mut();
            (extensions.remove::<Incoming>(), extensions.remove::<Admitted>(), extensions.remove::<Begun>())
        };
        let (site, exchange, is_let_in) = match begun {
            Some(Begun { site, exchange }) => (site, Some(exchange), true),
            None => (Arc::clone(&sites.borrow()), None, false),
        };
        let fields = Lines::new(request.headers(), incoming.as_ref().map(Incoming::kind));
        let exchange = exchange.unwrap_or_else(|| Exchange::new(request.head(), &fields, request.peer_addr(), &site));
        let head = Head { exchange: &exchange, fields, is_secure: incoming.as_ref().is_some_and(Incoming::is_secure) };
        let fault = incoming.as_ref().and_then(Incoming::fault);
        let cors = site.config.cors.answer(head.first("origin"), exchange.is_options());
        let route = match (fault, resolve(&site, &head, &cors)) {
            (Some(Fault::HeadTooLarge(_)), _) => Err(Reply::refusal(Refusal::HeadTooLarge)),
            (Some(Fault::Malformed(_)), _) => Err(Reply::refusal(Refusal::BadRequest)),
            (None, Ok(route)) if is_let_in => Ok((route, None)),
            (None, Ok(route)) => admission::admit(&site, &head, &route).await.map(|seen| (route, seen)),
            (None, Err(refusal)) => Err(Reply::refusal(refusal)),
        };
        let reply = match route {
            Ok((route, seen)) => {
                // As the one sees it who sends the request.
                let site = seen.as_ref().unwrap_or(&site);
                // Awaited right here: in a function of its own each of these futures would be moved once more.
                match route {
                    Route::Options => options::options(site),
                    Route::Greeting => page::greeting(site),
                    Route::Page(file) => page::page(site, &head, file),
                    Route::Create => create::create(site, &head, intake::Source::new(incoming)).await,
                    Route::Append(id) => {
                        let source = intake::Source::new(incoming).paced(site, &id);
                        append::append(site, &head, &id, source, admitted).await
                    }
                    Route::Inspect(id) => inspect::inspect(site, &head, &id).await,
                    Route::Download(id) => download::download(site, &head, &id, incoming.as_ref()).await,
                    Route::Terminate(id) => terminate::terminate(site, &head, &id).await,
                }
            }
            Err(refusal) => refusal,
        };
        exchange.respond(reply, cors).into()
    })
}

/// A request that was looked at, and let in, before its body was asked for.
struct Begun {
    /// As the one sees it who sends the request.
    site: Arc<Site>,
    exchange: Exchange,
}

/// A request as the methods see it.
struct Head<'a> {
    exchange: &'a Exchange,
    fields: Lines<'a>,
    /// Whether it came over TLS.
    is_secure: bool,
}

impl Head<'_> {
    fn first(&self, name: &str) -> Option<&[u8]> {
        crate::protocol::Fields::first(&self.fields, name)
    }
}

/// Which method it is, and whether it may be served at all.
fn resolve(site: &Site, head: &Head<'_>, cors: &CorsAnswer) -> Result<Route, Refusal> {
    if *cors == CorsAnswer::Refused {
        return Err(Refusal::OriginNotAllowed);
    }
    route::route(head.exchange.method(), &head.fields, head.exchange.path(), &site.config.rules)
}

/// What is asked before `100 Continue` goes out: all checks are done and the lease is taken, so that a client which
/// waits for it sends no byte in vain (RFC 9110, 10.1.1).
pub(crate) fn expect(sites: Sites) -> Expect {
    Box::new(move |request: Request| -> LocalBoxFuture<'static, Result<Request, Response<BoxBody>>> {
        let site = Arc::clone(&sites.borrow());
        Box::pin(async move {
            let incoming = request.extensions().get::<Incoming>().map(|body| (body.kind(), body.is_secure()));
            let (length, is_secure) = incoming.unzip();
            let is_secure = is_secure.unwrap_or_default();
            let fields = Lines::new(request.headers(), length);
            let exchange = Exchange::new(request.head(), &fields, request.peer_addr(), &site);
            let head = Head { exchange: &exchange, fields, is_secure };
            let cors = site.config.cors.answer(head.first("origin"), exchange.is_options());
            let outcome = match resolve(&site, &head, &cors) {
                Ok(route) => begin(&site, &head, &route).await,
                Err(refusal) => Err(Reply::refusal(refusal)),
            };
            match outcome {
                Ok((site, admitted)) => {
                    let mut extensions = request.extensions_mut();
                    if let Some(admitted) = admitted {
                        extensions.insert(admitted);
                    }
                    extensions.insert(Begun { site, exchange });
                    drop(extensions);
                    Ok(request)
                }
                Err(mut reply) => {
                    // The body that the client holds back, or sends all the same, is not wanted.
                    reply.close = true;
                    Err(exchange.respond(reply, cors))
                }
            }
        })
    })
}

/// Does what can be done before the body comes.
async fn begin(site: &Arc<Site>, head: &Head<'_>, route: &Route) -> Result<(Arc<Site>, Option<Admitted>), Reply> {
    let site = admission::admit(site, head, route).await?.unwrap_or_else(|| Arc::clone(site));
    let admitted = match route {
        Route::Append(id) => Some(append::admit(&site, head, id).await?),
        Route::Create => create::check(&site, head).map(|()| None).map_err(Reply::refusal)?,
        _ => None,
    };
    Ok((site, admitted))
}
