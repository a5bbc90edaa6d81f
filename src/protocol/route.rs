//! What a request is about: its method and path, and whether it speaks our version of the protocol.

use wharf_actors::UploadId;

use super::{Fields, Refusal, Rules, VERSION, accept::wants_html, below, filled, percent, upload_id};

/// What a request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// What the server can do.
    Options,
    /// A few words outside the base path.
    Greeting,
    /// A file of the page to upload with.
    Page(PageFile),
    /// A new upload.
    Create,
    /// An upload's state.
    Inspect(UploadId),
    /// More bytes for an upload.
    Append(UploadId),
    /// A finished upload's bytes.
    Download(UploadId),
    /// An upload's end.
    Terminate(UploadId),
}

/// The files of the page to upload with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageFile {
    /// `/`
    Index,
    /// `/page/app.js`
    Script,
    /// `/page/style.css`
    Style,
    /// `/page/icon.svg`
    Icon,
}

/// Where the page's files are, but for `/`. Uploads at this very path hide them.
pub const PAGE_FILES: &str = "/page/";

/// The method that counts: `X-HTTP-Method-Override` replaces any (tus 1.0.0, "X-HTTP-Method-Override").
#[must_use]
pub fn method<'a>(method: &'a str, fields: &'a dyn Fields) -> &'a str {
    filled(fields, "x-http-method-override").map_or(method, |other| std::str::from_utf8(other).unwrap_or_default())
}

/// Finds out what a request asks for. `line_method` and `raw_path` are those of the request line.
///
/// # Errors
/// [`Refusal::UnsupportedVersion`] below the base path before anything else, [`Refusal::MethodNotAllowed`] if the target
/// knows no such method, [`Refusal::UploadNotFound`] if the path can't be an upload's.
pub fn route(line_method: &str, fields: &dyn Fields, raw_path: &str, rules: &Rules) -> Result<Route, Refusal> {
    let method = method(line_method, fields);
    if method == "OPTIONS" {
        return Ok(Route::Options);
    }
    let end = raw_path.bytes().position(|byte| matches!(byte, b'?' | b'#')).unwrap_or(raw_path.len());
    let raw_path = &raw_path[..end];
    let (path, base) = (percent::decode(raw_path), percent::decode(&rules.base_path));
    let Some((path, base)) = path.zip(base) else {
        return check_version(method, fields).and(Err(Refusal::UploadNotFound));
    };
    let Some(rest) = below(&path, &base) else { return outside(method, &path, fields, rules) };
    check_version(method, fields)?;
    if rest.trim_matches('/').is_empty() { collection(method, rules) } else { upload(method, rest, rules) }
}

/// Checks `Tus-Resumable` (tus 1.0.0, "Tus-Resumable"). HEAD and GET are served without it, as tusd serves them, so
/// that browsers and monitors can ask; a wrong version is refused there too.
fn check_version(method: &str, fields: &dyn Fields) -> Result<(), Refusal> {
    match filled(fields, "tus-resumable") {
        Some(version) if version == VERSION.as_bytes() => Ok(()),
        None if matches!(method, "HEAD" | "GET") => Ok(()),
        _ => Err(Refusal::UnsupportedVersion),
    }
}

fn collection(method: &str, rules: &Rules) -> Result<Route, Refusal> {
    match (method, rules.extensions.creation) {
        ("POST", true) => Ok(Route::Create),
        (_, true) => Err(Refusal::MethodNotAllowed { allow: "POST" }),
        (_, false) => Err(Refusal::MethodNotAllowed { allow: "OPTIONS" }),
    }
}

fn upload(method: &str, rest: &str, rules: &Rules) -> Result<Route, Refusal> {
    let extensions = &rules.extensions;
    let route: fn(UploadId) -> Route = match method {
        "HEAD" => Route::Inspect,
        "PATCH" => Route::Append,
        "GET" if extensions.download => Route::Download,
        "DELETE" if extensions.termination => Route::Terminate,
        _ => {
            let allow = match (extensions.download, extensions.termination) {
                (true, true) => "GET, HEAD, PATCH, DELETE",
                (true, false) => "GET, HEAD, PATCH",
                (false, true) => "HEAD, PATCH, DELETE",
                (false, false) => "HEAD, PATCH",
            };
            return Err(Refusal::MethodNotAllowed { allow });
        }
    };
    upload_id(rest).map(route)
}

fn outside(method: &str, path: &str, fields: &dyn Fields, rules: &Rules) -> Result<Route, Refusal> {
    let greeting = rules.greeting.then_some(Route::Greeting);
    let route = match page_file(path).filter(|_| rules.page) {
        Some(PageFile::Index) if rules.greeting && !wants_html(fields) => greeting,
        Some(file) => Some(Route::Page(file)),
        None => greeting,
    };
    match (route, method) {
        (None, _) => Err(Refusal::UploadNotFound),
        (Some(route), "GET" | "HEAD") => Ok(route),
        (Some(_), _) => Err(Refusal::MethodNotAllowed { allow: "GET, HEAD" }),
    }
}

fn page_file(path: &str) -> Option<PageFile> {
    if path == "/" {
        return Some(PageFile::Index);
    }
    match path.strip_prefix(PAGE_FILES)? {
        "app.js" => Some(PageFile::Script),
        "style.css" => Some(PageFile::Style),
        "icon.svg" => Some(PageFile::Icon),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{
        Extensions,
        testing::{fields, rules},
    };

    fn id(text: &str) -> UploadId {
        UploadId::parse(text).unwrap()
    }

    /// Of a request that speaks our version.
    fn routed(method: &str, other: Option<&str>, path: &str, rules: &Rules) -> Result<Route, Refusal> {
        let version = ("tus-resumable", "1.0.0");
        let lines: Vec<_> = [version].into_iter().chain(other.map(|other| ("x-http-method-override", other))).collect();
        route(method, &fields(&lines), path, rules)
    }

    const NOT_FOUND: Result<Route, Refusal> = Err(Refusal::UploadNotFound);

    fn not_allowed(allow: &'static str) -> Result<Route, Refusal> {
        Err(Refusal::MethodNotAllowed { allow })
    }

    #[test]
    fn a_request_goes_by_its_method_and_path() {
        for (method, path, expected) in [
            ("POST", "/files/", Ok(Route::Create)),
            ("POST", "/files", Ok(Route::Create)),
            ("POST", "/files///", Ok(Route::Create)),
            ("POST", "/files/?a=/b", Ok(Route::Create)),
            ("POST", "/%66iles/", Ok(Route::Create)),
            ("GET", "/files/", not_allowed("POST")),
            ("HEAD", "/files", not_allowed("POST")),
            ("HEAD", "/files/a", Ok(Route::Inspect(id("a")))),
            ("PATCH", "/files/a/", Ok(Route::Append(id("a")))),
            ("GET", "/files//a", Ok(Route::Download(id("a")))),
            ("DELETE", "/files/a?x", Ok(Route::Terminate(id("a")))),
            ("GET", "/files/a%2Fb/c%20d", Ok(Route::Download(id("a/b/c d")))),
            ("GET", "/files/%c3%bc", Ok(Route::Download(id("\u{fc}")))),
            ("GET", "/files/a%3Fb", Ok(Route::Download(id("a?b")))),
            ("GET", "/files/a%252Fb", Ok(Route::Download(id("a%2Fb")))),
            ("POST", "/files/a", not_allowed("GET, HEAD, PATCH, DELETE")),
            ("patch", "/files/a", not_allowed("GET, HEAD, PATCH, DELETE")),
            ("PUT", "/files/..", not_allowed("GET, HEAD, PATCH, DELETE")),
            ("GET", "/files/%2e%2e/x", NOT_FOUND),
            ("GET", "/files/a/../b", NOT_FOUND),
            ("GET", "/files/a%00", NOT_FOUND),
            ("GET", "/files/a%5Cb", NOT_FOUND),
            ("GET", "/files/%ff", NOT_FOUND),
            ("GET", "/files/%", NOT_FOUND),
            ("GET", "/files/a.info", NOT_FOUND),
            ("GET", "/files/a//b", NOT_FOUND),
            ("GET", "/", Ok(Route::Greeting)),
            ("HEAD", "/filesystem", Ok(Route::Greeting)),
            ("POST", "/", not_allowed("GET, HEAD")),
            ("OPTIONS", "/files/a", Ok(Route::Options)),
            ("OPTIONS", "/elsewhere", Ok(Route::Options)),
            ("OPTIONS", "*", Ok(Route::Options)),
            ("OPTIONS", "/%ff", Ok(Route::Options)),
        ] {
            assert_eq!(routed(method, None, path, &rules()), expected, "{method} {path}");
        }
    }

    #[test]
    fn any_method_may_be_overridden() {
        for (method, other, expected) in [
            ("POST", "PATCH", Ok(Route::Append(id("a")))),
            ("GET", "DELETE", Ok(Route::Terminate(id("a")))),
            ("OPTIONS", "HEAD", Ok(Route::Inspect(id("a")))),
            ("GET", "OPTIONS", Ok(Route::Options)),
            ("GET", "", Ok(Route::Download(id("a")))),
            ("GET", "head", not_allowed("GET, HEAD, PATCH, DELETE")),
        ] {
            assert_eq!(routed(method, Some(other), "/files/a", &rules()), expected, "{method} {other}");
        }
        let unreadable =
            vec![("x-http-method-override".to_owned(), vec![0xff]), ("tus-resumable".to_owned(), b"1.0.0".to_vec())];
        assert_eq!(route("GET", &unreadable, "/files/a", &rules()), not_allowed("GET, HEAD, PATCH, DELETE"));
    }

    #[test]
    fn the_base_path_may_be_the_root() {
        let rules = Rules { base_path: "/".to_owned(), ..rules() };
        for (method, path, expected) in [
            ("POST", "/", Ok(Route::Create)),
            ("GET", "/", not_allowed("POST")),
            ("GET", "/a", Ok(Route::Download(id("a")))),
            ("GET", "//a", Ok(Route::Download(id("a")))),
            ("PATCH", "/a/b", Ok(Route::Append(id("a/b")))),
        ] {
            assert_eq!(routed(method, None, path, &rules), expected, "{method} {path}");
        }
    }

    #[test]
    fn what_is_off_is_not_allowed() {
        let extensions = Extensions { creation: false, termination: false, download: false, ..Extensions::all() };
        let rules = Rules { extensions, greeting: false, page: false, ..rules() };
        assert_eq!(routed("POST", None, "/files/", &rules), not_allowed("OPTIONS"));
        assert_eq!(routed("GET", None, "/files/a", &rules), not_allowed("HEAD, PATCH"));
        assert_eq!(routed("DELETE", None, "/files/a", &rules), not_allowed("HEAD, PATCH"));
        assert_eq!(routed("GET", None, "/", &rules), NOT_FOUND);
        assert_eq!(routed("POST", None, "/", &rules), NOT_FOUND);
    }

    #[test]
    fn the_root_is_a_page_for_people_and_a_line_for_programs() {
        let asked = |method: &str, path: &str, accept: &str, greeting, page| {
            let rules = Rules { greeting, page, ..rules() };
            route(method, &fields(&[("accept", accept)]), path, &rules)
        };
        const HTML: &str = "text/html,*/*;q=0.8";
        let page = |file| Ok(Route::Page(file));
        for (path, accept, both, only_page, only_greeting) in [
            ("/", HTML, page(PageFile::Index), page(PageFile::Index), Ok(Route::Greeting)),
            ("/?x", HTML, page(PageFile::Index), page(PageFile::Index), Ok(Route::Greeting)),
            ("/", "*/*", Ok(Route::Greeting), page(PageFile::Index), Ok(Route::Greeting)),
            ("/page/app.js", "*/*", page(PageFile::Script), page(PageFile::Script), Ok(Route::Greeting)),
            ("/page/style.css?1", "text/css", page(PageFile::Style), page(PageFile::Style), Ok(Route::Greeting)),
            ("/page/icon.svg", HTML, page(PageFile::Icon), page(PageFile::Icon), Ok(Route::Greeting)),
            ("/page/other.js", HTML, Ok(Route::Greeting), NOT_FOUND, Ok(Route::Greeting)),
            ("/page/", HTML, Ok(Route::Greeting), NOT_FOUND, Ok(Route::Greeting)),
            ("//", HTML, Ok(Route::Greeting), NOT_FOUND, Ok(Route::Greeting)),
        ] {
            for method in ["GET", "HEAD"] {
                assert_eq!(asked(method, path, accept, true, true), both, "{method} {path} {accept}");
                assert_eq!(asked(method, path, accept, false, true), only_page, "{method} {path} {accept}");
                assert_eq!(asked(method, path, accept, true, false), only_greeting, "{method} {path} {accept}");
                assert_eq!(asked(method, path, accept, false, false), NOT_FOUND, "{method} {path} {accept}");
            }
        }
        assert_eq!(asked("POST", "/page/app.js", "*/*", false, true), not_allowed("GET, HEAD"));
        assert_eq!(asked("DELETE", "/", HTML, false, true), not_allowed("GET, HEAD"));
    }

    #[test]
    fn the_version_is_checked_below_the_base_path_before_anything_else() {
        const REFUSED: Result<Route, Refusal> = Err(Refusal::UnsupportedVersion);
        for (method, path, without, wrong) in [
            ("OPTIONS", "/files/", Ok(Route::Options), Ok(Route::Options)),
            ("GET", "/", Ok(Route::Greeting), Ok(Route::Greeting)),
            ("POST", "/", not_allowed("GET, HEAD"), not_allowed("GET, HEAD")),
            ("HEAD", "/files/a", Ok(Route::Inspect(id("a"))), REFUSED),
            ("GET", "/files/a", Ok(Route::Download(id("a"))), REFUSED),
            ("GET", "/files/", not_allowed("POST"), REFUSED),
            ("GET", "/files/..", NOT_FOUND, REFUSED),
            ("GET", "/files/%ff", NOT_FOUND, REFUSED),
            ("POST", "/files/", REFUSED, REFUSED),
            ("PATCH", "/files/a", REFUSED, REFUSED),
            ("DELETE", "/files/..", REFUSED, REFUSED),
            ("DELETE", "/files/%ff", REFUSED, REFUSED),
            ("PUT", "/files/a", REFUSED, REFUSED),
            ("PUT", "/files/", REFUSED, REFUSED),
        ] {
            for lines in [&[] as &[_], &[("tus-resumable", "")]] {
                assert_eq!(route(method, &fields(lines), path, &rules()), without, "{method} {path}");
            }
            for version in ["0.2.2", "1.0", "1.0.0 ", "1.0.0, 0.2.2"] {
                let lines = fields(&[("tus-resumable", version)]);
                assert_eq!(route(method, &lines, path, &rules()), wrong, "{method} {path} {version}");
            }
        }
    }

    proptest::proptest! {
        #[test]
        fn no_request_line_panics(method: String, other: Vec<u8>, path: String) {
            let lines = vec![("x-http-method-override".to_owned(), other)];
            let _ = route(&method, &lines, &path, &rules());
            let _ = routed("GET", None, &format!("/files/{path}"), &rules());
        }

        #[test]
        fn every_id_is_reached_by_its_encoded_path(text in "[a-z%?#+ \u{fc}/]{1,20}") {
            if let Ok(id) = UploadId::parse(&text) {
                let path = format!("/files/{}", percent::encode(&text));
                proptest::prop_assert_eq!(routed("PATCH", None, &path, &rules()), Ok(Route::Append(id)));
            }
        }
    }
}
