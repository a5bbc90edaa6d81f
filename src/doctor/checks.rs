//! The checks, in an order in which each builds upon those before it.

mod appending;
mod browser;
mod creation;
mod download;
mod extensions;
mod greeting;
mod interruption;
mod limits;

use super::{
    Unusable,
    examination::{Examination, Stop},
};

/// The content of the upload that goes all the way: text, so that whatever compresses or edits text shows.
fn content() -> Vec<u8> {
    b"<title>wharf doctor</title> The quick brown fox jumps over the lazy dog.\n".repeat(57)
}

/// All of them.
pub(super) async fn all(on: &mut Examination<'_>) -> Result<(), Unusable> {
    let Some(options) = greeting::meet(on).await? else { return Ok(()) };
    let Some(path) = creation::first(on, &options).await? else { return Ok(()) };
    // Ended early when no check can tell anything more.
    let _ = further(on, &path).await;
    Ok(())
}

async fn further(on: &mut Examination<'_>, path: &str) -> Option<()> {
    let outcome = appending::first(on, path).await;
    let offset = ended(on, "PATCH and HEAD", outcome)?;
    let outcome = browser::preflight(on).await;
    let lets_in = ended(on, "a browser's preflight", outcome)?;
    if lets_in == Some(true) {
        let outcome = browser::exposed(on, path).await;
        ended(on, "CORS", outcome)?;
    }
    let outcome = appending::refusals(on, path).await;
    ended(on, "errors", outcome)?;
    if offset == Some(Some(appending::FIRST)) {
        let outcome = appending::overridden(on, path).await;
        ended(on, "POST instead of PATCH", outcome)?;
        let outcome = bodies(on).await;
        outcome?;
        let outcome = appending::finish(on, path).await;
        if ended(on, "the end of an upload", outcome)? == Some(true) {
            let outcome = download::whole_and_part(on, path).await;
            ended(on, "GET", outcome)?;
        }
    }
    let outcome = limits::large_head(on).await;
    ended(on, "large headers", outcome)?;
    let outcome = extensions::all(on).await;
    ended(on, "extensions", outcome)?;
    let outcome = appending::terminate(on, path).await;
    ended(on, "DELETE", outcome)?;
    Some(())
}

/// What happens to long, slow and broken bodies.
async fn bodies(on: &mut Examination<'_>) -> Option<()> {
    let outcome = limits::large_body(on).await;
    let largest = ended(on, "large bodies", outcome)?.unwrap_or_default();
    if largest >= interruption::LENGTH {
        let outcome = interruption::cut(on, largest).await;
        ended(on, "a cut", outcome)?;
    } else {
        on.report.gaps.push("a cut: bodies are capped too low".to_owned());
    }
    let outcome = limits::slow_body(on).await;
    ended(on, "a slow body", outcome)?;
    Some(())
}

/// Notes how a check ended; none when no other one can tell anything.
fn ended<T>(on: &mut Examination<'_>, what: &'static str, outcome: Result<T, Stop>) -> Option<Option<T>> {
    let why = match outcome {
        Ok(outcome) => {
            on.report.looked_at.push(what);
            return Some(Some(outcome));
        }
        Err(Stop::Failure(failure)) => failure.to_string(),
        Err(Stop::Gateway(answer)) => format!("the proxy reaches no server: {answer}"),
        Err(Stop::Limited) => {
            on.report.gaps.push(format!("{what}, and the rest: too many requests"));
            return None;
        }
    };
    on.report.gaps.push(format!("{what}: {why}"));
    Some(None)
}
