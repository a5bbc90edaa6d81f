//! `Accept` (RFC 9110, 12.5.1), as far as the root has two forms: a page for people, a line of text for programs.

use super::Fields;

/// How much a client wants a type, in thousandths; 0 is not at all.
type Weight = u16;

const FULL: Weight = 1000;

/// Whether a page in HTML is wanted rather than plain text. Only who names `text/html` gets one: `*/*`, or no header at
/// all, is what programs send.
#[must_use]
pub fn wants_html(fields: &dyn Fields) -> bool {
    let lines = fields.lines("accept");
    let (html, is_named) = weight(&lines, "html");
    let (plain, _) = weight(&lines, "plain");
    is_named && html > 0 && html >= plain
}

/// What the most specific range says of `text/<subtype>`, and whether it is that very type.
fn weight(lines: &[&[u8]], subtype: &str) -> (Weight, bool) {
    let elements = lines.iter().filter_map(|line| std::str::from_utf8(line).ok()).flat_map(|line| line.split(','));
    let found = elements.filter_map(|element| {
        let mut parts = element.split(';').map(str::trim);
        let (kind, sub) = parts.next()?.split_once('/')?;
        let specific = match (kind, sub) {
            ("*", "*") => 0,
            (kind, "*") if kind.eq_ignore_ascii_case("text") => 1,
            (kind, sub) if kind.eq_ignore_ascii_case("text") && sub.eq_ignore_ascii_case(subtype) => 2,
            _ => return None,
        };
        Some((specific, parts.find_map(quality).unwrap_or(FULL)))
    });
    found.max().map_or((0, false), |(specific, weight)| (weight, specific == 2))
}

/// The weight in a parameter `q=0.5` (12.4.2). What is no number counts as none.
fn quality(parameter: &str) -> Option<Weight> {
    let (name, value) = parameter.split_once('=')?;
    if !name.trim().eq_ignore_ascii_case("q") {
        return None;
    }
    let value = value.trim();
    let (whole, digits) = value.split_once('.').unwrap_or((value, ""));
    let is_legal = digits.len() <= 3 && digits.bytes().all(|digit| digit.is_ascii_digit());
    let thousandths = format!("{digits:0<3}").parse().ok().filter(|_| is_legal)?;
    match whole {
        "1" if thousandths == 0 => Some(FULL),
        "0" => Some(thousandths),
        _ => Some(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::testing::fields;

    fn wanted(accept: &str) -> bool {
        wants_html(&fields(&[("accept", accept)]))
    }

    #[test]
    fn who_names_html_gets_it() {
        for accept in [
            "text/html",
            "Text/HTML",
            "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8",
            "text/html, text/plain",
            "text/html;charset=utf-8",
            "text/html;q=0.5, */*;q=0.1",
            "text/html;q=0.001, text/plain;q=0",
            "image/png , text/html ; Q=1.000",
            "*/*, text/html",
        ] {
            assert!(wanted(accept), "{accept}");
        }
        assert!(wants_html(&fields(&[("accept", "image/png"), ("accept", "text/html")])));
    }

    #[test]
    fn everybody_else_gets_text() {
        for accept in [
            "",
            "*/*",
            "text/*",
            "text/plain",
            "application/json",
            "text/html;q=0",
            "text/html;q=0.000, */*",
            "text/html;q=0.5, text/plain",
            "text/html;q=0.5, */*",
            "text/html;q=2",
            "text/htmlx",
            "texthtml",
            "text/html/x",
            "\u{fc}",
        ] {
            assert!(!wanted(accept), "{accept}");
        }
        assert!(!wants_html(&fields(&[])));
    }

    proptest::proptest! {
        #[test]
        fn no_header_panics(line: Vec<u8>, text in "[*/a-z;=,.q0-9 \u{fc}]{0,40}") {
            let _ = wants_html(&vec![("accept".to_owned(), line)]);
            let _ = wanted(&text);
        }
    }
}
