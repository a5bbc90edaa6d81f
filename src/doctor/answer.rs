//! What came back: an answer's head and body, read within limits.

use crate::telemetry::escaped;

/// How much of an answer is quoted.
const QUOTED_LETTERS: usize = 160;

/// An answer, as it came over the wire.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// Whether it is of HTTP/1.1.
    pub(super) is_current: bool,
    /// Names in lower case, in the order sent.
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
    /// Whether all of the body came.
    pub(super) is_whole: bool,
}

impl Answer {
    /// The values of a header, line by line.
    pub(super) fn lines<'answer>(&'answer self, name: &'answer str) -> impl Iterator<Item = &'answer str> {
        self.headers.iter().filter(move |header| header.0 == name).map(|header| header.1.as_str())
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.lines(name).next().is_some()
    }

    /// The first value.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|header| header.0 == name).map(|header| header.1.as_str())
    }

    /// The value as a number.
    pub(super) fn number(&self, name: &str) -> Option<u64> {
        self.text(name)?.parse().ok()
    }

    /// The items of a list, over all lines, in lower case.
    pub(super) fn list(&self, name: &str) -> Vec<String> {
        let items = self.lines(name).flat_map(|line| line.split(',')).map(|item| item.trim().to_ascii_lowercase());
        items.filter(|item| !item.is_empty()).collect()
    }

    pub(super) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    pub(super) fn is_redirect(&self) -> bool {
        matches!(self.status, 301 | 302 | 303 | 307 | 308) && self.has("location")
    }

    /// Whether the body is a page, as proxies answer with.
    pub(super) fn is_page(&self) -> bool {
        let is_html = self.text("content-type").is_some_and(|kind| kind.to_ascii_lowercase().starts_with("text/html"));
        is_html || self.body.trim_ascii_start().starts_with(b"<")
    }

    /// Whether it bears the marks of a tus server, which nothing in front of one has.
    pub(super) fn has_marks(&self) -> bool {
        self.has("tus-resumable") || self.body.starts_with(b"ERR_")
    }

    /// Whether its body speaks of something.
    pub(super) fn mentions(&self, word: &str) -> bool {
        String::from_utf8_lossy(&self.body).to_ascii_lowercase().contains(&word.to_ascii_lowercase())
    }

    /// The status, who says so, and how the body begins, fit for a terminal.
    pub(super) fn quoted(&self) -> String {
        let mut text = self.status.to_string();
        if let Some(server) = self.text("server") {
            text = format!("{text} from {}", excerpt(server));
        }
        let body = String::from_utf8_lossy(&self.body);
        let body = body.trim();
        if body.is_empty() || self.is_page() { text } else { format!("{text}: {}", excerpt(body)) }
    }

    /// A header as it came, or that it didn't, fit for a terminal.
    pub(super) fn shown(&self, name: &str) -> String {
        let lines: Vec<String> = self.lines(name).map(|line| format!("{name}: {}", excerpt(line))).collect();
        if lines.is_empty() { format!("no {name}") } else { lines.join(" and ") }
    }
}

/// The beginning of text from outside, with nothing in it that could steer a terminal.
pub(super) fn excerpt(text: &str) -> String {
    let end = text.char_indices().nth(QUOTED_LETTERS).map_or(text.len(), |(at, _)| at);
    let cut = if end < text.len() { "..." } else { "" };
    format!("{}{cut}", escaped(&text[..end]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(headers: &[(&str, &str)], body: &str) -> Answer {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Answer { status: 409, is_current: true, headers, body: body.into(), is_whole: true }
    }

    #[test]
    fn what_is_quoted_steers_no_terminal() {
        let hostile = answer(&[("server", "\u{1b}[2Jx\u{202e}")], "ERR_A\r\n\u{7}");
        assert_eq!(hostile.quoted(), "409 from \\u{1b}[2Jx\\u{202e}: ERR_A\\r\\n\\u{7}");
        assert_eq!(hostile.shown("server"), "server: \\u{1b}[2Jx\\u{202e}");
        assert_eq!(excerpt(&"\u{e9}".repeat(500)).chars().count(), QUOTED_LETTERS + 3);
    }

    #[test]
    fn servers_are_told_from_what_is_in_front() {
        assert!(answer(&[("tus-resumable", "1.0.0")], "").has_marks());
        assert!(answer(&[], "ERR_MISMATCHED_OFFSET: mismatched offset\n").has_marks());
        let page = answer(&[("content-type", "text/html")], "<html>");
        assert!(page.is_page() && !page.has_marks());
        assert_eq!(page.quoted(), "409");
    }

    #[test]
    fn lists_go_over_all_lines() {
        let seen = answer(&[("a", "X, y"), ("b", "z"), ("a", ",Q")], "");
        assert_eq!(seen.list("a"), ["x", "y", "q"]);
        assert_eq!(seen.shown("a"), "a: X, y and a: ,Q");
        assert_eq!(seen.shown("c"), "no c");
    }
}
