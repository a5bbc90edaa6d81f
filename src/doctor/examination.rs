//! An examination under way: what is asked, what was created, what has been found so far.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsConnector;

use super::{
    Options, Unusable,
    answer::{Answer, excerpt},
    checks,
    finding::Problem,
    report::Report,
    tls,
    url::Url,
    wire::{Exchange, Failure},
};

/// How long an offset is waited for: what is on its way through a proxy when its client goes may need a moment.
const SETTLES_WITHIN: Duration = Duration::from_secs(3);
/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How many times an answer's patience all of it may take.
const PATIENCES: u32 = 20;

/// The media type of upload data.
pub(super) const OFFSET_TYPE: (&str, &str) = ("Content-Type", "application/offset+octet-stream");

const VERSION: (&str, &str) = ("Tus-Resumable", "1.0.0");

/// Why a check ends before its end.
#[derive(Debug)]
pub(super) enum Stop {
    /// A request got no answer.
    Failure(Failure),
    /// What is in front reaches no server.
    Gateway(String),
    /// Requests are refused for being too many, so no check tells anything.
    Limited,
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

/// A server, as it is seen from outside.
pub(super) struct Examination<'options> {
    pub(super) options: &'options Options,
    /// Where uploads are created.
    pub(super) url: Url,
    pub(super) report: Report,
    /// What OPTIONS has told, if it has.
    pub(super) offer: Option<Answer>,
    /// Whether the server's answers arrive with the mark that tells them from those of a proxy.
    pub(super) has_marks: bool,
    /// Why there is nobody to trust counts only when https is to be spoken.
    tls: Result<TlsConnector, String>,
    /// The paths of uploads that are to be deleted.
    created: Vec<String>,
}

/// Examines a server as clients reach it.
pub(super) async fn examine(options: &Options) -> Result<Report, Unusable> {
    let url = Url::parse(&options.url).ok_or_else(|| Unusable::Url(excerpt(&options.url)))?;
    let tls = tls::connector(options.ca.as_deref());
    let tls = if url.is_https { Ok(tls.map_err(Unusable::Trust)?) } else { tls };
    let report = Report { url: excerpt(&options.url), ..Report::default() };
    let mut on = Examination { options, url, report, offer: None, has_marks: true, tls, created: Vec::new() };
    let limit = options.patience() * PATIENCES + options.pause() * 2;
    let outcome = timeout(limit, checks::all(&mut on)).await;
    on.clean_up().await;
    match outcome {
        Ok(Ok(())) => {}
        // That it is elsewhere explains why.
        Ok(Err(why)) if on.report.has(&Problem::Redirected) => on.report.gaps.push(format!("all else: {why}")),
        Ok(Err(why)) => return Err(why),
        Err(_) => on.report.gaps.push(format!("the rest: all of it took longer than {} s", limit.as_secs())),
    }
    Ok(on.report)
}

impl Examination<'_> {
    /// The URL that is asked now, fit for a terminal.
    pub(super) fn place(&self) -> String {
        if self.report.has(&Problem::Redirected) {
            excerpt(&format!("{}{}", self.url.origin(), self.url.path))
        } else {
            self.report.url.clone()
        }
    }

    /// Whether the server announces an extension; what can't be known is taken for not offered.
    pub(super) fn offers(&self, extension: &str) -> bool {
        self.offer.as_ref().is_some_and(|offer| offer.list("tus-extension").iter().any(|item| item == extension))
    }

    /// The longest upload, not beyond this.
    pub(super) fn length_up_to(&self, length: u64) -> u64 {
        let max = self.offer.as_ref().and_then(|offer| offer.number("tus-max-size")).filter(|max| *max > 0);
        max.map_or(length, |max| length.min(max))
    }

    /// Sends the head of a request, with what every request carries.
    pub(super) async fn begin(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Result<Exchange, Failure> {
        let tls = match &self.tls {
            _ if !self.url.is_https => None,
            Ok(tls) => Some(tls),
            Err(why) => return Err(Failure::Connect(why.clone())),
        };
        let mut exchange = Exchange::open(&self.url, tls, self.options.patience()).await?;
        let authority = self.url.authority();
        let agent = concat!("wharf-doctor/", env!("CARGO_PKG_VERSION"));
        let mut all = vec![("Host", authority.as_str()), ("User-Agent", agent)];
        all.extend(headers);
        exchange.begin(method, path, &all).await?;
        Ok(exchange)
    }

    /// The same with the protocol's version and the headers that were given.
    pub(super) async fn begin_tus(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Result<Exchange, Failure> {
        let given = self.options.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let all: Vec<_> = [VERSION].into_iter().chain(headers.iter().copied()).chain(given).collect();
        self.begin(method, path, &all).await
    }

    /// One request as the protocol wants it, and its answer.
    pub(super) async fn ask(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Answer, Stop> {
        let length = body.len().to_string();
        let mut headers = headers.to_vec();
        if matches!(method, "POST" | "PATCH") {
            headers.push(("Content-Length", &length));
        }
        let mut exchange = self.begin_tus(method, path, &headers).await?;
        // Who answers before all was sent may close, and its answer counts.
        let sent = exchange.send(body).await;
        let answer = exchange.answer(self.options.patience()).await;
        let answer = if let (Err(_), Err(failure)) = (&answer, sent) { Err(failure) } else { answer };
        self.heed(&format!("{method} {}", excerpt(path)), answer?)
    }

    /// Looks whether an answer speaks of something that makes all further ones worthless.
    pub(super) fn heed(&mut self, sent: &str, answer: Answer) -> Result<Answer, Stop> {
        let is_in_front = self.offer.is_some() && !answer.has_marks();
        match answer.status {
            429 => {}
            503 if is_in_front => {}
            502 | 504 if is_in_front => return Err(Stop::Gateway(answer.quoted())),
            _ => return Ok(answer),
        }
        self.report.find(Problem::RateLimited, sent, answer.quoted());
        Err(Stop::Limited)
    }

    /// Whether an answer was given in front of the server.
    pub(super) fn is_of_front(&self, answer: &Answer) -> bool {
        !answer.has_marks() && (self.has_marks || answer.is_page() || answer.body.is_empty())
    }

    /// Whether a method was refused in front of the server.
    pub(super) fn is_method_refused(&self, answer: &Answer) -> bool {
        matches!(answer.status, 401 | 403 | 405 | 501) && self.is_of_front(answer)
    }

    /// POST to where uploads are created.
    pub(super) async fn post(&mut self, headers: &[(&str, &str)]) -> Result<Answer, Stop> {
        let path = self.url.path.clone();
        self.ask("POST", &path, headers, b"").await
    }

    /// POST, and the path of the upload, on this server whatever `Location` names.
    pub(super) async fn create(&mut self, headers: &[(&str, &str)]) -> Result<(Answer, Option<String>), Stop> {
        let answer = self.post(headers).await?;
        let path = self.path_of(&answer).filter(|_| answer.is_success());
        self.created.extend(path.clone());
        Ok((answer, path))
    }

    /// Creates an upload of so many bytes.
    pub(super) async fn create_sized(&mut self, length: u64) -> Result<(Answer, Option<String>), Stop> {
        self.create(&[("Upload-Length", &length.to_string())]).await
    }

    /// The path of the upload that was created.
    fn path_of(&self, created: &Answer) -> Option<String> {
        let named = self.url.join(created.text("location")?)?.path;
        if self.report.has(&Problem::LocationPath) { Some(self.below(&named)) } else { Some(named) }
    }

    /// What an upload's path must be where nothing rewrites it.
    pub(super) fn below(&self, path: &str) -> String {
        let own = self.url.path.split('?').next().unwrap_or_default().trim_end_matches('/');
        format!("{own}/{}", path.rsplit('/').next().unwrap_or_default())
    }

    /// Replaces the path of an upload that was created.
    pub(super) fn moved(&mut self, from: &str, to: &str) {
        self.created.iter_mut().filter(|path| *path == from).for_each(|path| to.clone_into(path));
    }

    /// An upload is gone.
    pub(super) fn forget(&mut self, path: &str) {
        self.created.retain(|created| created != path);
    }

    /// HEAD, again while the upload is busy with a former request.
    pub(super) async fn head(&mut self, path: &str) -> Result<Answer, Stop> {
        let until = Instant::now() + self.options.patience();
        loop {
            let answer = self.ask("HEAD", path, &[], b"").await?;
            if !matches!(answer.status, 423 | 500..=599) || Instant::now() >= until {
                return Ok(answer);
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// The answer to HEAD in which the offset has come so far; else the one that it had in the end.
    pub(super) async fn head_at(&mut self, path: &str, expected: u64) -> Result<Answer, Stop> {
        let until = Instant::now() + SETTLES_WITHIN;
        loop {
            let answer = self.head(path).await?;
            let has_come = answer.number("upload-offset").is_none_or(|offset| offset >= expected);
            if has_come || Instant::now() >= until {
                return Ok(answer);
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// PATCH of bytes that are there.
    pub(super) async fn patch(
        &mut self,
        path: &str,
        offset: u64,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Answer, Stop> {
        let offset = offset.to_string();
        let headers = [headers, &[OFFSET_TYPE, ("Upload-Offset", &offset)]].concat();
        self.ask("PATCH", path, &headers, body).await
    }

    /// Deletes what was created, as far as that can be done.
    async fn clean_up(&mut self) {
        let created = std::mem::take(&mut self.created);
        let until = Instant::now() + self.options.patience() * 2;
        // Where OPTIONS tells nothing it is worth a try.
        let may = self.offer.is_none() || self.offers("termination");
        for path in created {
            let deleted = async { may && self.delete(&path).await };
            let is_deleted = tokio::time::timeout_at(until, deleted).await.unwrap_or(false);
            if !is_deleted {
                self.report.left.push(excerpt(&format!("{}{path}", self.url.origin())));
            }
        }
    }

    async fn delete(&mut self, path: &str) -> bool {
        let answer = self.ask("DELETE", path, &[], b"").await;
        answer.is_ok_and(|answer| answer.is_success() || matches!(answer.status, 404 | 410))
    }
}
