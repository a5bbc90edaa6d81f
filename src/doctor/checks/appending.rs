//! PATCH and HEAD, what refusals look like, POST in place of PATCH, and DELETE.

use super::{
    super::{
        answer::{Answer, excerpt},
        examination::{Examination, OFFSET_TYPE, Stop},
        finding::Problem,
        wire::Failure,
    },
    content,
    creation::METADATA,
};

/// How many bytes the first PATCH has.
pub(super) const FIRST: u64 = 1000;
/// Where the upload has come to with the second one.
const SECOND: u64 = 2000;

fn piece(from: u64, to: u64) -> Vec<u8> {
    let at = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX);
    content()[at(from)..at(to)].to_vec()
}

/// HEAD, PATCH and HEAD again: the offset that came of it, as far as it can be known.
pub(super) async fn first(on: &mut Examination<'_>, path: &str) -> Result<Option<u64>, Stop> {
    let shown = excerpt(path);
    let before = on.head(path).await;
    let sent = format!("PATCH {shown} with Upload-Offset: 0 and {FIRST} bytes");
    let patched = on.patch(path, 0, &[], &piece(0, FIRST)).await;
    let patched = refused(on, "PATCH", &sent, patched)?;
    let offset = patched.as_ref().and_then(|answer| appended(on, &sent, answer));
    let asked = format!("HEAD {shown}");
    let Some(before) = refused(on, "HEAD", &asked, before)? else { return Ok(offset) };
    let after = on.head(path).await?;
    inspect(on, &asked, &before, patched.as_ref());
    let (Some(had), Some(has), Some(_)) =
        (before.number("upload-offset"), after.number("upload-offset"), patched.filter(Answer::is_success))
    else {
        return Ok(offset);
    };
    if has == had {
        let sent = format!("HEAD {shown}, after a PATCH of {FIRST} bytes that was answered with success");
        on.report.find(Problem::HeadCached, sent, format!("{} as before it", after.shown("upload-offset")));
        return Ok(offset);
    }
    Ok(Some(has))
}

/// A method that does not get through is a finding; none then.
fn refused(
    on: &mut Examination<'_>,
    method: &'static str,
    sent: &str,
    outcome: Result<Answer, Stop>,
) -> Result<Option<Answer>, Stop> {
    let got = match outcome {
        Err(Stop::Failure(Failure::Ended(how))) => format!("no answer: {how}"),
        Err(stop) => return Err(stop),
        Ok(answer) if on.is_method_refused(&answer) => answer.quoted(),
        Ok(answer) => return Ok(Some(answer)),
    };
    on.report.find(Problem::MethodRefused(method), sent, got);
    Ok(None)
}

/// What the answer to PATCH tells: the new offset.
fn appended(on: &mut Examination<'_>, sent: &str, answer: &Answer) -> Option<u64> {
    if answer.is_success() {
        if !answer.has("upload-offset") {
            on.report.find(Problem::AnswerStripped("Upload-Offset"), sent, format!("{} without it", answer.status));
            return Some(FIRST);
        }
        return answer.number("upload-offset");
    }
    let problem = match answer.status {
        413 if on.is_of_front(answer) => Problem::BodyCapped,
        412 => Problem::RequestStripped("Tus-Resumable"),
        400 | 409 if answer.mentions("upload-offset") => Problem::RequestStripped("Upload-Offset"),
        400 | 403 | 415 if answer.mentions("content-type") => Problem::RequestStripped("Content-Type"),
        _ => {
            on.report.gaps.push(format!("what follows PATCH, which gets {}", answer.quoted()));
            return None;
        }
    };
    on.report.find(problem, sent, answer.quoted());
    None
}

/// What HEAD must tell.
fn inspect(on: &mut Examination<'_>, sent: &str, head: &Answer, patched: Option<&Answer>) {
    let patch_tells = patched.is_some_and(|answer| answer.has("upload-offset"));
    if !head.is_success() || !head.has("upload-offset") && patch_tells {
        let got = format!("{}, {}", head.quoted(), head.shown("upload-offset"));
        on.report.find(Problem::HeadRewritten, sent, got);
        return;
    }
    for (name, field) in [("Upload-Offset", "upload-offset"), ("Upload-Length", "upload-length")] {
        if !head.has(field) {
            on.report.find(Problem::AnswerStripped(name), sent, format!("{} without it", head.status));
        }
    }
    let sorted = |text: &str| {
        let mut pairs: Vec<String> = text.split(',').map(|pair| pair.trim().to_owned()).collect();
        pairs.sort();
        pairs
    };
    if head.text("upload-metadata").is_none_or(|text| sorted(text) != sorted(METADATA)) {
        let sent = format!("POST with Upload-Metadata: {METADATA}, then {sent}");
        on.report.find(Problem::HeaderLost("Upload-Metadata"), sent, head.shown("upload-metadata"));
    }
    if !head.list("cache-control").iter().any(|item| item == "no-store") {
        on.report.find(Problem::AnswerStripped("Cache-Control"), sent, head.shown("cache-control"));
    }
}

/// Whether the server's own refusals arrive.
pub(super) async fn refusals(on: &mut Examination<'_>, path: &str) -> Result<(), Stop> {
    let shown = excerpt(path);
    if !on.report.has(&Problem::MethodRefused("PATCH")) {
        let answer = on.patch(path, FIRST + 7, &[], b"x").await?;
        let is_replaced = on.is_of_front(&answer) && (answer.status != 413 || !on.report.has(&Problem::BodyCapped));
        if is_replaced && !on.is_method_refused(&answer) {
            let sent = format!("PATCH {shown} with an offset that is wrong, to be answered with 409");
            on.report.find(Problem::ErrorsReplaced, sent, answer.quoted());
        }
    }
    if on.has_marks && !on.report.has(&Problem::MethodRefused("HEAD")) {
        let nobody = on.below("/wharf-doctor-asks-for-nobody");
        let answer = on.ask("HEAD", &nobody, &[], b"").await?;
        if !answer.has_marks() {
            let sent = format!("HEAD {}, where no upload is", excerpt(&nobody));
            let got = format!("{}, {}", answer.quoted(), answer.shown("tus-resumable"));
            on.report.find(Problem::ErrorsReplaced, sent, got);
        }
    }
    Ok(())
}

/// POST in place of PATCH, for networks that let nothing else through.
pub(super) async fn overridden(on: &mut Examination<'_>, path: &str) -> Result<(), Stop> {
    let offset = FIRST.to_string();
    let headers = [("X-HTTP-Method-Override", "PATCH"), OFFSET_TYPE, ("Upload-Offset", &offset)];
    let answer = on.ask("POST", path, &headers, &piece(FIRST, SECOND)).await?;
    if !answer.is_success() || !answer.has("upload-offset") && !on.report.has(&Problem::AnswerStripped("Upload-Offset"))
    {
        let sent = format!("POST {} with X-HTTP-Method-Override: PATCH", excerpt(path));
        let got = format!("{}, as from a server that does not know the header", answer.quoted());
        on.report.find(Problem::RequestStripped("X-HTTP-Method-Override"), sent, got);
    }
    Ok(())
}

/// Sends the rest; whether the upload is finished then.
pub(super) async fn finish(on: &mut Examination<'_>, path: &str) -> Result<bool, Stop> {
    let length = u64::try_from(content().len()).unwrap_or(u64::MAX);
    // HEAD would be asked in vain where it is cached or rewritten; the server refuses a wrong offset.
    for offset in [SECOND, FIRST] {
        let answer = on.patch(path, offset, &[], &piece(offset, length)).await?;
        if answer.is_success() {
            return Ok(true);
        }
    }
    on.report.gaps.push("GET: the upload could not be finished".to_owned());
    Ok(false)
}

/// DELETE, where the server offers it.
pub(super) async fn terminate(on: &mut Examination<'_>, path: &str) -> Result<(), Stop> {
    if !on.offers("termination") {
        return Ok(());
    }
    let sent = format!("DELETE {}", excerpt(path));
    let outcome = on.ask("DELETE", path, &[], b"").await;
    if let Some(answer) = refused(on, "DELETE", &sent, outcome)? {
        if answer.is_success() {
            on.forget(path);
        } else {
            on.report.gaps.push(format!("DELETE, which gets {}", answer.quoted()));
        }
    }
    Ok(())
}
