//! GET: the bytes of a finished upload. Needs nobody's leave: any number of them run at once.

use std::{cell::Cell, io, ops::Range, rc::Rc, sync::Arc};

use futures_util::stream;
use slog::Logger;
use wharf_actors::{
    Record, UploadId,
    storage::{Reader, Sent, Stop},
};

use super::{
    Body, Head, Reply, Site,
    caller::caller,
    exchange::{Chunks, Direct},
};
use crate::{
    problem,
    protocol::{
        Header, Refusal,
        download::{Download, decide},
        media, reply,
    },
    server::{Incoming, Outgoing},
};

/// How much is read from the store at a time.
const READ_BYTES: usize = 256 * 1024;
/// How much the store is asked to send at a time: it must not keep a thread for long from those who read.
const SEND_BYTES: usize = 1024 * 1024;
/// What is shorter is read and copied: to watch the socket for it would cost as much.
const DIRECT_LEAST_BYTES: u64 = 128 * 1024;

pub(super) async fn download(site: &Site, head: &Head<'_>, id: &UploadId, incoming: Option<&Incoming>) -> Reply {
    if let Err(failure) = site.uploads.ask_for_access(id, caller(site, head).as_ref()).await {
        return Reply::told(problem::of(failure));
    }
    let record = match site.uploads.record(id).await {
        Ok(Some(record)) => record,
        Ok(None) => return Reply::refusal(Refusal::IncompleteUpload),
        Err(failure) => return Reply::told(problem::of(failure)),
    };
    let outcome = decide(&head.fields, record.length, &record.etag, record.modified, "GET");
    let (status, headers) = headers(&record, outcome);
    let range = match outcome {
        Download::Full => 0..record.length,
        Download::Part { first, last } => first..last + 1,
        Download::NotModified | Download::PreconditionFailed | Download::Unsatisfiable => {
            return Reply::new(status, headers);
        }
    };
    let reader: Box<dyn Reader> = match site.uploads.read(&record).await {
        Ok(reader) => reader,
        Err(failure) => return Reply::told(problem::of(failure)),
    };
    let len = range.end - range.start;
    let outgoing = incoming.filter(|_| len >= DIRECT_LEAST_BYTES && reader.can_send()).and_then(Incoming::outgoing);
    let logger = head.exchange.logger();
    let mut reply = Reply::new(status, headers);
    reply.body = match outgoing {
        Some(outgoing) => {
            let sent = Rc::default();
            let sending = Box::pin(send(reader, range, outgoing, Rc::clone(&sent), logger));
            Body::Direct(Direct { sending, sent })
        }
        None => {
            reply.headers.retain(|(name, _)| *name != "content-length");
            Body::Stream(len, chunks(reader, range, logger))
        }
    };
    reply
}

/// Has the store bring the bytes into the socket.
async fn send(
    mut reader: Box<dyn Reader>,
    mut range: Range<u64>,
    mut outgoing: Outgoing,
    sent: Rc<Cell<u64>>,
    logger: Logger,
) -> io::Result<()> {
    outgoing.head_is_out().await;
    let mut socket = outgoing.writable().await?;
    while !range.is_empty() {
        let len = usize::try_from(range.end - range.start).unwrap_or(SEND_BYTES).min(SEND_BYTES);
        let Sent { len, stop } = reader.send(Arc::clone(&socket), range.start, len).await.map_err(|error| {
            slog::error!(logger, "store failed"; "error" => %error);
            io::Error::other(error)
        })?;
        range.start += len as u64;
        sent.set(sent.get() + len as u64);
        match stop {
            Stop::Done => {}
            Stop::Full => socket = outgoing.writable().await?,
            Stop::Short => return Err(io::ErrorKind::UnexpectedEof.into()),
            Stop::Gone => return Err(io::ErrorKind::ConnectionReset.into()),
        }
    }
    Ok(())
}

/// Reads the bytes from the store, piece by piece.
fn chunks(reader: Box<dyn Reader>, range: Range<u64>, logger: Logger) -> Chunks {
    Box::pin(stream::try_unfold((reader, range), move |(mut reader, range)| {
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
    }))
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
