//! What a request is about: its path and method.

use wharf_actors::UploadId;

use super::{
    answer::Problem,
    page::{self, File},
};
use crate::protocol::percent;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Route {
    Health,
    Ready,
    Page(&'static File),
    Session,
    Login,
    Logout,
    Recent,
    Metrics,
    Mailboxes,
    Uploads,
    Upload(UploadId),
    DeleteUpload(UploadId),
    InterruptUpload(UploadId),
    Pools,
    Reload,
    Hooks,
    RetryEvents,
    RetryEvent(String),
    Events,
}

impl Route {
    /// Probes come from machines that know no token and use any address.
    pub(super) fn is_probe(&self) -> bool {
        matches!(self, Self::Health | Self::Ready)
    }

    /// What says nothing about uploads, and is needed to log in.
    pub(super) fn is_open(&self) -> bool {
        self.is_probe() || matches!(self, Self::Page(_) | Self::Session | Self::Login | Self::Logout)
    }

    /// Whether it changes something.
    pub(super) fn is_change(&self) -> bool {
        matches!(self, Self::Login | Self::Logout | Self::Reload | Self::RetryEvents | Self::RetryEvent(_))
            || matches!(self, Self::DeleteUpload(_) | Self::InterruptUpload(_))
    }
}

/// Finds out what is asked for. HEAD is GET without the body.
///
/// # Errors
/// 404 for a path that there isn't, 405 for a method that the path does not know.
pub(super) fn route(method: &str, path: &str) -> Result<Route, Problem> {
    let fixed = |get: Route| if matches!(method, "GET" | "HEAD") { Ok(get) } else { Err(Problem::method("GET, HEAD")) };
    let posted = |post: Route| if method == "POST" { Ok(post) } else { Err(Problem::method("POST")) };
    match path {
        "/healthz" => fixed(Route::Health),
        "/readyz" => fixed(Route::Ready),
        "/metrics" => fixed(Route::Metrics),
        "/mailboxes" => fixed(Route::Mailboxes),
        "/uploads" => fixed(Route::Uploads),
        "/pools" => fixed(Route::Pools),
        "/hooks" => fixed(Route::Hooks),
        "/recent" => fixed(Route::Recent),
        "/session" => fixed(Route::Session),
        // A stream has no end that HEAD could leave out.
        "/events" if method == "GET" => Ok(Route::Events),
        "/events" => Err(Problem::method("GET")),
        "/login" => posted(Route::Login),
        "/logout" => posted(Route::Logout),
        "/reload" => posted(Route::Reload),
        "/hooks/retry" => posted(Route::RetryEvents),
        _ => match page::file(path) {
            Some(file) => fixed(Route::Page(file)),
            None => path.strip_prefix("/hooks/").map_or_else(|| upload(method, path), |rest| event(method, rest)),
        },
    }
}

fn nowhere() -> Problem {
    Problem::not_found("there is nothing here; /openapi.json says what is")
}

fn event(method: &str, rest: &str) -> Result<Route, Problem> {
    let segment = rest.strip_suffix("/retry").filter(|segment| !segment.contains('/')).ok_or_else(nowhere)?;
    if method != "POST" {
        return Err(Problem::method("POST"));
    }
    // What can't be read names no event.
    let event_id = percent::decode(segment).filter(|event_id| !event_id.is_empty());
    event_id.map(|event_id| Route::RetryEvent(event_id.into_owned())).ok_or_else(Problem::no_event)
}

fn upload(method: &str, path: &str) -> Result<Route, Problem> {
    let rest = path.strip_prefix("/uploads/").ok_or_else(nowhere)?;
    let (segment, is_interrupt) = match rest.split_once('/') {
        None => (rest, false),
        Some((segment, "interrupt")) => (segment, true),
        Some(_) => return Err(nowhere()),
    };
    match (method, is_interrupt) {
        ("GET" | "HEAD", false) | ("DELETE", false) | ("POST", true) => {}
        (_, false) => return Err(Problem::method("GET, HEAD, DELETE")),
        (_, true) => return Err(Problem::method("POST")),
    }
    // What can't be an id is none that there is.
    let id = percent::decode(segment).and_then(|id| UploadId::parse(&id).ok()).ok_or_else(Problem::no_upload)?;
    Ok(match (method, is_interrupt) {
        (_, true) => Route::InterruptUpload(id),
        ("DELETE", _) => Route::DeleteUpload(id),
        _ => Route::Upload(id),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> UploadId {
        UploadId::parse(text).unwrap()
    }

    #[test]
    fn ids_are_one_segment() {
        for (path, expected) in [
            ("/uploads/a", Ok(id("a"))),
            ("/uploads/a%2Fb%2fc", Ok(id("a/b/c"))),
            ("/uploads/a+b%2Bc", Ok(id("a+b+c"))),
            ("/uploads/a/b", Err(404)),
            ("/uploads/", Err(404)),
            ("/uploads/%2e%2e%2fetc", Err(404)),
            ("/uploads/%", Err(404)),
            ("/uploads/%ff", Err(404)),
            ("/uploadsa", Err(404)),
        ] {
            let found = route("GET", path).map_err(|problem| problem.status);
            assert_eq!(found, expected.map(Route::Upload), "{path}");
        }
        assert_eq!(route("POST", "/uploads/a%2Fb/interrupt").ok(), Some(Route::InterruptUpload(id("a/b"))));
        assert_eq!(route("DELETE", "/uploads/interrupt").ok(), Some(Route::DeleteUpload(id("interrupt"))));
    }

    #[test]
    fn events_are_named_by_one_segment() {
        for (path, expected) in [
            ("/hooks/0a1b/retry", Ok(Route::RetryEvent("0a1b".to_owned()))),
            ("/hooks/a%2Fb/retry", Ok(Route::RetryEvent("a/b".to_owned()))),
            ("/hooks/retry/retry", Ok(Route::RetryEvent("retry".to_owned()))),
            ("/hooks/retry", Ok(Route::RetryEvents)),
            ("/hooks//retry", Err(404)),
            ("/hooks/%ff/retry", Err(404)),
            ("/hooks/a/b/retry", Err(404)),
            ("/hooks/a", Err(404)),
            ("/hooks/", Err(404)),
        ] {
            let found = route("POST", path).map_err(|problem| problem.status);
            assert_eq!(found.clone().is_ok_and(|route| route.is_change()), expected.is_ok(), "{path}");
            assert_eq!(found, expected, "{path}");
        }
    }

    #[test]
    fn other_methods_are_told_which_there_are() {
        for (method, path, allow) in [
            ("POST", "/", "GET, HEAD"),
            ("POST", "/page/dom.js", "GET, HEAD"),
            ("OPTIONS", "/metrics", "GET, HEAD"),
            ("GET", "/reload", "POST"),
            ("GET", "/login", "POST"),
            ("HEAD", "/events", "GET"),
            ("PATCH", "/uploads/a", "GET, HEAD, DELETE"),
            ("DELETE", "/uploads/a/interrupt", "POST"),
            ("PUT", "/uploads", "GET, HEAD"),
            ("POST", "/hooks", "GET, HEAD"),
            ("GET", "/hooks/retry", "POST"),
            ("GET", "/hooks/0a1b/retry", "POST"),
        ] {
            let problem = route(method, path).unwrap_err();
            assert_eq!((problem.status, problem.allow), (405, Some(allow)), "{method} {path}");
        }
        for path in ["", "*", "//", "/healthz/", "/Metrics", "/files/", "/page/", "/page/app.js", "/page/../app.js"] {
            assert_eq!(route("GET", path).unwrap_err().status, 404, "{path}");
        }
    }
}
