//! The order, the pages and the markers of ListObjectsV2, over a bucket's sorted keys.

/// Where a page begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum After {
    /// At the first key.
    Start,
    /// Behind a key.
    Key(String),
    /// Behind all keys that begin so.
    Prefix(String),
}

/// One line of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Entry {
    Key(String),
    Prefix(String),
}

/// Up to `limit` entries of `keys`, which are sorted, and whether more follow.
pub(crate) fn page<'a>(
    keys: impl Iterator<Item = &'a String>,
    prefix: &str,
    delimiter: Option<&str>,
    after: &After,
    limit: usize,
) -> (Vec<Entry>, bool) {
    let mut entries: Vec<Entry> = Vec::new();
    for key in keys.filter(|key| key.starts_with(prefix) && after.precedes(key)) {
        let entry = match delimiter.and_then(|delimiter| Some((delimiter, key[prefix.len()..].find(delimiter)?))) {
            Some((delimiter, at)) => Entry::Prefix(key[..prefix.len() + at + delimiter.len()].to_owned()),
            None => Entry::Key(key.clone()),
        };
        if entries.last() == Some(&entry) {
            continue;
        }
        if entries.len() == limit {
            return (entries, limit > 0);
        }
        entries.push(entry);
    }
    (entries, false)
}

impl After {
    fn precedes(&self, key: &str) -> bool {
        match self {
            Self::Start => true,
            Self::Key(marker) => key > marker.as_str(),
            Self::Prefix(marker) => key > marker.as_str() && !key.starts_with(marker.as_str()),
        }
    }

    /// The marker behind `entry`.
    pub(crate) fn entry(entry: &Entry) -> Self {
        match entry {
            Entry::Key(key) => Self::Key(key.clone()),
            Entry::Prefix(prefix) => Self::Prefix(prefix.clone()),
        }
    }

    /// As an opaque token, that no client can mistake for a key.
    pub(crate) fn token(&self) -> String {
        let (kind, marker) = match self {
            Self::Start => ('s', ""),
            Self::Key(key) => ('k', key.as_str()),
            Self::Prefix(prefix) => ('p', prefix.as_str()),
        };
        format!("{kind}{}", super::state::hex(marker.as_bytes()))
    }

    /// The marker of a token that [`Self::token`] made.
    pub(crate) fn parse(token: &str) -> Option<Self> {
        let marker = token.get(1..).and_then(unhex)?;
        match token.as_bytes()[0] {
            b's' => Some(Self::Start),
            b'k' => Some(Self::Key(marker)),
            b'p' => Some(Self::Prefix(marker)),
            _ => None,
        }
    }
}

fn unhex(text: &str) -> Option<String> {
    if !text.len().is_multiple_of(2) || !text.is_ascii() {
        return None;
    }
    let pairs = (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16));
    String::from_utf8(pairs.collect::<Result<_, _>>().ok()?).ok()
}

/// For `encoding-type=url`: everything but the unreserved characters and slashes.
pub(crate) fn encoded(text: &str, url: bool) -> String {
    if !url {
        return text.to_owned();
    }
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~/".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::{After, Entry, encoded, page};

    fn keys() -> Vec<String> {
        ["a", "a/1", "a/2", "b/1", "b/2/3", "c"].map(str::to_owned).to_vec()
    }

    fn walk(prefix: &str, delimiter: Option<&str>, limit: usize) -> Vec<Entry> {
        let (keys, mut after, mut all) = (keys(), After::Start, Vec::new());
        loop {
            let (entries, more) = page(keys.iter(), prefix, delimiter, &after, limit);
            all.extend(entries);
            if !more {
                return all;
            }
            after = After::parse(&After::entry(all.last().unwrap()).token()).unwrap();
        }
    }

    #[test]
    fn pages_of_every_size_add_up_to_the_same_listing() {
        let key = |name: &str| Entry::Key(name.to_owned());
        let prefix = |name: &str| Entry::Prefix(name.to_owned());
        for limit in 1..8 {
            assert_eq!(walk("", Some("/"), limit), [key("a"), prefix("a/"), prefix("b/"), key("c")]);
            assert_eq!(walk("b/", Some("/"), limit), [key("b/1"), prefix("b/2/")]);
            assert_eq!(walk("", None, limit).len(), 6);
        }
    }

    #[test]
    fn a_page_of_no_keys_is_not_truncated() {
        assert_eq!(page(keys().iter(), "", None, &After::Start, 0), (vec![], false));
    }

    #[test]
    fn tokens_of_others_are_refused() {
        for token in ["", "x", "k1", "kzz", "q61", "é"] {
            assert_eq!(After::parse(token), None, "{token}");
        }
    }

    #[test]
    fn keys_are_encoded_as_in_a_url() {
        assert_eq!(encoded("a b/ü+~", true), "a%20b/%C3%BC%2B~");
        assert_eq!(encoded("a b", false), "a b");
    }
}
