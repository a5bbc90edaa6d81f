//! The dashboard's files, and the description of the endpoint. They are in the program: there is nothing to install.

use actix_web::HttpResponse;

use super::answer;

const SCRIPT: &str = "text/javascript; charset=utf-8";

/// A file, and where it is asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct File {
    path: &'static str,
    media_type: &'static str,
    text: &'static str,
}

static FILES: [File; 17] = [
    File { path: "/", media_type: "text/html; charset=utf-8", text: include_str!("page/index.html") },
    File { path: "/app.js", media_type: SCRIPT, text: include_str!("page/app.js") },
    File { path: "/style.css", media_type: "text/css; charset=utf-8", text: include_str!("page/style.css") },
    File { path: "/page/icon.svg", media_type: "image/svg+xml", text: include_str!("page/icon.svg") },
    File { path: "/page/api.js", media_type: SCRIPT, text: include_str!("page/api.js") },
    File { path: "/page/chart.js", media_type: SCRIPT, text: include_str!("page/chart.js") },
    File { path: "/page/course.js", media_type: SCRIPT, text: include_str!("page/course.js") },
    File { path: "/page/dialogs.js", media_type: SCRIPT, text: include_str!("page/dialogs.js") },
    File { path: "/page/dom.js", media_type: SCRIPT, text: include_str!("page/dom.js") },
    File { path: "/page/flight.js", media_type: SCRIPT, text: include_str!("page/flight.js") },
    File { path: "/page/hooks.js", media_type: SCRIPT, text: include_str!("page/hooks.js") },
    File { path: "/page/list.js", media_type: SCRIPT, text: include_str!("page/list.js") },
    File { path: "/page/machine.js", media_type: SCRIPT, text: include_str!("page/machine.js") },
    File { path: "/page/overview.js", media_type: SCRIPT, text: include_str!("page/overview.js") },
    File { path: "/page/upload.js", media_type: SCRIPT, text: include_str!("page/upload.js") },
    File { path: "/page/words.js", media_type: SCRIPT, text: include_str!("page/words.js") },
    File { path: "/openapi.json", media_type: "application/json", text: include_str!("openapi.json") },
];

/// The file that is asked for by this path.
pub(super) fn file(path: &str) -> Option<&'static File> {
    FILES.iter().find(|file| file.path == path)
}

pub(super) fn serve(file: &File) -> HttpResponse {
    answer::text(file.media_type, file.text)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;

    /// Whatever the scripts and the page name is there, in the program as well as in the description.
    #[test]
    fn the_files_name_one_another() {
        let description: Value = serde_json::from_str(file("/openapi.json").unwrap().text).unwrap();
        let names = &description["paths"]["/page/{name}"]["get"]["parameters"][0]["schema"]["enum"];
        let described: BTreeSet<&str> = names.as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
        let served: BTreeSet<&str> = FILES.iter().filter_map(|file| file.path.strip_prefix("/page/")).collect();
        assert_eq!(described, served);
        for script in FILES.iter().filter(|file| file.media_type == SCRIPT) {
            assert!(script.text.lines().count() < 450, "{} is long", script.path);
            for line in script.text.lines().filter(|line| line.contains("from './")) {
                let name = line.split('\'').nth(1).unwrap();
                let name = name.trim_start_matches("./").trim_start_matches("page/");
                assert!(served.contains(name), "{} imports {name}", script.path);
            }
            for word in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "https://"] {
                assert!(!script.text.contains(word), "{word} in {}", script.path);
            }
        }
    }

    #[test]
    fn nothing_in_the_page_is_inline() {
        let page = file("/").unwrap().text;
        for word in ["style=", "onclick", "onload", "<style", "://"] {
            assert!(!page.contains(word), "{word}");
        }
        assert_eq!(
            page.matches("<script").count(),
            page.matches("<script src=").count() + page.matches("<script type=\"module\" src=").count()
        );
    }
}
