//! The uploads: a list, one of them in full, and what can be done to it. Looking disturbs none.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    time::{Duration, SystemTime},
};

use actix_web::HttpResponse;
use serde::Serialize;
use slog::info;
use wharf_actors::{AskFailure, ListCursor, Listed, Refusal, UploadId, UploadState};

use super::{
    Site,
    answer::{self, Problem},
    query::Query,
    units,
};
use crate::server::peer_name;

mod detail;

/// How long a page is, unless it is said.
const LIMIT: usize = 100;

/// What can't be more: a number that every reader of JSON can tell from its neighbours.
const BYTES_MAX: u64 = (1 << 53) - 1;

const SECS_MAX: u64 = 1_000_000_000;

/// The longest text that is searched for.
const TEXT_MAX: usize = 64;

#[derive(Serialize)]
struct Page {
    uploads: Vec<Line>,
    next: Option<String>,
}

#[derive(Serialize)]
struct Line {
    id: String,
    state: &'static str,
    offset_bytes: Option<u64>,
    length_bytes: Option<u64>,
    filename: Option<String>,
    is_live: bool,
    rate_bytes_per_sec: Option<u64>,
    peer: Option<SocketAddr>,
    changed_at: String,
}

#[derive(Serialize)]
struct Interrupted {
    interrupted: bool,
}

/// What a list is to hold. All that is given must hold.
#[derive(Default)]
struct Filter {
    state: Option<UploadState>,
    older_than: Option<Duration>,
    younger_than: Option<Duration>,
    min_bytes: Option<u64>,
    max_bytes: Option<u64>,
    /// In small letters.
    text: Option<String>,
}

impl Filter {
    fn read(query: &mut Query) -> Result<Self, Problem> {
        use UploadState::{Ending, Finished, Idle, Receiving, Waiting};
        let states = [Receiving, Idle, Waiting, Finished, Ending].map(|state| (state.name(), state));
        let mut secs = |name| query.whole(name, 0..=SECS_MAX).map(|secs| secs.map(Duration::from_secs));
        let (older_than, younger_than) = (secs("older_than_secs")?, secs("younger_than_secs")?);
        let text = query.take("text");
        if text.as_ref().is_some_and(|text| !(1..=TEXT_MAX).contains(&text.chars().count())) {
            return Err(Problem::bad_request(format!("text: must have from 1 to {TEXT_MAX} characters")));
        }
        Ok(Self {
            text: text.map(|text| text.to_lowercase()),
            older_than,
            younger_than,
            state: query.choice("state", &states)?,
            min_bytes: query.whole("min_bytes", 0..=BYTES_MAX)?,
            max_bytes: query.whole("max_bytes", 0..=BYTES_MAX)?,
        })
    }

    fn lets_through(&self, upload: &Listed, now: SystemTime) -> bool {
        let age = now.duration_since(upload.changed).unwrap_or_default();
        let size = upload.length.or(upload.offset);
        self.state.is_none_or(|state| state == upload.state)
            && self.older_than.is_none_or(|least| age >= least)
            && self.younger_than.is_none_or(|most| age < most)
            && self.min_bytes.is_none_or(|least| size.is_some_and(|size| size >= least))
            && self.max_bytes.is_none_or(|most| size.is_some_and(|size| size <= most))
            && self.text.as_ref().is_none_or(|text| {
                let holds = |of: &str| of.to_lowercase().contains(text);
                holds(upload.id.as_str()) || upload.filename.as_deref().is_some_and(holds)
            })
    }
}

impl From<Listed> for Line {
    fn from(upload: Listed) -> Self {
        Self {
            id: upload.id.as_str().to_owned(),
            state: upload.state.name(),
            offset_bytes: upload.offset,
            length_bytes: upload.length,
            filename: upload.filename,
            is_live: upload.is_live,
            rate_bytes_per_sec: upload.rate_bytes_per_sec,
            peer: upload.peer,
            changed_at: units::moment(upload.changed),
        }
    }
}

pub(super) async fn list(site: &Site, mut query: Query) -> Result<HttpResponse, Problem> {
    let filter = Filter::read(&mut query)?;
    let limit = query.whole("limit", 1..=1000)?.unwrap_or(LIMIT);
    let only_live = query.choice("live", &[("true", true), ("false", false)])?.unwrap_or(false);
    let cursor = query.take("cursor");
    query.end()?;
    let cursor = cursor.map(|text| {
        ListCursor::parse(&text)
            .ok_or_else(|| Problem::not_found("the cursor is none that was given: begin without one"))
    });
    let cursor = cursor.transpose()?;
    let leads_on = |cursor: &ListCursor| !only_live || cursor.is_live();
    if cursor.as_ref().is_some_and(|cursor| !leads_on(cursor)) {
        return Ok(answer::json(200, &Page { uploads: Vec::new(), next: None }));
    }
    let page = site.uploads.list(cursor, limit).await.map_err(refused)?;
    let now = SystemTime::now();
    let uploads = page.uploads.into_iter().filter(|upload| filter.lets_through(upload, now)).map(Line::from);
    let next = page.next.filter(leads_on).map(|next| next.to_string());
    Ok(answer::json(200, &Page { uploads: uploads.collect(), next }))
}

pub(super) async fn show(site: &Site, id: &UploadId) -> Result<HttpResponse, Problem> {
    let overview = site.uploads.overview(id).await.map_err(refused)?;
    Ok(answer::json(200, &detail::Upload::from(overview)))
}

pub(super) async fn interrupt(site: &Site, id: &UploadId, peer: Option<SocketAddr>) -> Result<HttpResponse, Problem> {
    let by = peer_name(peer);
    let interrupted = site.uploads.interrupt(id, &by).await.map_err(refused)?;
    info!(site.logger, "upload interrupted by request"; "upload_id" => %id, "was_open" => interrupted, "peer" => by);
    Ok(answer::json(200, &Interrupted { interrupted }))
}

pub(super) async fn delete(site: &Site, id: &UploadId, peer: Option<SocketAddr>) -> Result<HttpResponse, Problem> {
    site.uploads.terminate_unasked(id).await.map_err(refused)?;
    let peer = peer_name(peer);
    info!(site.logger, "upload deleted by request"; "upload_id" => %id, "peer" => peer);
    Ok(answer::empty())
}

/// Why the uploads gave nothing.
fn refused(failure: AskFailure) -> Problem {
    match failure {
        AskFailure::Refused(Refusal::NotFound) => Problem::no_upload(),
        AskFailure::Refused(Refusal::Expired) => Problem::new(410, "expired", "the upload has expired"),
        AskFailure::Refused(refusal) => Problem::unavailable(format!("the store or the owner refused: {refusal:?}")),
        AskFailure::Overloaded
        | AskFailure::TimedOut
        | AskFailure::Died
        | AskFailure::Denied(_)
        | AskFailure::Hook(_) => Problem::unavailable(failure.to_string()),
    }
}

/// Metadata as it is told.
type Metadata = BTreeMap<String, String>;

#[cfg(test)]
mod tests {
    use super::*;

    fn upload(length: Option<u64>, offset: Option<u64>, age_secs: u64, now: SystemTime) -> Listed {
        Listed {
            id: UploadId::parse("0a1b").unwrap(),
            state: UploadState::Idle,
            offset,
            length,
            filename: Some("Täg.txt".to_owned()),
            is_live: false,
            rate_bytes_per_sec: None,
            peer: None,
            changed: now - Duration::from_secs(age_secs),
        }
    }

    fn filter(query: &str) -> Filter {
        let mut query = Query::parse(query).unwrap();
        let filter = Filter::read(&mut query).unwrap();
        query.end().unwrap();
        filter
    }

    #[test]
    fn all_filters_must_hold() {
        let now = SystemTime::now();
        let known = upload(Some(100), Some(5), 60, now);
        for (query, is_shown) in [
            ("", true),
            ("state=idle", true),
            ("state=finished", false),
            ("older_than_secs=60", true),
            ("older_than_secs=61", false),
            ("younger_than_secs=61", true),
            ("younger_than_secs=60", false),
            ("min_bytes=100&max_bytes=100", true),
            ("min_bytes=101", false),
            ("max_bytes=99", false),
            ("state=idle&min_bytes=101", false),
            ("text=0A1", true),
            ("text=T%C3%84G", true),
            ("text=tag.txt.", false),
            ("text=0a1&min_bytes=101", false),
        ] {
            assert_eq!(filter(query).lets_through(&known, now), is_shown, "{query}");
        }
        assert!(filter("max_bytes=5").lets_through(&upload(None, Some(5), 0, now), now));
        assert!(!filter("min_bytes=0").lets_through(&upload(None, None, 0, now), now), "of unknown size");
        // From a clock that was ahead.
        assert!(filter("younger_than_secs=1").lets_through(&upload(None, None, 0, now + Duration::from_secs(9)), now));
    }
}
