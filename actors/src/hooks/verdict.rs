//! What a hook answers.

mod json;

use std::collections::BTreeMap;

use super::EventKind;

/// Laid over the answer that the client gets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HookResponse {
    /// The status; 0 leaves it as it is.
    pub status: u16,
    /// The body; empty leaves it as it is.
    pub body: String,
    /// Fields, which win over those of the same name.
    pub headers: BTreeMap<String, String>,
}

/// What pre-create changes about an upload.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Its id.
    pub id: Option<String>,
    /// All of its metadata; an empty map clears it.
    pub metadata: Option<BTreeMap<String, String>>,
    /// Where it is to lie: `Path`, in a store of files.
    pub storage: Option<BTreeMap<String, String>>,
}

/// What the application has to say. The empty one changes nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Laid over the answer.
    pub response: HookResponse,
    /// The upload is not to be created (pre-create).
    pub reject_upload: bool,
    /// The upload is to stay (pre-terminate).
    pub reject_termination: bool,
    /// The request is not to be served (pre-access).
    pub reject_access: bool,
    /// The body is to end, and the upload to be deleted (post-receive).
    pub stop_upload: bool,
    /// Changes to the upload (pre-create).
    pub changes: Changes,
    /// For how many seconds the answer holds for other requests of the same client on the same upload (pre-access).
    pub cache_secs: u64,
}

/// Why an answer is no verdict: which field of it, and what is wrong there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} {problem}")]
pub struct InvalidVerdict {
    /// The field, by its name in JSON.
    pub field: String,
    /// What is wrong with it.
    pub problem: String,
}

impl InvalidVerdict {
    fn new(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { field: field.into(), problem: problem.into() }
    }
}

/// Fields that belong to a connection or frame a body: a hook that could set them could make one answer into two.
const FRAMING: [&str; 8] =
    ["connection", "content-length", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"];

/// Whether a field belongs to a connection, or frames a body.
pub(super) fn is_framing(name: &str) -> bool {
    FRAMING.iter().any(|framing| framing.eq_ignore_ascii_case(name))
}

/// Whether a text is a token, which is what names of fields are (RFC 9110, section 5.6.2).
pub(super) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

impl HookResponse {
    /// A response that can be sent. Statuses that allow no body (204, 205, 304) lose theirs, as they do with tusd.
    ///
    /// # Errors
    /// When a status is none that ends a request, or a field can't be sent or is not for a hook to set.
    pub(super) fn checked(
        status: i64,
        body: String,
        headers: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, InvalidVerdict> {
        let status = match u16::try_from(status) {
            Ok(status @ (0 | 200..=599)) => status,
            _ => return Err(InvalidVerdict::new("HTTPResponse.StatusCode", "must be 0 or from 200 to 599")),
        };
        let body = if matches!(status, 204 | 205 | 304) { String::new() } else { body };
        let mut response = Self { status, body, headers: BTreeMap::new() };
        for (name, value) in headers {
            let value = value.trim_matches([' ', '\t']);
            let problem = if !is_token(&name) {
                "is no name of a field"
            } else if is_framing(&name) {
                "is not for a hook to set"
            } else if value.bytes().any(|byte| byte.is_ascii_control() && byte != b'\t') {
                "has a value with control characters"
            } else {
                response.set_header(name, value.to_owned());
                continue;
            };
            return Err(InvalidVerdict::new(format!("HTTPResponse.Header[{name:?}]"), problem));
        }
        Ok(response)
    }

    /// Sets a field, in place of one whose name differs in case only.
    fn set_header(&mut self, name: String, value: String) {
        self.headers.retain(|known, _| !known.eq_ignore_ascii_case(&name));
        self.headers.insert(name, value);
    }
}

impl Verdict {
    /// Whether it refuses what an event of this kind asks for.
    #[must_use]
    pub(super) fn refuses(&self, kind: EventKind) -> bool {
        match kind {
            EventKind::PreCreate => self.reject_upload,
            EventKind::PreTerminate => self.reject_termination,
            EventKind::PreAccess => self.reject_access,
            _ => false,
        }
    }

    /// This one, and what another hook said later: that wins where both say something, but nothing takes a rejection
    /// back, and both hold only as long as each of them does.
    #[must_use]
    pub(super) fn and_then(mut self, later: Self) -> Self {
        let HookResponse { status, body, headers } = later.response;
        if status != 0 {
            self.response.status = status;
        }
        if !body.is_empty() {
            self.response.body = body;
        }
        for (name, value) in headers {
            self.response.set_header(name, value);
        }
        Self {
            response: self.response,
            reject_upload: self.reject_upload || later.reject_upload,
            reject_termination: self.reject_termination || later.reject_termination,
            reject_access: self.reject_access || later.reject_access,
            stop_upload: self.stop_upload || later.stop_upload,
            changes: Changes {
                id: later.changes.id.or(self.changes.id),
                metadata: later.changes.metadata.or(self.changes.metadata),
                storage: later.changes.storage.or(self.changes.storage),
            },
            cache_secs: self.cache_secs.min(later.cache_secs),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(status: i64, headers: &[(&str, &str)]) -> Result<HookResponse, InvalidVerdict> {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        HookResponse::checked(status, "why".to_owned(), headers)
    }

    #[test]
    fn statuses_that_end_a_request_are_taken() {
        for status in [0, 200, 400, 599] {
            assert_eq!(i64::from(checked(status, &[]).unwrap().status), status);
        }
        for status in [-1, 1, 99, 100, 101, 199, 600, 999, 65_736, i64::MAX] {
            assert_eq!(checked(status, &[]).unwrap_err().field, "HTTPResponse.StatusCode", "{status}");
        }
    }

    #[test]
    fn a_status_without_a_body_has_none() {
        for (status, body) in [(204, ""), (205, ""), (304, ""), (200, "why"), (403, "why"), (0, "why")] {
            assert_eq!(checked(status, &[]).unwrap().body, body, "{status}");
        }
    }

    #[test]
    fn fields_that_could_make_two_answers_of_one_are_refused() {
        for (name, value) in [
            ("Content-Length", "5"),
            ("transfer-encoding", "chunked"),
            ("CONNECTION", "close"),
            ("Upgrade", "h2c"),
            ("", "nameless"),
            ("X A", "1"),
            ("X-A:", "1"),
            ("X-A\r\nX-B", "1"),
            ("X-\u{fc}", "1"),
            ("X-A", "1\r\nX-B: 2"),
            ("X-A", "1\n"),
            ("X-A", "\0"),
            ("X-A", "\u{7f}"),
        ] {
            let error = checked(200, &[("X-Fine", "1"), (name, value)]).unwrap_err();
            assert_eq!(error.field, format!("HTTPResponse.Header[{name:?}]"), "{value:?}");
        }
        let fine = checked(200, &[("X-A", " a\tb\u{fc} "), ("X-B", "")]).unwrap();
        assert_eq!(
            fine.headers,
            [("X-A", "a\tb\u{fc}"), ("X-B", "")].map(|(n, v)| (n.to_owned(), v.to_owned())).into()
        );
    }

    #[test]
    fn a_field_is_set_once_however_it_is_spelled() {
        let headers = checked(200, &[("Content-Type", "a"), ("content-type", "b")]).unwrap().headers;
        assert_eq!(headers, [("content-type".to_owned(), "b".to_owned())].into());
    }

    #[test]
    fn a_rejection_belongs_to_its_event() {
        let all = Verdict { reject_upload: true, reject_termination: true, reject_access: true, ..Verdict::default() };
        let rejected: Vec<_> = EventKind::ALL.into_iter().filter(|kind| all.refuses(*kind)).collect();
        assert_eq!(rejected, [EventKind::PreCreate, EventKind::PreTerminate, EventKind::PreAccess]);
        assert!(!Verdict { stop_upload: true, ..Verdict::default() }.refuses(EventKind::PreCreate));
    }

    #[test]
    fn the_later_one_wins_where_it_says_something() {
        let map = |entries: &[(&str, &str)]| {
            let owned = entries.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            owned.collect::<BTreeMap<_, _>>()
        };
        let first = Verdict {
            response: HookResponse { status: 201, body: "first".into(), headers: map(&[("X-A", "1"), ("X-B", "1")]) },
            reject_access: true,
            changes: Changes { id: Some("one".into()), metadata: Some(map(&[("a", "1")])), storage: None },
            cache_secs: 60,
            ..Verdict::default()
        };
        let silent = Verdict { cache_secs: 90, ..Verdict::default() };
        assert_eq!(first.clone().and_then(silent), first);
        let second = Verdict {
            response: HookResponse { status: 202, body: "second".into(), headers: map(&[("x-a", "2")]) },
            stop_upload: true,
            changes: Changes { id: Some("two".into()), metadata: Some(map(&[])), storage: Some(map(&[("Path", "p")])) },
            cache_secs: 5,
            ..Verdict::default()
        };
        let both = Verdict {
            response: HookResponse { headers: map(&[("X-B", "1"), ("x-a", "2")]), ..second.response.clone() },
            reject_access: true,
            ..second.clone()
        };
        assert_eq!(first.and_then(second), both);
    }
}
