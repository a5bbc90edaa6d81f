//! The headers of the extensions that the server offers: whether they reach it.

use super::super::{
    answer::excerpt,
    examination::{Examination, Stop},
    finding::Problem,
};

/// All that are offered.
pub(super) async fn all(on: &mut Examination<'_>) -> Result<(), Stop> {
    if on.offers("creation-defer-length") {
        deferred(on).await?;
    }
    if on.offers("concatenation") {
        partial(on).await?;
    }
    let has_sha1 =
        on.offer.as_ref().is_some_and(|offer| offer.list("tus-checksum-algorithm").iter().any(|it| it == "sha1"));
    if on.offers("checksum") && has_sha1 && !on.report.has(&Problem::MethodRefused("PATCH")) {
        checked(on).await?;
    }
    Ok(())
}

async fn deferred(on: &mut Examination<'_>) -> Result<(), Stop> {
    let (answer, path) = on.create(&[("Upload-Defer-Length", "1")]).await?;
    if path.is_none() && answer.status == 400 {
        let sent = format!("POST {} with Upload-Defer-Length: 1", excerpt(&on.url.path));
        on.report.find(Problem::RequestStripped("Upload-Defer-Length"), sent, answer.quoted());
    }
    Ok(())
}

async fn partial(on: &mut Examination<'_>) -> Result<(), Stop> {
    let (_, path) = on.create(&[("Upload-Concat", "partial"), ("Upload-Length", "1")]).await?;
    let Some(path) = path else { return Ok(()) };
    let head = on.head(&path).await?;
    if head.is_success() && head.has("upload-offset") && !head.has("upload-concat") {
        let sent = format!("POST with Upload-Concat: partial, then HEAD {}", excerpt(&path));
        on.report.find(Problem::HeaderLost("Upload-Concat"), sent, head.shown("upload-concat"));
    }
    Ok(())
}

/// A digest that is wrong must be noticed.
async fn checked(on: &mut Examination<'_>) -> Result<(), Stop> {
    let (_, path) = on.create_sized(4).await?;
    let Some(path) = path else { return Ok(()) };
    let wrong = [("Upload-Checksum", "sha1 AAAAAAAAAAAAAAAAAAAAAAAAAAA=")];
    let answer = on.patch(&path, 0, &wrong, b"ship").await?;
    if answer.is_success() {
        let sent = format!("PATCH {} with an Upload-Checksum that is wrong", excerpt(&path));
        on.report.find(Problem::RequestStripped("Upload-Checksum"), sent, answer.quoted());
    }
    Ok(())
}
