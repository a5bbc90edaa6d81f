//! The page to upload with: its files, ready to be served. They lie in `page/`, are compiled in, and need no other host.

use std::fmt::Write;

use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::protocol::{Header, route::PageFile};

const INDEX: &str = include_str!("page/index.html");
const SCRIPT: &str = include_str!("page/app.js");
const STYLE: &str = include_str!("page/style.css");
const ICON: &str = include_str!("page/icon.svg");

/// Stands in `index.html` where the attributes belong that tell the script about this server.
const ATTRIBUTES: &str = "data-wharf";

/// What the page says of this server.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    /// Scheme and host of the uploads, if they have one of their own.
    pub(crate) origin: Option<String>,
    /// The path of the uploads, with a slash at both ends.
    pub(crate) path: String,
    /// The largest upload.
    pub(crate) max_size: Option<u64>,
    /// Whether finished uploads can be read.
    pub(crate) download: bool,
    /// Whether uploads can be deleted.
    pub(crate) termination: bool,
}

/// One file of the page.
#[derive(Debug, Clone)]
pub(crate) struct File {
    /// Its content.
    pub(crate) bytes: Bytes,
    /// The quoted entity tag of this content.
    pub(crate) etag: String,
    content_type: &'static str,
}

/// The page's files.
#[derive(Debug, Clone)]
pub(crate) struct Page {
    index: File,
    script: File,
    style: File,
    icon: File,
    policy: String,
}

impl Page {
    /// Builds the page for this server.
    pub(crate) fn new(config: &Config) -> Self {
        let index = INDEX.replacen(ATTRIBUTES, &attributes(config), 1);
        Self {
            index: File::new(index.into(), "text/html; charset=utf-8"),
            script: File::new(SCRIPT.into(), "text/javascript; charset=utf-8"),
            style: File::new(STYLE.into(), "text/css; charset=utf-8"),
            icon: File::new(ICON.into(), "image/svg+xml"),
            policy: policy(config.origin.as_deref()),
        }
    }

    /// One of its files.
    pub(crate) fn file(&self, file: PageFile) -> &File {
        match file {
            PageFile::Index => &self.index,
            PageFile::Script => &self.script,
            PageFile::Style => &self.style,
            PageFile::Icon => &self.icon,
        }
    }

    /// The headers of an answer with this file. It is asked for again each time, and mostly not sent again: so the files
    /// always fit one another.
    pub(crate) fn headers(&self, file: PageFile) -> Vec<Header> {
        let content = self.file(file);
        vec![
            ("content-type", content.content_type.into()),
            ("etag", content.etag.clone().into()),
            ("cache-control", "no-cache".into()),
            ("content-security-policy", self.policy.clone().into()),
            // The URL of an upload is all that it takes to have it.
            ("referrer-policy", "no-referrer".into()),
        ]
    }
}

impl File {
    fn new(bytes: Bytes, content_type: &'static str) -> Self {
        let mut etag = String::from("\"");
        for byte in &Sha256::digest(&bytes)[..16] {
            // A string takes whatever is written.
            let _ = write!(etag, "{byte:02x}");
        }
        etag.push('"');
        Self { bytes, etag, content_type }
    }
}

/// Only what comes from here, and no script that a file's name or a mistake could bring into the page.
fn policy(origin: Option<&str>) -> String {
    let connect = origin.map(|origin| format!(" {origin}")).unwrap_or_default();
    format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'{connect}; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; \
         trusted-types 'none'"
    )
}

/// A path is told relative to the page, so that it is right below any prefix that a proxy takes away. The dot keeps a
/// colon in it from ending a scheme.
fn attributes(config: &Config) -> String {
    let uploads = match &config.origin {
        Some(origin) => format!("{origin}{}", config.path),
        None => format!(".{}", config.path),
    };
    let uploads = uploads.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;");
    let max_size = config.max_size.map(|size| format!(" data-max-size=\"{size}\"")).unwrap_or_default();
    let switch = |is_on: bool, name: &str| if is_on { format!(" data-{name}") } else { String::new() };
    format!(
        "data-uploads=\"{uploads}\"{max_size}{}{}",
        switch(config.download, "download"),
        switch(config.termination, "termination")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        Config { origin: None, path: "/files/".to_owned(), max_size: None, download: true, termination: true }
    }

    fn index(config: &Config) -> String {
        String::from_utf8(Page::new(config).file(PageFile::Index).bytes.to_vec()).unwrap()
    }

    #[test]
    fn the_page_knows_its_server() {
        let all = index(&config());
        assert!(all.contains("<main data-uploads=\"./files/\" data-download data-termination>"), "{all}");
        let few = index(&Config { max_size: Some(100), download: false, termination: false, ..config() });
        assert!(few.contains("<main data-uploads=\"./files/\" data-max-size=\"100\">"), "{few}");
        let odd = Config { origin: Some("https://a.example:1".to_owned()), path: "/a&b:\"</".to_owned(), ..config() };
        assert!(index(&odd).contains("data-uploads=\"https://a.example:1/a&amp;b:&quot;&lt;/\""), "{}", index(&odd));
    }

    #[test]
    fn what_changes_has_another_tag() {
        let tag = |config: &Config| Page::new(config).file(PageFile::Index).etag.clone();
        assert_eq!(tag(&config()), tag(&config()));
        assert_ne!(tag(&config()), tag(&Config { download: false, ..config() }));
        let page = Page::new(&config());
        let mut tags =
            [PageFile::Index, PageFile::Script, PageFile::Style, PageFile::Icon].map(|file| &page.file(file).etag);
        tags.sort();
        assert!(tags.windows(2).all(|pair| pair[0] != pair[1]), "{tags:?}");
    }

    /// What the policy would refuse, and what would make a file's name more than text.
    #[test]
    fn nothing_in_the_files_is_at_odds_with_the_policy() {
        assert_eq!(INDEX.matches(ATTRIBUTES).count(), 1);
        for (file, wrong) in [(INDEX, " style="), (INDEX, "<style"), (INDEX, " onclick"), (INDEX, "javascript:")] {
            assert!(!file.contains(wrong), "{wrong}");
        }
        for wrong in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function("] {
            assert!(!SCRIPT.contains(wrong), "{wrong}");
        }
        for file in [INDEX, SCRIPT, STYLE] {
            assert!(!file.contains("//cdn") && !file.contains("https://") && !file.contains("@import"));
        }
    }
}
