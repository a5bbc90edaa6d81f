//! OPTIONS: who is there, and by which URL.

use super::super::{Unusable, answer::Answer, examination::Examination, finding::Problem, wire::Failure};

/// More redirections are a circle.
const REDIRECTIONS_MAX: usize = 3;

/// Asks the server what it is. None when what was found leaves nothing to ask.
pub(super) async fn meet(on: &mut Examination<'_>) -> Result<Option<Answer>, Unusable> {
    for _ in 0..=REDIRECTIONS_MAX {
        let path = on.url.path.clone();
        let answer = match options(on, &path).await {
            Ok(answer) => answer,
            Err(Failure::Certificate(why)) => {
                on.report.find(Problem::Certificate, format!("TLS to {}", on.url.authority()), why);
                on.report.gaps.push("all else: no client connects".to_owned());
                return Ok(None);
            }
            Err(cause) => return Err(Unusable::Unreachable { url: on.place(), cause }),
        };
        if !answer.is_redirect() {
            introduce(on, &answer);
            return Ok(Some(answer));
        }
        if !redirected(on, "OPTIONS", &answer) {
            return Ok(None);
        }
    }
    on.report.gaps.push("all else: one redirection leads to another".to_owned());
    Ok(None)
}

async fn options(on: &Examination<'_>, path: &str) -> Result<Answer, Failure> {
    on.begin_tus("OPTIONS", path, &[]).await?.answer(on.options.patience()).await
}

/// Goes where a redirection leads, as long as it leads to the same host.
pub(super) fn redirected(on: &mut Examination<'_>, method: &str, answer: &Answer) -> bool {
    let sent = format!("{method} {}{}", on.url.origin(), on.url.path);
    on.report.find(Problem::Redirected, sent, format!("{}, {}", answer.status, answer.shown("location")));
    match answer.text("location").and_then(|location| on.url.join(location)) {
        // What was given with --header must not be told to others.
        Some(url) if url.host == on.url.host && (url.is_https || !on.url.is_https) => {
            on.url = url;
            true
        }
        _ => {
            on.report.gaps.push("all else: the redirection leads to another host".to_owned());
            false
        }
    }
}

fn introduce(on: &mut Examination<'_>, answer: &Answer) {
    on.report.looked_at.push("OPTIONS");
    if answer.has("tus-version") {
        on.offer = Some(answer.clone());
    }
    let closes = answer.list("connection").iter().any(|item| item == "close");
    if answer.is_success() && (closes || !answer.is_current) {
        let version = if answer.is_current { "HTTP/1.1" } else { "HTTP/1.0" };
        let got = format!("{} of {version}, {}", answer.status, answer.shown("connection"));
        on.report.find(Problem::NoKeepAlive, format!("OPTIONS {}", on.url.path), got);
    }
}
