//! A body that comes slowly and is cut: what of it the server has, and whether the upload is free again.

use std::time::Duration;

use super::super::{
    answer::{Answer, excerpt},
    examination::{Examination, OFFSET_TYPE, Stop},
    finding::Problem,
    wire::{Exchange, Failure},
};

/// How long the body is.
pub(super) const LENGTH: u64 = 128 << 10;
/// It comes in pieces of so many bytes.
const PIECE: u64 = 16 << 10;
/// And is cut after so many of them.
const PIECES: u64 = 4;
/// Between two pieces.
const EVERY: Duration = Duration::from_millis(100);
/// How long a server that has a request's head may take to refuse it.
const REFUSES_WITHIN: Duration = Duration::from_secs(3);

/// How a body tells its end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Framing {
    Length,
    Chunks,
}

impl Framing {
    fn name(self) -> &'static str {
        match self {
            Self::Length => "PATCH",
            Self::Chunks => "PATCH in chunks",
        }
    }

    fn buffered(self) -> Problem {
        match self {
            Self::Length => Problem::RequestBuffered,
            Self::Chunks => Problem::ChunksBuffered,
        }
    }

    fn piece(self) -> Vec<u8> {
        let bytes = vec![b'w'; usize::try_from(PIECE).unwrap_or_default()];
        match self {
            Self::Length => bytes,
            Self::Chunks => [format!("{PIECE:x}\r\n").as_bytes(), &bytes, b"\r\n"].concat(),
        }
    }
}

/// Cuts a body whose length was told, and one in chunks.
pub(super) async fn cut(on: &mut Examination<'_>) -> Result<(), Stop> {
    for framing in [Framing::Length, Framing::Chunks] {
        let (created, path) = on.create_sized(on.length_up_to(LENGTH)).await?;
        let Some(path) = path else {
            on.report.gaps.push(format!("a cut: POST gets {}", created.quoted()));
            return Ok(());
        };
        cut_one(on, &path, framing).await?;
        // The one would be no news after the other.
        if on.report.has(&Problem::RequestBuffered) {
            return Ok(());
        }
    }
    Ok(())
}

async fn cut_one(on: &mut Examination<'_>, path: &str, framing: Framing) -> Result<(), Stop> {
    let mut exchange = begin(on, path, 0, framing).await?;
    let early = send_pieces(&mut exchange, framing).await;
    drop(exchange);
    let total = PIECE * PIECES;
    let sent = format!("{} {} of {LENGTH} bytes, cut after {total}", framing.name(), excerpt(path));
    if let Some(answer) = early? {
        let problem = match (answer.status, framing) {
            (413, _) if on.is_of_front(&answer) => Problem::BodyCapped,
            (400 | 405 | 411 | 413 | 501, Framing::Chunks) if on.is_of_front(&answer) => Problem::ChunksRefused,
            _ => {
                on.report.gaps.push(format!("{}, which gets {}", framing.name(), answer.quoted()));
                return Ok(());
            }
        };
        on.report.find(problem, sent, answer.quoted());
        return Ok(());
    }
    let head = on.head_at(path, total).await?;
    if matches!(head.status, 423 | 500..=599) {
        let got = format!("HEAD still gets {} after {} s", head.quoted(), on.options.timeout);
        on.report.find(Problem::StaysLocked, sent, got);
        return Ok(());
    }
    match head.number("upload-offset") {
        Some(0) => explain(on, path, framing, &sent).await,
        Some(offset) if offset < total => {
            on.report.notes.push(format!("{sent}: {offset} of them arrived"));
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Nothing of a body was kept: because it never came, or because the server keeps nothing of what is cut? A server to
/// which a body comes as it is sent refuses a wrong offset before the end.
async fn explain(on: &mut Examination<'_>, path: &str, framing: Framing, sent: &str) -> Result<(), Stop> {
    let mut exchange = begin(on, path, 7, framing).await?;
    let mut early = send_pieces(&mut exchange, framing).await?;
    if early.is_none() {
        early = match exchange.answer(REFUSES_WITHIN).await {
            Err(Failure::Silent(_)) => None,
            answer => Some(answer?),
        };
    }
    if let Some(answer) = early {
        let what = framing.name();
        on.report.notes.push(format!(
            "of a {what} that is cut nothing is kept, though it is not buffered: a wrong offset gets {} before its end",
            answer.status
        ));
        return Ok(());
    }
    for _ in PIECES..LENGTH / PIECE {
        exchange.send(&framing.piece()).await?;
    }
    if framing == Framing::Chunks {
        exchange.send(b"0\r\n\r\n").await?;
    }
    let answer = exchange.answer(on.options.patience()).await?;
    let got = format!(
        "HEAD says Upload-Offset: 0; and with a wrong offset, {} only when the last byte was sent",
        answer.quoted()
    );
    on.report.find(framing.buffered(), sent, got);
    Ok(())
}

async fn begin(on: &Examination<'_>, path: &str, offset: u64, framing: Framing) -> Result<Exchange, Failure> {
    let (offset, length) = (offset.to_string(), LENGTH.to_string());
    let framed = match framing {
        Framing::Length => ("Content-Length", length.as_str()),
        Framing::Chunks => ("Transfer-Encoding", "chunked"),
    };
    on.begin_tus("PATCH", path, &[OFFSET_TYPE, ("Upload-Offset", &offset), framed]).await
}

/// Sends what is sent before the cut; an answer that comes meanwhile.
async fn send_pieces(exchange: &mut Exchange, framing: Framing) -> Result<Option<Answer>, Failure> {
    for _ in 0..PIECES {
        // Who has answered may have closed, which the answer explains.
        let sent = exchange.send(&framing.piece()).await;
        match exchange.answer(EVERY).await {
            Err(Failure::Silent(_)) => sent?,
            answer => return answer.map(Some),
        }
    }
    Ok(None)
}
