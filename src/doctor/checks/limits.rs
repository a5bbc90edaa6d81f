//! How large and how slow requests may be.

use std::time::{Duration, Instant};

use super::super::{
    answer::excerpt,
    examination::{Examination, OFFSET_TYPE, Stop},
    finding::Problem,
    wire::Failure,
};

/// Bodies of these lengths are announced, until one is taken. Of none more than its beginning is sent.
const LADDER: [u64; 8] = [10 << 30, 1 << 30, 256 << 20, 100 << 20, 10 << 20, 1 << 20, 128 << 10, 16 << 10];
/// How long a refusal of what was announced is waited for.
const REFUSES_WITHIN: Duration = Duration::from_secs(1);
/// As much as names, tokens and a description in a few languages need; below what nginx takes by default.
const METADATA_BYTES: usize = 6000;

/// Announces large bodies: the largest that is not refused.
pub(super) async fn large_body(on: &mut Examination<'_>) -> Result<u64, Stop> {
    let length = on.length_up_to(LADDER[0]);
    let (created, path) = on.create_sized(length).await?;
    let Some(path) = path else {
        // A server may have its own limit without a Tus-Max-Size; what is smaller is still to be looked at.
        on.report.notes.push(format!("an upload of {length} bytes can't be created: {}", created.quoted()));
        return Ok(length);
    };
    let mut refusal = None;
    for announced in LADDER.into_iter().map(|step| step.min(length)) {
        match announce(on, &path, announced).await? {
            None => {
                if let Some((refused, answer)) = refusal {
                    let sent = format!("PATCH {} with Content-Length: {refused}", excerpt(&path));
                    let got = format!("{answer} at once; {announced} bytes are taken");
                    on.report.find(Problem::BodyCapped, sent, got);
                }
                return Ok(announced);
            }
            Some((answer, true)) => refusal = Some((announced, answer)),
            Some((answer, false)) => {
                on.report.notes.push(format!("the server itself refuses {announced} bytes: {answer}"));
            }
        }
    }
    if let Some((refused, answer)) = refusal {
        let sent = format!("PATCH {} with Content-Length: {refused}", excerpt(&path));
        on.report.find(Problem::BodyCapped, sent, format!("{answer} at once"));
    }
    Ok(0)
}

/// Announces a body and sends its beginning; a refusal, and whether it came from in front of the server.
async fn announce(on: &mut Examination<'_>, path: &str, length: u64) -> Result<Option<(String, bool)>, Stop> {
    let length = length.to_string();
    let headers = [OFFSET_TYPE, ("Upload-Offset", "0"), ("Content-Length", &length), ("Expect", "100-continue")];
    let mut exchange = on.begin_tus("PATCH", path, &headers).await?;
    for _ in 0..2 {
        let answer = match exchange.next(REFUSES_WITHIN).await {
            Ok(answer) if answer.status < 200 => continue,
            Err(Failure::Silent(_)) => continue,
            // A time-out, for one: whoever minds the length says so.
            Err(Failure::Ended(_)) => return Ok(None),
            answer => answer?,
        };
        let is_of_front = on.is_of_front(&answer);
        if answer.status == 417 && is_of_front {
            let sent = format!("PATCH {} with Expect: 100-continue", excerpt(path));
            on.report.find(Problem::ExpectRefused, sent, answer.quoted());
            return Ok(None);
        }
        // Others than 413 are no matter of the length.
        return Ok((answer.status == 413).then(|| (answer.quoted(), is_of_front)));
    }
    Ok(None)
}

/// A body that is silent for a while.
pub(super) async fn slow_body(on: &mut Examination<'_>) -> Result<(), Stop> {
    let (created, path) = on.create_sized(32).await?;
    let Some(path) = path else {
        on.report.gaps.push(format!("a slow body: POST gets {}", created.quoted()));
        return Ok(());
    };
    let headers = [OFFSET_TYPE, ("Upload-Offset", "0"), ("Content-Length", "32")];
    let mut exchange = on.begin_tus("PATCH", &path, &headers).await?;
    exchange.send(&[b'w'; 16]).await?;
    let pause = on.options.pause();
    let began = Instant::now();
    let early = exchange.answer(pause).await;
    let silent = began.elapsed();
    let (outcome, is_early) = match early {
        Err(Failure::Silent(_)) => {
            // A connection that was ended in the last moment shows in the answer.
            let _ = exchange.send(&[b'w'; 16]).await;
            (exchange.answer(on.options.patience()).await, false)
        }
        early => (early, true),
    };
    let sent = format!("PATCH {} of 32 bytes, silent for {} s after 16 of them", excerpt(&path), pause.as_secs());
    let got = match outcome {
        Err(Failure::Silent(within)) => return Err(Failure::Silent(within).into()),
        Err(failure) => failure.to_string(),
        Ok(answer) if answer.is_success() && !is_early => return Ok(()),
        Ok(answer) if !on.is_of_front(&answer) && answer.mentions("timeout") => {
            on.report.notes.push(format!("{sent}: the server itself says {}", answer.quoted()));
            return Ok(());
        }
        Ok(answer) => answer.quoted(),
    };
    let got = if is_early { format!("{got}, after {:.1} s", silent.as_secs_f64()) } else { got };
    on.report.find(Problem::SlowBodyEnded, sent, got);
    Ok(())
}

/// Metadata that is long, as it is with descriptions in it.
pub(super) async fn large_head(on: &mut Examination<'_>) -> Result<(), Stop> {
    let metadata = format!("description {}", "QUFB".repeat(METADATA_BYTES / 4));
    let (answer, path) = on.create(&[("Upload-Length", "1"), ("Upload-Metadata", &metadata)]).await?;
    if path.is_some() {
        return Ok(());
    }
    let sent = format!("POST {} with Upload-Metadata of {METADATA_BYTES} bytes", excerpt(&on.url.path));
    if on.is_of_front(&answer) {
        on.report.find(Problem::HeadCapped, sent, answer.quoted());
    } else {
        on.report.notes.push(format!("{sent}: the server itself says {}", answer.quoted()));
    }
    Ok(())
}
