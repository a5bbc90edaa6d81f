//! One fault: what goes wrong, which requests it fits, and how often.

use std::time::Duration;

use super::operation::Operation;

/// What goes wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// Takes the request's body, forwards nothing and answers with this status and this error code.
    Answer(u16, &'static str),
    /// Resets the connection when the head of the request is in; forwards nothing.
    ResetBefore,
    /// Forwards all, waits for the whole answer, and resets the connection instead of passing it on.
    ResetAfter,
    /// Forwards all, passes on the head and half of the body of the answer, and closes. An answer without a body, and a
    /// HEAD, are reset.
    CutAnswer,
    /// Waits, then forwards.
    Delay(Duration),
    /// Forwards, then waits with the answer.
    DelayAnswer(Duration),
    /// Forwards half of the request's body, then cuts the server's connection and resets the client's. A request
    /// without a body is reset.
    TruncateRequest,
    /// Answers 200 with an `<Error>` in its body, as S3 may to CompleteMultipartUpload and the copies; `applied` says
    /// whether the request is forwarded before that.
    ErrorInOk {
        /// Whether the server sees the request.
        applied: bool,
    },
    /// Forwards, and takes the last part, or all of them, out of the answer to ListParts.
    HideParts {
        /// All parts instead of the last.
        all: bool,
    },
    /// Waits for [`crate::Proxy::release`], then forwards.
    Hold,
}

impl Kind {
    /// A 503 that asks for patience.
    pub const SLOW_DOWN: Self = Self::Answer(503, "SlowDown");
    /// A 503.
    pub const UNAVAILABLE: Self = Self::Answer(503, "ServiceUnavailable");
    /// A 500.
    pub const INTERNAL_ERROR: Self = Self::Answer(500, "InternalError");

    /// Its name in [`crate::Counts`]; that of an answer is its error code.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Answer(_, code) => code,
            Self::ResetBefore => "ResetBefore",
            Self::ResetAfter => "ResetAfter",
            Self::CutAnswer => "CutAnswer",
            Self::Delay(_) => "Delay",
            Self::DelayAnswer(_) => "DelayAnswer",
            Self::TruncateRequest => "TruncateRequest",
            Self::ErrorInOk { applied: true } => "ErrorInOkApplied",
            Self::ErrorInOk { applied: false } => "ErrorInOkNotApplied",
            Self::HideParts { .. } => "HideParts",
            Self::Hold => "Hold",
        }
    }
}

/// A fault of a script: a kind, the requests that it fits, and how many of them it meets.
#[derive(Debug, Clone)]
pub struct Fault {
    /// Which call; all if none.
    pub operation: Option<Operation>,
    /// What goes wrong.
    pub kind: Kind,
    /// How many requests it meets.
    pub times: usize,
    /// How many requests that fit it lets pass before that.
    pub after: usize,
    /// Which part number; all if none.
    pub part: Option<u16>,
    /// What the key ends in, as the request's path spells it.
    pub key_suffix: String,
}

impl Fault {
    /// Meets the next request for `operation`, once.
    #[must_use]
    pub fn new(operation: Operation, kind: Kind) -> Self {
        Self { operation: Some(operation), ..Self::any(kind) }
    }

    /// Meets the next request, whatever it is, once.
    #[must_use]
    pub fn any(kind: Kind) -> Self {
        Self { operation: None, kind, times: 1, after: 0, part: None, key_suffix: String::new() }
    }

    /// Meets so many requests.
    #[must_use]
    pub fn times(self, times: usize) -> Self {
        Self { times, ..self }
    }

    /// Meets all requests that fit, until [`crate::Proxy::calm`].
    #[must_use]
    pub fn always(self) -> Self {
        self.times(usize::MAX)
    }

    /// Lets so many requests that fit pass first.
    #[must_use]
    pub fn after(self, after: usize) -> Self {
        Self { after, ..self }
    }

    /// Meets only requests for this part number.
    #[must_use]
    pub fn part(self, number: u16) -> Self {
        Self { part: Some(number), ..self }
    }

    /// Meets only requests for keys that end so.
    #[must_use]
    pub fn key_suffix(self, suffix: &str) -> Self {
        Self { key_suffix: suffix.to_owned(), ..self }
    }
}
