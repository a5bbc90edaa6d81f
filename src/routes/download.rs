//! GET: the bytes of a finished upload. Needs nobody's leave: any number of them run at once.

use std::io;

use futures_util::stream;
use wharf_actors::{Record, UploadId, storage::Reader};

use super::{Body, Head, Reply, Site};
use crate::{
    problem,
    protocol::{
        Header, Refusal,
        download::{Download, decide},
        media, reply,
    },
};

/// How much is read from the store at a time.
const READ_BYTES: usize = 256 * 1024;

pub(super) async fn download(site: &Site, head: &Head<'_>, id: &UploadId) -> Reply {
    let record = match site.uploads.record(id).await {
        Ok(Some(record)) => record,
        Ok(None) => return Reply::refusal(Refusal::IncompleteUpload),
        Err(failure) => return Reply::refusal(problem::of(failure)),
    };
    let outcome = decide(&head.fields, record.length, &record.etag, record.modified, "GET");
    let (status, mut headers) = headers(&record, outcome);
    let range = match outcome {
        Download::Full => 0..record.length,
        Download::Part { first, last } => first..last + 1,
        Download::NotModified | Download::PreconditionFailed | Download::Unsatisfiable => {
            return Reply::new(status, headers);
        }
    };
    let reader: Box<dyn Reader> = match site.uploads.read(&record).await {
        Ok(reader) => reader,
        Err(failure) => return Reply::refusal(problem::of(failure)),
    };
    headers.retain(|(name, _)| *name != "content-length");
    let len = range.end - range.start;
    let logger = head.exchange.logger();
    let chunks = stream::try_unfold((reader, range), move |(mut reader, range)| {
        let logger = logger.clone();
        async move {
            if range.is_empty() {
                return Ok(None);
            }
            let len = usize::try_from(range.end - range.start).unwrap_or(READ_BYTES).min(READ_BYTES);
            let bytes = reader.read(range.start, len).await.map_err(|error| {
                slog::error!(logger, "store failed"; "error" => %error);
                io::Error::other(error)
            })?;
            if bytes.is_empty() {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
            }
            let start = range.start + bytes.len() as u64;
            Ok(Some((bytes, (reader, start..range.end))))
        }
    });
    let mut reply = Reply::new(status, headers);
    reply.body = Body::Stream(len, Box::pin(chunks));
    reply
}

/// Status and headers of a finished upload, as a file.
pub(super) fn headers(record: &Record, outcome: Download) -> (u16, Vec<Header>) {
    let metadata = &record.info.metadata;
    let content_type = media::content_type(metadata.get("filetype").map(String::as_str));
    let disposition = media::content_disposition(&content_type, metadata.get("filename").map(String::as_str));
    let (status, mut headers) =
        reply::downloaded(outcome, record.length, &record.etag, record.modified, content_type, disposition);
    // What people upload must not run as a script of this origin, whatever a browser makes of it.
    headers.push(("content-security-policy", "sandbox; default-src 'none'".into()));
    (status, headers)
}
