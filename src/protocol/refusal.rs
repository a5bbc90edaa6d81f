//! Why a request is not done, as the client sees it: a code, a status and a short text, none of which ever change.

use super::{Header, VERSION};

/// Everything that a client can be refused for. Codes and texts are tusd's wherever tusd knows the case, because
/// clients and their users look for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the row of each variant says it all")]
pub enum Refusal {
    UnsupportedVersion,
    MaxSizeExceeded,
    InvalidContentType,
    InvalidUploadLength,
    InvalidOffset,
    UploadNotFound,
    UploadLocked,
    LockTimeout,
    MismatchedOffset,
    UploadSizeExceeded,
    NotImplemented,
    UploadNotFinished,
    InvalidConcat,
    ConcatenationUnsupported,
    ModifyFinal,
    AmbiguousUploadLength,
    InvalidUploadLengthDefer,
    UploadStopped,
    UploadRejected,
    UploadTerminationRejected,
    AccessRejected,
    UploadInterrupted,
    ServerShutdown,
    OriginNotAllowed,
    UnexpectedEof,
    ReadTimeout,
    ConnectionReset,
    IncompleteUpload,
    ChecksumMismatch,
    InvalidChecksum,
    UploadExpired,
    InsufficientStorage,
    Overloaded,
    MetadataTooLarge,
    HeadTooLarge,
    BadRequest,
    /// The target knows other methods only: those named here, as they stand in `Allow`.
    MethodNotAllowed {
        allow: &'static str,
    },
    UploadExists,
    /// No token that lets in; the challenge is what `WWW-Authenticate` says.
    Unauthorized {
        challenge: &'static str,
    },
    MetadataRequired,
    FileTypeNotAllowed,
    /// So many uploads are open; it may be tried again in so many seconds.
    TooManyUploads {
        after_secs: u64,
    },
    /// So many uploads were created of late.
    TooManyCreations {
        after_secs: u64,
    },
    Internal,
}

/// How long a client is asked to wait when the server is busy, in seconds.
const RETRY_AFTER_SECS: &str = "1";

impl Refusal {
    /// Each of them once.
    pub const ALL: [Self; 44] = [
        Self::UnsupportedVersion,
        Self::MaxSizeExceeded,
        Self::InvalidContentType,
        Self::InvalidUploadLength,
        Self::InvalidOffset,
        Self::UploadNotFound,
        Self::UploadLocked,
        Self::LockTimeout,
        Self::MismatchedOffset,
        Self::UploadSizeExceeded,
        Self::NotImplemented,
        Self::UploadNotFinished,
        Self::InvalidConcat,
        Self::ConcatenationUnsupported,
        Self::ModifyFinal,
        Self::AmbiguousUploadLength,
        Self::InvalidUploadLengthDefer,
        Self::UploadStopped,
        Self::UploadRejected,
        Self::UploadTerminationRejected,
        Self::AccessRejected,
        Self::UploadInterrupted,
        Self::ServerShutdown,
        Self::OriginNotAllowed,
        Self::UnexpectedEof,
        Self::ReadTimeout,
        Self::ConnectionReset,
        Self::IncompleteUpload,
        Self::ChecksumMismatch,
        Self::InvalidChecksum,
        Self::UploadExpired,
        Self::InsufficientStorage,
        Self::Overloaded,
        Self::MetadataTooLarge,
        Self::HeadTooLarge,
        Self::BadRequest,
        Self::MethodNotAllowed { allow: "" },
        Self::UploadExists,
        Self::Unauthorized { challenge: "" },
        Self::MetadataRequired,
        Self::FileTypeNotAllowed,
        Self::TooManyUploads { after_secs: 0 },
        Self::TooManyCreations { after_secs: 0 },
        Self::Internal,
    ];

    /// The code, stable, for programs.
    #[must_use]
    pub const fn code(self) -> &'static str {
        self.row().0
    }

    /// The HTTP status.
    #[must_use]
    pub const fn status(self) -> u16 {
        self.row().1
    }

    /// The text for people.
    #[must_use]
    pub const fn message(self) -> &'static str {
        self.row().2
    }

    /// The body of the answer, as tusd writes it.
    #[must_use]
    pub fn body(self) -> String {
        match self {
            Self::MethodNotAllowed { .. } => self.message().to_owned(),
            _ => format!("{}: {}\n", self.code(), self.message()),
        }
    }

    /// Whether the answer is the last on its connection: its cause lies in a body of which more may come, or in the
    /// connection itself.
    #[must_use]
    pub const fn closes_connection(self) -> bool {
        matches!(
            self,
            Self::UploadSizeExceeded
                | Self::UploadStopped
                | Self::UploadInterrupted
                | Self::ServerShutdown
                | Self::UnexpectedEof
                | Self::ReadTimeout
                | Self::ConnectionReset
                | Self::InsufficientStorage
                | Self::HeadTooLarge
                | Self::BadRequest
                | Self::Internal
        )
    }

    /// The headers that belong to this refusal alone.
    #[must_use]
    pub fn headers(self) -> Vec<Header> {
        match self {
            // tus 1.0.0, "Tus-Resumable": the 412 MUST name the versions that would do.
            Self::UnsupportedVersion => vec![("tus-version", VERSION.into())],
            Self::MethodNotAllowed { allow } => vec![("allow", allow.into())],
            Self::Overloaded => vec![("retry-after", RETRY_AFTER_SECS.into())],
            // RFC 9110, 15.5.2: a 401 MUST say how to be let in.
            Self::Unauthorized { challenge } => vec![("www-authenticate", challenge.into())],
            Self::TooManyUploads { after_secs } | Self::TooManyCreations { after_secs } => {
                vec![("retry-after", after_secs.to_string().into())]
            }
            _ => Vec::new(),
        }
    }

    const fn row(self) -> (&'static str, u16, &'static str) {
        match self {
            Self::UnsupportedVersion => {
                ("ERR_UNSUPPORTED_VERSION", 412, "missing, invalid or unsupported Tus-Resumable header")
            }
            Self::MaxSizeExceeded => ("ERR_MAX_SIZE_EXCEEDED", 413, "maximum size exceeded"),
            // tus 1.0.0, "PATCH": SHOULD be 415 (tusd answers 400).
            Self::InvalidContentType => ("ERR_INVALID_CONTENT_TYPE", 415, "missing or invalid Content-Type header"),
            Self::InvalidUploadLength => ("ERR_INVALID_UPLOAD_LENGTH", 400, "missing or invalid Upload-Length header"),
            Self::InvalidOffset => ("ERR_INVALID_OFFSET", 400, "missing or invalid Upload-Offset header"),
            Self::UploadNotFound => ("ERR_UPLOAD_NOT_FOUND", 404, "upload not found"),
            Self::UploadLocked => ("ERR_UPLOAD_LOCKED", 423, "file currently locked"),
            Self::LockTimeout => ("ERR_LOCK_TIMEOUT", 500, "failed to acquire lock before timeout"),
            Self::MismatchedOffset => ("ERR_MISMATCHED_OFFSET", 409, "mismatched offset"),
            Self::UploadSizeExceeded => ("ERR_UPLOAD_SIZE_EXCEEDED", 413, "upload's size exceeded"),
            Self::NotImplemented => ("ERR_NOT_IMPLEMENTED", 501, "feature not implemented"),
            Self::UploadNotFinished => ("ERR_UPLOAD_NOT_FINISHED", 400, "one of the partial uploads is not finished"),
            Self::InvalidConcat => ("ERR_INVALID_CONCAT", 400, "invalid Upload-Concat header"),
            Self::ConcatenationUnsupported => {
                ("ERR_CONCATENATION_UNSUPPORTED", 400, "Upload-Concat header is not supported by server")
            }
            Self::ModifyFinal => ("ERR_MODIFY_FINAL", 403, "modifying a final upload is not allowed"),
            Self::AmbiguousUploadLength => {
                ("ERR_AMBIGUOUS_UPLOAD_LENGTH", 400, "provided both Upload-Length and Upload-Defer-Length")
            }
            Self::InvalidUploadLengthDefer => {
                ("ERR_INVALID_UPLOAD_LENGTH_DEFER", 400, "invalid Upload-Defer-Length header")
            }
            Self::UploadStopped => ("ERR_UPLOAD_STOPPED", 400, "upload has been stopped by server"),
            Self::UploadRejected => ("ERR_UPLOAD_REJECTED", 400, "upload creation has been rejected by server"),
            Self::UploadTerminationRejected => {
                ("ERR_UPLOAD_TERMINATION_REJECTED", 400, "upload termination has been rejected by server")
            }
            Self::AccessRejected => ("ERR_ACCESS_REJECTED", 403, "access to the upload has been rejected by server"),
            Self::UploadInterrupted => (
                "ERR_UPLOAD_INTERRUPTED",
                400,
                "upload has been interrupted by another request for this upload resource",
            ),
            Self::ServerShutdown => {
                ("ERR_SERVER_SHUTDOWN", 503, "request has been interrupted because the server is shutting down")
            }
            Self::OriginNotAllowed => ("ERR_ORIGIN_NOT_ALLOWED", 403, "request origin is not allowed"),
            Self::UnexpectedEof => ("ERR_UNEXPECTED_EOF", 400, "server expected to receive more bytes"),
            Self::ReadTimeout => ("ERR_READ_TIMEOUT", 500, "timeout while reading request body"),
            Self::ConnectionReset => ("ERR_CONNECTION_RESET", 500, "TCP connection reset by peer"),
            Self::IncompleteUpload => ("ERR_INCOMPLETE_UPLOAD", 400, "cannot stream non-finished upload"),
            Self::ChecksumMismatch => ("ERR_CHECKSUM_MISMATCH", 460, "checksum of the received bytes does not match"),
            Self::InvalidChecksum => ("ERR_INVALID_CHECKSUM", 400, "missing, invalid or unsupported Upload-Checksum"),
            Self::UploadExpired => ("ERR_UPLOAD_EXPIRED", 410, "upload has expired"),
            Self::InsufficientStorage => ("ERR_INSUFFICIENT_STORAGE", 507, "not enough space to store the upload"),
            Self::Overloaded => ("ERR_OVERLOADED", 503, "server is busy, try again later"),
            Self::MetadataTooLarge => ("ERR_METADATA_TOO_LARGE", 431, "Upload-Metadata header is too large"),
            Self::MethodNotAllowed { .. } => ("ERR_METHOD_NOT_ALLOWED", 405, "method not allowed"),
            Self::UploadExists => ("ERR_UPLOAD_EXISTS", 409, "an upload with this id exists already"),
            Self::Unauthorized { .. } => ("ERR_UNAUTHORIZED", 401, "a valid token is needed"),
            Self::MetadataRequired => ("ERR_METADATA_REQUIRED", 400, "metadata that is required is missing"),
            Self::FileTypeNotAllowed => ("ERR_FILE_TYPE_NOT_ALLOWED", 415, "files of this type are not allowed"),
            Self::TooManyUploads { .. } => ("ERR_TOO_MANY_UPLOADS", 429, "too many uploads are unfinished"),
            Self::TooManyCreations { .. } => {
                ("ERR_TOO_MANY_CREATIONS", 429, "too many uploads were created, try again later")
            }
            Self::HeadTooLarge => ("ERR_HEAD_TOO_LARGE", 431, "request head too large"),
            Self::BadRequest => ("ERR_BAD_REQUEST", 400, "malformed request"),
            Self::Internal => ("ERR_INTERNAL_SERVER_ERROR", 500, "internal server error"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALLOW: Refusal = Refusal::MethodNotAllowed { allow: "POST" };

    #[test]
    #[expect(clippy::too_many_lines, reason = "a table")]
    fn codes_and_texts_are_the_ones_clients_know() {
        let known = [
            (
                Refusal::UnsupportedVersion,
                412,
                "ERR_UNSUPPORTED_VERSION: missing, invalid or unsupported Tus-Resumable header\n",
            ),
            (Refusal::MaxSizeExceeded, 413, "ERR_MAX_SIZE_EXCEEDED: maximum size exceeded\n"),
            (Refusal::InvalidContentType, 415, "ERR_INVALID_CONTENT_TYPE: missing or invalid Content-Type header\n"),
            (Refusal::InvalidUploadLength, 400, "ERR_INVALID_UPLOAD_LENGTH: missing or invalid Upload-Length header\n"),
            (Refusal::InvalidOffset, 400, "ERR_INVALID_OFFSET: missing or invalid Upload-Offset header\n"),
            (Refusal::UploadNotFound, 404, "ERR_UPLOAD_NOT_FOUND: upload not found\n"),
            (Refusal::UploadLocked, 423, "ERR_UPLOAD_LOCKED: file currently locked\n"),
            (Refusal::LockTimeout, 500, "ERR_LOCK_TIMEOUT: failed to acquire lock before timeout\n"),
            (Refusal::MismatchedOffset, 409, "ERR_MISMATCHED_OFFSET: mismatched offset\n"),
            (Refusal::UploadSizeExceeded, 413, "ERR_UPLOAD_SIZE_EXCEEDED: upload's size exceeded\n"),
            (Refusal::NotImplemented, 501, "ERR_NOT_IMPLEMENTED: feature not implemented\n"),
            (Refusal::UploadNotFinished, 400, "ERR_UPLOAD_NOT_FINISHED: one of the partial uploads is not finished\n"),
            (Refusal::InvalidConcat, 400, "ERR_INVALID_CONCAT: invalid Upload-Concat header\n"),
            (
                Refusal::ConcatenationUnsupported,
                400,
                "ERR_CONCATENATION_UNSUPPORTED: Upload-Concat header is not supported by server\n",
            ),
            (Refusal::ModifyFinal, 403, "ERR_MODIFY_FINAL: modifying a final upload is not allowed\n"),
            (
                Refusal::AmbiguousUploadLength,
                400,
                "ERR_AMBIGUOUS_UPLOAD_LENGTH: provided both Upload-Length and Upload-Defer-Length\n",
            ),
            (
                Refusal::InvalidUploadLengthDefer,
                400,
                "ERR_INVALID_UPLOAD_LENGTH_DEFER: invalid Upload-Defer-Length header\n",
            ),
            (Refusal::UploadStopped, 400, "ERR_UPLOAD_STOPPED: upload has been stopped by server\n"),
            (Refusal::UploadRejected, 400, "ERR_UPLOAD_REJECTED: upload creation has been rejected by server\n"),
            (
                Refusal::UploadTerminationRejected,
                400,
                "ERR_UPLOAD_TERMINATION_REJECTED: upload termination has been rejected by server\n",
            ),
            (Refusal::AccessRejected, 403, "ERR_ACCESS_REJECTED: access to the upload has been rejected by server\n"),
            (
                Refusal::UploadInterrupted,
                400,
                "ERR_UPLOAD_INTERRUPTED: upload has been interrupted by another request for this upload resource\n",
            ),
            (
                Refusal::ServerShutdown,
                503,
                "ERR_SERVER_SHUTDOWN: request has been interrupted because the server is shutting down\n",
            ),
            (Refusal::OriginNotAllowed, 403, "ERR_ORIGIN_NOT_ALLOWED: request origin is not allowed\n"),
            (Refusal::UnexpectedEof, 400, "ERR_UNEXPECTED_EOF: server expected to receive more bytes\n"),
            (Refusal::ReadTimeout, 500, "ERR_READ_TIMEOUT: timeout while reading request body\n"),
            (Refusal::ConnectionReset, 500, "ERR_CONNECTION_RESET: TCP connection reset by peer\n"),
            (Refusal::IncompleteUpload, 400, "ERR_INCOMPLETE_UPLOAD: cannot stream non-finished upload\n"),
            (Refusal::ChecksumMismatch, 460, "ERR_CHECKSUM_MISMATCH: checksum of the received bytes does not match\n"),
            (Refusal::InvalidChecksum, 400, "ERR_INVALID_CHECKSUM: missing, invalid or unsupported Upload-Checksum\n"),
            (Refusal::UploadExpired, 410, "ERR_UPLOAD_EXPIRED: upload has expired\n"),
            (Refusal::InsufficientStorage, 507, "ERR_INSUFFICIENT_STORAGE: not enough space to store the upload\n"),
            (Refusal::Overloaded, 503, "ERR_OVERLOADED: server is busy, try again later\n"),
            (Refusal::MetadataTooLarge, 431, "ERR_METADATA_TOO_LARGE: Upload-Metadata header is too large\n"),
            (Refusal::HeadTooLarge, 431, "ERR_HEAD_TOO_LARGE: request head too large\n"),
            (Refusal::BadRequest, 400, "ERR_BAD_REQUEST: malformed request\n"),
            (ALLOW, 405, "method not allowed"),
            (Refusal::UploadExists, 409, "ERR_UPLOAD_EXISTS: an upload with this id exists already\n"),
            (Refusal::Unauthorized { challenge: "Bearer" }, 401, "ERR_UNAUTHORIZED: a valid token is needed\n"),
            (Refusal::MetadataRequired, 400, "ERR_METADATA_REQUIRED: metadata that is required is missing\n"),
            (Refusal::FileTypeNotAllowed, 415, "ERR_FILE_TYPE_NOT_ALLOWED: files of this type are not allowed\n"),
            (Refusal::TooManyUploads { after_secs: 1 }, 429, "ERR_TOO_MANY_UPLOADS: too many uploads are unfinished\n"),
            (
                Refusal::TooManyCreations { after_secs: 1 },
                429,
                "ERR_TOO_MANY_CREATIONS: too many uploads were created, try again later\n",
            ),
            (Refusal::Internal, 500, "ERR_INTERNAL_SERVER_ERROR: internal server error\n"),
        ];
        let codes: std::collections::BTreeSet<_> = Refusal::ALL.iter().map(|refusal| refusal.code()).collect();
        assert_eq!((known.len(), codes.len()), (Refusal::ALL.len(), Refusal::ALL.len()));
        for (refusal, status, body) in known {
            assert_eq!((refusal.status(), refusal.body().as_str()), (status, body), "{refusal:?}");
        }
    }

    #[test]
    fn some_refusals_bring_headers() {
        assert_eq!(Refusal::UnsupportedVersion.headers(), [("tus-version", "1.0.0".into())]);
        assert_eq!(ALLOW.headers(), [("allow", "POST".into())]);
        assert_eq!(Refusal::Overloaded.headers(), [("retry-after", "1".into())]);
        let limited = Refusal::TooManyCreations { after_secs: 17 };
        assert_eq!(limited.headers(), [("retry-after", "17".into())]);
        let challenge = Refusal::Unauthorized { challenge: "Bearer" };
        assert_eq!(challenge.headers(), [("www-authenticate", "Bearer".into())]);
        assert_eq!(Refusal::Internal.headers(), []);
    }

    #[test]
    fn what_cuts_a_body_closes_the_connection() {
        for refusal in [Refusal::UploadInterrupted, Refusal::ReadTimeout, Refusal::ServerShutdown] {
            assert!(refusal.closes_connection(), "{refusal:?}");
        }
        for refusal in [Refusal::MismatchedOffset, Refusal::ChecksumMismatch, Refusal::Overloaded, ALLOW] {
            assert!(!refusal.closes_connection(), "{refusal:?}");
        }
    }
}
