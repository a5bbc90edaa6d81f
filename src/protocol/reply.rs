//! The headers of every answer. Names are in lower case; the server decides how they go out.

use std::time::SystemTime;

use super::{
    Header, Refusal, Rules, VERSION, checksum,
    download::Download,
    expiration::{self, http_date, whole_secs},
};

/// An upload's state, as far as HEAD tells it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// How many bytes are stored; `None` for a final upload that is not concatenated yet.
    pub offset: Option<u64>,
    /// The upload's length, if it is known.
    pub length: Option<u64>,
    /// Whether the client has still to tell the length.
    pub deferred: bool,
    /// `Upload-Metadata` as the client sent it.
    pub raw_metadata: Option<String>,
    /// `Upload-Concat`: [`super::concat::PARTIAL`], or a final upload's as the client sent it.
    pub raw_concat: Option<String>,
    /// When the upload expires, in seconds since the Unix epoch.
    pub expires_at_secs: Option<u64>,
}

/// What every answer carries but those to refused origins: the version, and that browsers must not guess types.
#[must_use]
pub fn common() -> [Header; 2] {
    [("tus-resumable", VERSION.into()), ("x-content-type-options", "nosniff".into())]
}

/// The answer to OPTIONS: what the server can do.
#[must_use]
pub fn options(rules: &Rules) -> Vec<Header> {
    let mut headers = vec![("tus-version", VERSION.into())];
    // tus 1.0.0, "Tus-Extension": without any extension the header MUST be left out.
    let extensions = rules.extensions.header();
    if !extensions.is_empty() {
        headers.push(("tus-extension", extensions.into()));
    }
    if let Some(limit) = rules.max_size {
        headers.push(("tus-max-size", limit.to_string().into()));
    }
    if rules.extensions.checksum {
        headers.push(("tus-checksum-algorithm", checksum::algorithms_header().into()));
    }
    headers
}

/// The answer to a creation. `offset` is given if the request brought bytes.
#[must_use]
pub fn created(location: String, offset: Option<u64>, expires_at_secs: Option<u64>) -> Vec<Header> {
    let offset = offset.map(|offset| ("upload-offset", offset.to_string().into()));
    let expires = expires_at_secs.map(expiration::header);
    [Some(("location", location.into())), offset, expires].into_iter().flatten().collect()
}

/// The answer to a PATCH: the new offset.
#[must_use]
pub fn appended(offset: u64, expires_at_secs: Option<u64>) -> Vec<Header> {
    let expires = expires_at_secs.map(expiration::header);
    [Some(("upload-offset", offset.to_string().into())), expires].into_iter().flatten().collect()
}

/// The answer to HEAD. It must not be cached (tus 1.0.0, "HEAD"), and names the upload's length as that of the body
/// which GET would bring.
#[must_use]
pub fn inspected(snapshot: &Snapshot) -> Vec<Header> {
    let length = snapshot.length.filter(|_| !snapshot.deferred).map(|length| length.to_string());
    let headers = [
        Some(("cache-control", "no-store".into())),
        snapshot.offset.map(|offset| ("upload-offset", offset.to_string().into())),
        length.clone().map(|length| ("upload-length", length.into())),
        snapshot.deferred.then(|| ("upload-defer-length", "1".into())),
        length.map(|length| ("content-length", length.into())),
        snapshot.raw_metadata.clone().map(|raw| ("upload-metadata", raw.into())),
        snapshot.raw_concat.clone().map(|raw| ("upload-concat", raw.into())),
        snapshot.expires_at_secs.map(expiration::header),
    ];
    headers.into_iter().flatten().collect()
}

/// The answer to GET: status and headers. `content_type` and `disposition` come from [`super::download`].
#[must_use]
pub fn downloaded(
    download: Download,
    length: u64,
    etag: &str,
    modified: Option<SystemTime>,
    content_type: String,
    disposition: String,
) -> (u16, Vec<Header>) {
    let mut headers = vec![("accept-ranges", "bytes".into()), ("etag", etag.to_owned().into())];
    headers.extend(modified.map(|modified| ("last-modified", http_date(whole_secs(modified)).into())));
    let (status, sent) = match download {
        Download::Full => (200, Some(length)),
        Download::Part { first, last } => {
            headers.push(("content-range", format!("bytes {first}-{last}/{length}").into()));
            (206, Some(last - first + 1))
        }
        Download::NotModified => (304, None),
        Download::PreconditionFailed => (412, None),
        Download::Unsatisfiable => {
            headers.push(("content-range", format!("bytes */{length}").into()));
            (416, None)
        }
    };
    if let Some(sent) = sent {
        headers.push(("content-type", content_type.into()));
        headers.push(("content-disposition", disposition.into()));
        headers.push(("content-length", sent.to_string().into()));
    }
    (status, headers)
}

/// The headers of a refusal, beside its body's length. It must not be cached: an upload that isn't there, or that is
/// locked, may be there the next moment.
#[must_use]
pub fn refused(refusal: Refusal) -> Vec<Header> {
    let mut headers = vec![("content-type", "text/plain; charset=utf-8".into()), ("cache-control", "no-store".into())];
    headers.extend(refusal.headers());
    headers
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;
    use crate::protocol::{Extensions, testing::rules};

    const EXPIRES: u64 = 1_796_117_400;
    const EXPIRES_TEXT: &str = "Tue, 01 Dec 2026 09:30:00 GMT";

    fn text(headers: &[Header]) -> String {
        headers.iter().map(|(name, value)| format!("{name}: {value}\n")).collect()
    }

    #[test]
    fn options_tell_what_is_on() {
        assert_eq!(
            text(&options(&rules())),
            "tus-version: 1.0.0\n\
             tus-extension: creation,creation-with-upload,creation-defer-length,expiration,checksum,checksum-trailer,\
             termination,concatenation,concatenation-unfinished\n\
             tus-max-size: 1000\n\
             tus-checksum-algorithm: sha1,sha256,sha512,md5,crc32\n"
        );
        let extensions = Extensions { checksum: false, checksum_trailer: false, ..Extensions::all() };
        assert_eq!(
            text(&options(&Rules { max_size: None, extensions, ..rules() })),
            "tus-version: 1.0.0\n\
             tus-extension: creation,creation-with-upload,creation-defer-length,expiration,termination,concatenation,\
             concatenation-unfinished\n"
        );
    }

    #[test]
    fn creations_and_appends_tell_what_is_known() {
        assert_eq!(text(&created("/files/a".to_owned(), None, None)), "location: /files/a\n");
        assert_eq!(
            text(&created("/files/a".to_owned(), Some(0), Some(EXPIRES))),
            format!("location: /files/a\nupload-offset: 0\nupload-expires: {EXPIRES_TEXT}\n")
        );
        assert_eq!(text(&appended(7, None)), "upload-offset: 7\n");
        assert_eq!(text(&appended(7, Some(EXPIRES))), format!("upload-offset: 7\nupload-expires: {EXPIRES_TEXT}\n"));
        assert_eq!(text(&common()), "tus-resumable: 1.0.0\nx-content-type-options: nosniff\n");
    }

    #[test]
    fn a_snapshot_tells_the_length_or_that_it_is_deferred() {
        for (snapshot, expected) in [
            (
                Snapshot {
                    offset: Some(3),
                    length: Some(5),
                    raw_metadata: Some("a YQ==".to_owned()),
                    raw_concat: Some("partial".to_owned()),
                    expires_at_secs: Some(EXPIRES),
                    ..Snapshot::default()
                },
                "cache-control: no-store\nupload-offset: 3\nupload-length: 5\ncontent-length: 5\n\
                 upload-metadata: a YQ==\nupload-concat: partial\nupload-expires: Tue, 01 Dec 2026 09:30:00 GMT\n",
            ),
            (
                Snapshot { offset: Some(3), deferred: true, ..Snapshot::default() },
                "cache-control: no-store\nupload-offset: 3\nupload-defer-length: 1\n",
            ),
            (
                Snapshot { offset: Some(3), length: Some(0), deferred: true, ..Snapshot::default() },
                "cache-control: no-store\nupload-offset: 3\nupload-defer-length: 1\n",
            ),
            (
                Snapshot { raw_concat: Some("final;/files/a".to_owned()), ..Snapshot::default() },
                "cache-control: no-store\nupload-concat: final;/files/a\n",
            ),
        ] {
            assert_eq!(text(&inspected(&snapshot)), expected, "{snapshot:?}");
        }
    }

    #[test]
    fn a_download_tells_what_it_holds() {
        let validators = "accept-ranges: bytes\netag: \"e\"\nlast-modified: Tue, 01 Dec 2026 09:30:00 GMT\n";
        let body = "content-type: a/b\ncontent-disposition: attachment\n";
        for (download, status, expected) in [
            (Download::Full, 200, format!("{body}content-length: 100\n")),
            (
                Download::Part { first: 10, last: 19 },
                206,
                format!("content-range: bytes 10-19/100\n{body}content-length: 10\n"),
            ),
            (Download::NotModified, 304, String::new()),
            (Download::PreconditionFailed, 412, String::new()),
            (Download::Unsatisfiable, 416, "content-range: bytes */100\n".to_owned()),
        ] {
            let modified = UNIX_EPOCH + Duration::from_secs(EXPIRES);
            let answer = downloaded(download, 100, "\"e\"", Some(modified), "a/b".to_owned(), "attachment".to_owned());
            assert_eq!((answer.0, text(&answer.1)), (status, validators.to_owned() + &expected), "{download:?}");
        }
    }

    #[test]
    fn refusals_are_plain_text_that_nobody_keeps() {
        assert_eq!(
            text(&refused(Refusal::UnsupportedVersion)),
            "content-type: text/plain; charset=utf-8\ncache-control: no-store\ntus-version: 1.0.0\n"
        );
    }
}
