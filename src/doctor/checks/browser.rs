//! What a browser asks before and sees after, for a page of another origin.

use super::super::{
    answer::{Answer, excerpt},
    examination::{Examination, OFFSET_TYPE, Stop},
    finding::Problem,
};

const ALLOW_ORIGIN: &str = "access-control-allow-origin";

/// What pages send besides what needs no leave.
const SENT: &[&str] = &["content-type", "tus-resumable", "upload-length", "upload-metadata", "upload-offset"];

/// The preflight of a PATCH, and whether pages are let in at all.
pub(super) async fn preflight(on: &mut Examination<'_>) -> Result<bool, Stop> {
    let origin = origin(on);
    let (answer, path) = on.create(&[("Origin", &origin), ("Upload-Length", "1")]).await?;
    let sent = format!("POST {} with Origin: {origin}", excerpt(&on.url.path));
    judge_origin(on, &sent, &answer);
    let lets_in = path.is_some() && lets_in(&answer, &origin);
    let answer = ask_leave(on, &origin).await?;
    let sent =
        format!("OPTIONS {} with Origin: {origin} and Access-Control-Request-Method: PATCH", excerpt(&on.url.path));
    judge_origin(on, &sent, &answer);
    let is_known = [Problem::OptionsAnswered, Problem::MethodRefused("OPTIONS")].iter().any(|it| on.report.has(it));
    if !lets_in {
        if on.options.origin.is_some() && !is_known && !on.report.has(&Problem::CorsTwice) {
            on.report.find(
                Problem::OriginRefused,
                sent,
                format!("{}, {}", answer.quoted(), answer.shown(ALLOW_ORIGIN)),
            );
        } else {
            on.report.notes.push(format!("pages of {} are not let in; --origin names others", excerpt(&origin)));
        }
    } else if !is_known && (!answer.is_success() || !self::lets_in(&answer, &origin)) {
        let got = format!("{}, {}", answer.quoted(), answer.shown(ALLOW_ORIGIN));
        on.report.find(Problem::PreflightRefused, sent, got);
    } else if !is_known {
        judge_leave(on, &sent, &answer);
    }
    Ok(lets_in)
}

fn origin(on: &Examination<'_>) -> String {
    on.options.origin.clone().unwrap_or_else(|| on.url.origin())
}

/// Asks as a browser does: without the headers that were given, since a preflight carries none of a page's.
async fn ask_leave(on: &mut Examination<'_>, origin: &str) -> Result<Answer, Stop> {
    let mut names: Vec<String> = SENT.iter().map(|name| (*name).to_owned()).collect();
    names.extend(on.options.headers.iter().map(|(name, _)| name.to_ascii_lowercase()));
    let names = names.join(",");
    let path = on.url.path.clone();
    let headers = [
        ("Origin", origin),
        ("Access-Control-Request-Method", "PATCH"),
        ("Access-Control-Request-Headers", names.as_str()),
    ];
    let answer = on.begin("OPTIONS", &path, &headers).await?.answer(on.options.patience()).await?;
    on.heed("a preflight", answer)
}

fn lets_in(answer: &Answer, origin: &str) -> bool {
    answer.text(ALLOW_ORIGIN).is_some_and(|allowed| allowed == "*" || allowed == origin)
}

fn judge_origin(on: &mut Examination<'_>, sent: &str, answer: &Answer) {
    if answer.list(ALLOW_ORIGIN).len() > 1 {
        on.report.find(Problem::CorsTwice, sent, format!("{}, {}", answer.status, answer.shown(ALLOW_ORIGIN)));
    }
}

/// Whether the preflight's answer allows what uploads need.
fn judge_leave(on: &mut Examination<'_>, sent: &str, answer: &Answer) {
    let mut needs = vec!["patch"];
    if on.offers("termination") {
        needs.push("delete");
    }
    let own: Vec<String> = on.options.headers.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
    for (list, needed) in [
        ("access-control-allow-methods", needs),
        ("access-control-allow-headers", SENT.iter().copied().chain(own.iter().map(String::as_str)).collect()),
    ] {
        let allowed = answer.list(list);
        // The star stands for all but Authorization.
        let is_allowed = |name: &&str| {
            allowed.iter().any(|item| item == name || item == "*" && !name.eq_ignore_ascii_case("authorization"))
        };
        let missing: Vec<&str> = needed.into_iter().filter(|name| !is_allowed(name)).collect();
        if !missing.is_empty() {
            let got = format!("{}; that lacks {}", answer.shown(list), missing.join(", "));
            on.report.find(Problem::PreflightNarrow, sent, got);
        }
    }
}

/// What of the answers a page sees, those to mistakes among them.
pub(super) async fn exposed(on: &mut Examination<'_>, path: &str) -> Result<(), Stop> {
    const EXPOSE: &str = "access-control-expose-headers";
    let origin = origin(on);
    let as_page = [("Origin", origin.as_str())];
    let own = on.url.path.clone();
    let (post, _) = on.create(&[as_page[0], ("Upload-Length", "1")]).await?;
    let head = on.ask("HEAD", path, &as_page, b"").await?;
    for (sent, answer, name, field) in [
        (format!("POST {own}"), &post, "Location", "location"),
        (format!("HEAD {path}"), &head, "Upload-Offset", "upload-offset"),
        (format!("HEAD {path}"), &head, "Upload-Length", "upload-length"),
    ] {
        let sent = format!("{} with Origin: {origin}", excerpt(&sent));
        judge_origin(on, &sent, answer);
        // A cache answers with what another client was told.
        if answer.lines("access-control-allow-origin").next().is_none() {
            continue;
        }
        let is_exposed = answer.list(EXPOSE).iter().any(|item| item == field || item == "*");
        if answer.has(field) && !is_exposed {
            on.report.find(Problem::HeaderHidden(name), sent, answer.shown(EXPOSE));
        }
    }
    if on.report.has(&Problem::MethodRefused("PATCH")) {
        return Ok(());
    }
    // An offset beyond any that there is.
    let headers = [as_page[0], OFFSET_TYPE, ("Upload-Offset", "3999")];
    let answer = on.ask("PATCH", path, &headers, b"x").await?;
    let sent = format!("PATCH {} with Origin: {origin} and an offset that is wrong", excerpt(path));
    judge_origin(on, &sent, &answer);
    if !answer.is_success() && !on.is_of_front(&answer) && !lets_in(&answer, &origin) {
        on.report.find(Problem::CorsNotOnErrors, sent, format!("{}, {}", answer.quoted(), answer.shown(ALLOW_ORIGIN)));
    }
    Ok(())
}
