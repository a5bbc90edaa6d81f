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
/// How long a body with a wrong offset is. Servers written in Go, Caddy and Traefik among them, read 256 KiB of a body before
/// they let an answer out.
const MISPLACED_LENGTH: u64 = 512 << 10;
/// So much of it is sent before an answer is waited for again.
const MISPLACED_FIRST: u64 = 320 << 10;
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

/// Cuts a body whose length was told, and one in chunks; the largest that is taken is known.
pub(super) async fn cut(on: &mut Examination<'_>, largest: u64) -> Result<(), Stop> {
    for framing in [Framing::Length, Framing::Chunks] {
        let (created, path) = on.create_sized(on.length_up_to(LENGTH)).await?;
        let Some(path) = path else {
            on.report.gaps.push(format!("a cut: POST gets {}", created.quoted()));
            return Ok(());
        };
        cut_one(on, &path, framing, MISPLACED_LENGTH.min(largest)).await?;
        // The one would be no news after the other.
        if on.report.has(&Problem::RequestBuffered) {
            return Ok(());
        }
    }
    Ok(())
}

async fn cut_one(on: &mut Examination<'_>, path: &str, framing: Framing, misplaced: u64) -> Result<(), Stop> {
    let mut exchange = begin(on, path, 0, framing, LENGTH).await?;
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
        Some(0) => explain(on, path, framing, misplaced, &sent).await,
        Some(offset) if offset < total => {
            on.report.notes.push(format!("{sent}: {offset} of them arrived"));
            Ok(())
        }
        Some(_) if framing == Framing::Length => look_for_delay(on, path, misplaced).await,
        _ => Ok(()),
    }
}

/// All that came before a cut was kept. A proxy may have held it back until then; or else the server looks at a body's
/// offset only when it has all of it, so that this is no finding.
async fn look_for_delay(on: &mut Examination<'_>, path: &str, length: u64) -> Result<(), Stop> {
    if let Refusal::Late(answer) = misplace(on, path, Framing::Length, length).await? {
        on.report.notes.push(format!(
            "a PATCH with a wrong offset is refused with {} only when all of it was sent: a proxy buffers request bodies, or \
             the server reads them first",
            answer.status
        ));
    }
    Ok(())
}

/// Nothing of a body was kept: because it never came, or because the server keeps nothing of what is cut?
async fn explain(on: &mut Examination<'_>, path: &str, framing: Framing, length: u64, sent: &str) -> Result<(), Stop> {
    match misplace(on, path, framing, length).await? {
        Refusal::Early(answer) => on.report.notes.push(format!(
            "of a {} that is cut nothing is kept, though it is not buffered: a wrong offset gets {} before its end",
            framing.name(),
            answer.status
        )),
        Refusal::Late(answer) => {
            let got = format!(
                "HEAD says Upload-Offset: 0; and with a wrong offset, {} only when the last byte was sent",
                answer.quoted()
            );
            on.report.find(framing.buffered(), sent, got);
        }
    }
    Ok(())
}

/// When a body was refused.
enum Refusal {
    /// Before it was sent whole.
    Early(Answer),
    Late(Answer),
}

/// Sends a body with a wrong offset, slowly. A server to which it comes as it is sent refuses it before the end.
async fn misplace(on: &Examination<'_>, path: &str, framing: Framing, length: u64) -> Result<Refusal, Stop> {
    let mut exchange = begin(on, path, 7, framing, length).await?;
    if let Some(answer) = send_pieces(&mut exchange, framing).await? {
        return Ok(Refusal::Early(answer));
    }
    let mut count = PIECES;
    for until in [PIECES, MISPLACED_FIRST / PIECE].into_iter().filter(|until| *until < length / PIECE) {
        let sent = send_until(&mut exchange, framing, &mut count, until).await;
        match exchange.answer(REFUSES_WITHIN).await {
            Err(Failure::Silent(_)) => sent?,
            answer => return Ok(Refusal::Early(answer?)),
        }
    }
    let sent = send_until(&mut exchange, framing, &mut count, length / PIECE).await;
    if framing == Framing::Chunks && sent.is_ok() {
        exchange.send(b"0\r\n\r\n").await?;
    }
    let answer = exchange.answer(on.options.patience()).await?;
    Ok(if sent.is_ok() { Refusal::Late(answer) } else { Refusal::Early(answer) })
}

async fn send_until(exchange: &mut Exchange, framing: Framing, count: &mut u64, until: u64) -> Result<(), Failure> {
    while *count < until {
        exchange.send(&framing.piece()).await?;
        *count += 1;
    }
    Ok(())
}

async fn begin(
    on: &Examination<'_>,
    path: &str,
    offset: u64,
    framing: Framing,
    length: u64,
) -> Result<Exchange, Failure> {
    let (offset, length) = (offset.to_string(), length.to_string());
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
