//! POST: whether uploads can be created, and where `Location` leads.

use super::{
    super::{
        Unusable,
        answer::{Answer, excerpt},
        examination::{Examination, Stop},
        finding::Problem,
        url::Url,
        wire::Failure,
    },
    content, greeting,
};

/// What the upload says of itself: `doctor.txt`, `text/plain`.
pub(super) const METADATA: &str = "filename ZG9jdG9yLnR4dA==,filetype dGV4dC9wbGFpbg==";

/// Creates the upload that goes all the way: its path. None when what was found leaves nothing to do.
pub(super) async fn first(on: &mut Examination<'_>, options: &Answer) -> Result<Option<String>, Unusable> {
    let length = content().len().to_string();
    let headers = [("Upload-Length", length.as_str()), ("Upload-Metadata", METADATA)];
    let mut created = on.create(&headers).await;
    if let Ok((answer, _)) = &created
        && answer.is_redirect()
        && !answer.is_success()
    {
        let answer = answer.clone();
        if !greeting::redirected(on, "POST", &answer) {
            return Ok(None);
        }
        created = on.create(&headers).await;
    }
    let (answer, path) = match created {
        Ok(created) => created,
        Err(stop) => return failed(on, stop),
    };
    if !answer.is_success() {
        return refused(on, options, &answer);
    }
    on.report.looked_at.push("POST");
    let sent = format!("POST {}", excerpt(&on.url.path));
    let is_foreign = on.offer.is_none() && !answer.has("tus-resumable") && !answer.has("location");
    if is_foreign {
        return Err(no_tus(on, options, &answer));
    }
    if !answer.has("tus-resumable") {
        on.has_marks = false;
        on.report.find(Problem::AnswerStripped("Tus-Resumable"), &sent, format!("{} without it", answer.status));
    }
    if on.offer.is_none() {
        let asked = format!("OPTIONS {}", excerpt(&on.url.path));
        let got = format!("{}, and {}", options.quoted(), options.shown("tus-version"));
        let problem = if options.is_success() { Problem::OptionsAnswered } else { Problem::MethodRefused("OPTIONS") };
        on.report.find(problem, asked, got);
    }
    let Some(location) = answer.text("location") else {
        on.report.find(Problem::AnswerStripped("Location"), sent, format!("{} without it", answer.status));
        on.report.gaps.push("all else: nobody tells where the upload is".to_owned());
        return Ok(None);
    };
    match (on.url.join(location), path) {
        (Some(url), Some(path)) => {
            look_at(on, &sent, location, &url);
            located(on, &sent, location, path).await
        }
        _ => {
            on.report.find(Problem::LocationPath, sent, format!("{}, which is no URL", answer.shown("location")));
            on.report.gaps.push("all else: nobody tells where the upload is".to_owned());
            Ok(None)
        }
    }
}

fn no_tus(on: &Examination<'_>, options: &Answer, post: &Answer) -> Unusable {
    Unusable::NoTus { url: on.place(), options: options.quoted(), post: post.quoted() }
}

fn failed(on: &mut Examination<'_>, stop: Stop) -> Result<Option<String>, Unusable> {
    match stop {
        Stop::Failure(Failure::Ended(how)) if on.offer.is_some() => {
            let sent = format!("POST {}", excerpt(&on.url.path));
            on.report.find(Problem::MethodRefused("POST"), sent, format!("no answer: {how}"));
        }
        Stop::Failure(cause) => return Err(Unusable::Unreachable { url: on.place(), cause }),
        Stop::Gateway(answer) => on.report.gaps.push(format!("all else: the proxy reaches no server: {answer}")),
        Stop::Limited => on.report.gaps.push("all else: too many requests".to_owned()),
    }
    Ok(None)
}

fn refused(on: &mut Examination<'_>, options: &Answer, answer: &Answer) -> Result<Option<String>, Unusable> {
    let sent = format!("POST {} with Tus-Resumable, Upload-Length and Upload-Metadata", excerpt(&on.url.path));
    let is_known = on.offer.is_some();
    let problem = match answer.status {
        401 => None,
        403 if !is_known => None,
        412 if is_known || answer.has_marks() => Some(Problem::RequestStripped("Tus-Resumable")),
        400 if is_known && answer.mentions("upload-length") => Some(Problem::RequestStripped("Upload-Length")),
        403 | 405 | 501 if is_known && on.is_of_front(answer) => Some(Problem::MethodRefused("POST")),
        _ => return Err(no_tus(on, options, answer)),
    };
    let Some(problem) = problem else {
        return Err(Unusable::Forbidden { url: on.place(), answer: answer.quoted() });
    };
    on.report.find(problem, sent, answer.quoted());
    on.report.gaps.push("all else: no upload can be created".to_owned());
    Ok(None)
}

/// Compares what `Location` names with what the client has called.
fn look_at(on: &mut Examination<'_>, sent: &str, location: &str, url: &Url) {
    let got = format!("Location: {}", excerpt(location));
    if url.is_https != on.url.is_https {
        on.report.find(Problem::LocationScheme, format!("{sent} by {}", on.url.scheme()), &got);
    }
    let default = |url: &Url| url.port == if url.is_https { 443 } else { 80 };
    let same_port = url.port == on.url.port || url.is_https != on.url.is_https && default(url);
    if url.host != on.url.host || !same_port {
        on.report.find(Problem::LocationHost, format!("{sent} with Host: {}", on.url.authority()), got);
    }
}

/// Finds the upload: where `Location` says, or else where it would be if nobody had rewritten the path.
async fn located(
    on: &mut Examination<'_>,
    sent: &str,
    location: &str,
    path: String,
) -> Result<Option<String>, Unusable> {
    let is_missing = |head: Result<Answer, Stop>| head.is_ok_and(|head| matches!(head.status, 404 | 410));
    let head = on.head(&path).await;
    if !is_missing(head) {
        return Ok(Some(path));
    }
    let got = format!("Location: {}, where HEAD gets 404", excerpt(location));
    on.report.find(Problem::LocationPath, sent, got);
    let other = on.below(&path);
    on.moved(&path, &other);
    let head = on.head(&other).await;
    if other == path || is_missing(head) {
        on.report.gaps.push("all else: the upload is nowhere".to_owned());
        return Ok(None);
    }
    Ok(Some(other))
}
