//! GET: the whole of an upload, and a part of it.

use super::{
    super::{
        answer::excerpt,
        examination::{Examination, Stop},
        finding::Problem,
    },
    content,
};

/// Gets what was uploaded, as a browser asks for it, and a range of it.
pub(super) async fn whole_and_part(on: &mut Examination<'_>, path: &str) -> Result<(), Stop> {
    let sent = format!("GET {} with Accept-Encoding: gzip, br, zstd", excerpt(path));
    let answer = on.ask("GET", path, &[("Accept-Encoding", "gzip, br, zstd")], b"").await?;
    if !answer.is_success() {
        if on.is_method_refused(&answer) {
            on.report.find(Problem::MethodRefused("GET"), sent, answer.quoted());
        } else {
            // Downloads are no part of the protocol.
            on.report.notes.push(format!("the server does not let uploads be read: GET gets {}", answer.status));
        }
        return Ok(());
    }
    let content = content();
    if let Some(coding) = answer.text("content-encoding").filter(|coding| *coding != "identity") {
        let got = format!("Content-Encoding: {}, {}", excerpt(coding), answer.shown("content-length"));
        on.report.find(Problem::Compressed, sent, got);
    } else if !answer.is_whole && content.starts_with(&answer.body) {
        on.report.gaps.push(format!("GET, which breaks off after {} of {} bytes", answer.body.len(), content.len()));
    } else if answer.body != content {
        let got = format!("{} bytes instead of {}, or others", answer.body.len(), content.len());
        on.report.find(Problem::DownloadChanged, sent, got);
    }
    let has_ranges = answer.list("accept-ranges").iter().any(|item| item == "bytes");
    let sent = format!("GET {} with Range: bytes=10-29", excerpt(path));
    let part = on.ask("GET", path, &[("Range", "bytes=10-29")], b"").await?;
    match part.status {
        206 if part.body == content[10..30] => {}
        206 => on.report.find(Problem::DownloadChanged, sent, format!("206 with {} other bytes", part.body.len())),
        _ if has_ranges || part.list("accept-ranges").iter().any(|item| item == "bytes") => {
            on.report.find(Problem::RangeIgnored, sent, format!("{}, {}", part.status, part.shown("accept-ranges")));
        }
        _ => on.report.notes.push("the server offers no ranges of downloads".to_owned()),
    }
    Ok(())
}
