//! HTTP and TLS under rusoto: those of today, in place of those that it was archived with.

use std::{error::Error, io, pin::Pin, str::FromStr, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, stream};
use http_body::Body as _;
use hyper::{
    Request, Response, Uri,
    body::Incoming,
    header::{HeaderMap, HeaderName},
    http,
};
use hyper_rustls::{ConfigBuilderExt as _, HttpsConnector};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use rusoto_core::signature::SignedRequest;
use rustls::{ClientConfig, RootCertStore, crypto::ring};

use super::super::body::Chunks;

/// How long a connection that nobody uses is kept: less than the 20 seconds or so after which S3 closes it.
const IDLE: Duration = Duration::from_secs(15);

/// Connections. Clones share them.
#[derive(Clone)]
pub(super) struct Transport {
    client: Client<HttpsConnector<HttpConnector>, Chunks>,
    tls: Arc<ClientConfig>,
    connect_timeout: Duration,
}

impl Transport {
    /// With the certificates that the machine trusts. Without any there is no TLS, but still HTTP.
    pub(super) fn new(connect_timeout: Duration) -> Self {
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring has what TLS needs");
        let trusting = builder.clone().with_native_roots();
        let trusting = trusting.unwrap_or_else(|_| builder.with_root_certificates(RootCertStore::empty()));
        Self::with(Arc::new(trusting.with_no_client_auth()), connect_timeout)
    }

    /// Connections of its own.
    pub(super) fn sibling(&self) -> Self {
        Self::with(Arc::clone(&self.tls), self.connect_timeout)
    }

    fn with(tls: Arc<ClientConfig>, connect_timeout: Duration) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(connect_timeout));
        let connector = HttpsConnector::from((tcp, Arc::clone(&tls)));
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .build(connector);
        Self { client, tls, connect_timeout }
    }

    /// Sends a request as it is, with the given body, and waits for the answer's head.
    pub(super) fn send(
        &self,
        request: &SignedRequest,
        body: Vec<Bytes>,
    ) -> impl Future<Output = Result<Response<Incoming>, Failure>> + Send + use<> {
        // What rusoto may have as a body can't be shared between threads: it does not come along.
        let request = ready(request, body).map(|request| self.client.request(request));
        async {
            let answer = request.map_err(Failure::Unfit)?;
            answer.await.map_err(|error| Failure::Unanswered(Box::new(error)))
        }
    }
}

/// Why there is no answer.
pub(super) enum Failure {
    /// This can't be sent.
    Unfit(http::Error),
    /// It was sent, perhaps.
    Unanswered(Box<dyn Error + Send + Sync>),
}

fn ready(request: &SignedRequest, body: Vec<Bytes>) -> Result<Request<Chunks>, http::Error> {
    let query = request.canonical_query_string();
    let mark = if query.is_empty() { "" } else { "?" };
    let url = format!("{}://{}{}{mark}{query}", request.scheme(), request.hostname(), request.canonical_path());
    let mut ready = Request::builder().method(request.method()).uri(url.parse::<Uri>()?);
    for (name, values) in request.headers() {
        let name = HeaderName::from_bytes(name.as_bytes())?;
        for value in values {
            ready = ready.header(name.clone(), value.as_slice());
        }
    }
    ready.body(Chunks::new(body))
}

/// A body as it comes in.
pub(super) fn chunks(body: Incoming) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    stream::unfold(body, |mut body| async {
        loop {
            let frame = std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await?;
            match frame.map(hyper::body::Frame::into_data) {
                Ok(Ok(data)) => return Some((Ok(data), body)),
                // A trailer.
                Ok(Err(_)) => {}
                Err(error) => return Some((Err(io::Error::other(error)), body)),
            }
        }
    })
}

/// All of a body that is no longer than `most`.
pub(super) async fn collected(mut body: Incoming, most: usize) -> io::Result<Bytes> {
    let mut all = BytesMut::new();
    while let Some(frame) = std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        if let Ok(data) = frame.map_err(io::Error::other)?.into_data() {
            if all.len() + data.len() > most {
                return Err(io::Error::other("the answer is too long"));
            }
            all.extend_from_slice(&data);
        }
    }
    Ok(all.freeze())
}

/// The headers that rusoto may see: those that are asked for, so that it does not stumble over others. It panics over a
/// number that is none.
pub(super) fn fit<H, N>(headers: &HeaderMap) -> H
where
    H: FromIterator<(N, String)>,
    N: FromStr,
{
    let kept = |name: &str, value: &str| match name {
        "content-length" => value.parse::<i64>().is_ok(),
        "content-range" | "content-type" | "etag" | "last-modified" => true,
        _ => name.starts_with("x-amz-meta-"),
    };
    let fit = headers.iter().filter_map(|(name, value)| {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        kept(name.as_str(), &value).then_some(())?;
        Some((name.as_str().parse().ok()?, value))
    });
    fit.collect()
}

#[cfg(test)]
mod tests {
    use super::{HeaderMap, HeaderName, fit};

    #[test]
    fn rusoto_sees_no_header_that_it_stumbles_over() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("content-length", "a lot"),
            ("etag", "\"x\""),
            ("x-amz-meta-name", "men\u{fc}"),
            ("x-amz-missing-meta", "some"),
            ("x-amz-server-side-encryption-bucket-key-enabled", "perhaps"),
        ] {
            headers.insert(HeaderName::from_static(name), value.as_bytes().try_into().unwrap());
        }
        let seen: Vec<(HeaderName, String)> = fit(&headers);
        let seen: Vec<_> = seen.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(seen, [("etag", "\"x\""), ("x-amz-meta-name", "men\u{fc}")]);
        headers.insert("content-length", 5.into());
        headers.insert("etag", b"\xff"[..].try_into().unwrap());
        let seen: Vec<(HeaderName, String)> = fit(&headers);
        assert!(seen.contains(&("content-length".parse().unwrap(), "5".to_owned())));
        assert!(seen.contains(&("etag".parse().unwrap(), "\u{fffd}".to_owned())));
    }
}
