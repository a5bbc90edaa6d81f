//! Fields of a client's request that are handed on to a hook.

use hyper::header::{HeaderMap, HeaderName, HeaderValue};

use crate::hooks::{Caller, SetupError, verdict::is_framing};

/// The names of the fields that are handed on.
#[derive(Debug, Clone)]
pub(in crate::hooks) struct Forwarded {
    names: Vec<HeaderName>,
}

impl Forwarded {
    /// Fields with these names, in any case. Not every one can be handed on: some are about the hook's own request.
    pub(in crate::hooks) fn new(names: &[String], is_taken: impl Fn(&str) -> bool) -> Result<Self, SetupError> {
        let checked = |name: &String| {
            let wrong = |problem: &str| SetupError::new("forward_headers", format!("{name:?} {problem}"));
            let parsed = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong("is no name of a field"))?;
            let is_own = is_framing(parsed.as_str()) || matches!(parsed.as_str(), "content-type" | "host");
            if is_own || is_taken(parsed.as_str()) { Err(wrong("can't be handed on")) } else { Ok(parsed) }
        };
        Ok(Self { names: names.iter().map(checked).collect::<Result<_, _>>()? })
    }

    /// Those of a request, each with all its lines.
    pub(in crate::hooks) fn of(&self, caller: &Caller) -> HeaderMap {
        let mut fields = HeaderMap::new();
        for (name, values) in &caller.header {
            let Some(wanted) = self.names.iter().find(|wanted| name.eq_ignore_ascii_case(wanted.as_str())) else {
                continue;
            };
            for value in values.iter().filter_map(|value| HeaderValue::from_bytes(value.as_bytes()).ok()) {
                fields.append(wanted.clone(), value);
            }
        }
        fields
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forwarded(names: &[&str]) -> Result<Forwarded, SetupError> {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        Forwarded::new(&names, |name| name.starts_with("x-wharf-"))
    }

    #[test]
    fn fields_are_known_in_any_case_and_come_with_all_their_lines() {
        let header = [
            ("Authorization".to_owned(), vec!["Bearer t".to_owned()]),
            ("Cookie".to_owned(), vec!["a=1".to_owned(), "b=\u{fc}".to_owned()]),
            ("X-Other".to_owned(), vec!["1".to_owned()]),
        ];
        let caller = Caller { header: header.into(), ..Caller::default() };
        let fields = forwarded(&["AUTHORIZATION", "cookie", "X-Absent"]).unwrap().of(&caller);
        let lines: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        let expected: [(&str, &[u8]); 3] =
            [("authorization", b"Bearer t"), ("cookie", b"a=1"), ("cookie", b"b=\xc3\xbc")];
        assert_eq!(lines, expected);
    }

    #[test]
    fn what_is_about_the_hooks_own_request_is_not_handed_on() {
        for name in ["", "X A", "Content-Length", "content-type", "Host", "TE", "connection", "X-Wharf-Event-Id"] {
            assert_eq!(forwarded(&["Cookie", name]).unwrap_err().field, "forward_headers", "{name}");
        }
    }
}
