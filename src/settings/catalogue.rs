//! The list of keys that exist and the kind of value each takes, both read off the built-in settings.

use std::{collections::BTreeMap, sync::LazyLock};

use config::ValueKind;
use toml::de::{DeTable, DeValue};

/// The built-in settings: the file that users copy.
pub(super) const BUILT_IN: &str = include_str!("../../settings.toml");

/// The catalogue of this program.
pub(super) static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(|| Catalogue::read(BUILT_IN));

/// What a key takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Switch,
    Whole,
    Text,
    List,
}

impl Kind {
    fn of(value: &DeValue<'_>) -> Option<Self> {
        match value {
            DeValue::Boolean(_) => Some(Self::Switch),
            DeValue::Integer(_) => Some(Self::Whole),
            DeValue::String(_) => Some(Self::Text),
            DeValue::Array(_) => Some(Self::List),
            DeValue::Float(_) | DeValue::Datetime(_) | DeValue::Table(_) => None,
        }
    }

    /// Takes a TOML value of this kind; the error says what is expected instead.
    pub(super) fn accept(self, value: &DeValue<'_>) -> Result<ValueKind, String> {
        match (self, value) {
            (Self::Switch, DeValue::Boolean(on)) => Ok(ValueKind::Boolean(*on)),
            (Self::Text, DeValue::String(text)) => Ok(ValueKind::String(text.to_string())),
            (Self::Whole, DeValue::Integer(whole)) => i64::from_str_radix(whole.as_str(), whole.radix())
                .map(ValueKind::I64)
                .map_err(|_| format!("must be a whole number of at most {}", i64::MAX)),
            (Self::List, DeValue::Array(items)) => items
                .iter()
                .map(|item| Self::Text.accept(item.get_ref()).map(|kind| config::Value::new(None, kind)))
                .collect::<Result<Vec<_>, _>>()
                .map(ValueKind::Array)
                .map_err(|_| self.expected("a list of something else")),
            (_, other) => Err(self.expected(name_of(other))),
        }
    }

    /// Takes text from a flag or a variable, where quotes are not needed.
    pub(super) fn read(self, text: &str) -> Result<ValueKind, String> {
        match self {
            Self::Text => Ok(ValueKind::String(text.to_owned())),
            Self::List if !text.trim_start().starts_with('[') => Ok(ValueKind::Array(
                names_in(text).map(|name| config::Value::new(None, ValueKind::String(name.to_owned()))).collect(),
            )),
            Self::Switch | Self::Whole | Self::List => {
                let value = DeValue::parse(text.trim()).map_err(|_| self.expected(&format!("{text:?}")))?;
                self.accept(value.get_ref()).map_err(|message| match value.get_ref() {
                    DeValue::Integer(_) if self == Self::Whole => message,
                    _ => self.expected(&format!("{text:?}")),
                })
            }
        }
    }

    fn expected(self, found: &str) -> String {
        let expected = match self {
            Self::Switch => "true or false",
            Self::Whole => "a whole number",
            Self::Text => "a string",
            Self::List => "a list of strings",
        };
        format!("must be {expected}, not {found}")
    }
}

fn name_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::Boolean(_) => "true or false",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::String(_) => "a string",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a section",
    }
}

/// The names in a list that is written with commas.
pub(super) fn names_in(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|name| !name.is_empty())
}

/// Every key there is.
pub(super) struct Catalogue {
    kinds: BTreeMap<String, Kind>,
    in_order: Vec<String>,
}

impl Catalogue {
    fn read(text: &str) -> Self {
        let mut found = Vec::new();
        // A test reads the file through its spans; here a broken one would only make every key unknown.
        if let Ok(table) = DeTable::parse(text) {
            collect("", table.get_ref(), &mut found);
        }
        found.sort_unstable_by_key(|(position, ..)| *position);
        let in_order = found.iter().map(|(_, key, _)| key.clone()).collect();
        Self { kinds: found.into_iter().map(|(_, key, kind)| (key, kind)).collect(), in_order }
    }

    /// The kind of a dotted key; `None` when there is no such key.
    pub(super) fn kind(&self, key: &str) -> Option<Kind> {
        self.kinds.get(key).copied()
    }

    /// All dotted keys, in the order of the built-in file.
    pub(super) fn keys(&self) -> &[String] {
        &self.in_order
    }

    /// Whether keys exist below this dotted name.
    pub(super) fn is_section(&self, name: &str) -> bool {
        self.in_order.iter().any(|key| key.strip_prefix(name).is_some_and(|rest| rest.starts_with('.')))
    }

    /// What to say of a key that doesn't exist.
    pub(super) fn unknown(&self, key: &str) -> String {
        if self.is_section(key) {
            return "is a section, not a key".to_owned();
        }
        let near = self.in_order.iter().map(|known| (distance(known, key), known)).min();
        match near {
            Some((changes, known)) if changes <= 3 => format!("unknown key; did you mean {known}?"),
            _ => "unknown key".to_owned(),
        }
    }
}

fn collect(prefix: &str, table: &DeTable<'_>, found: &mut Vec<(usize, String, Kind)>) {
    for (name, value) in table {
        let key = join(prefix, name.get_ref());
        if let DeValue::Table(inner) = value.get_ref() {
            collect(&key, inner, found);
        } else if let Some(kind) = Kind::of(value.get_ref()) {
            found.push((name.span().start, key, kind));
        }
    }
}

/// A dotted key. A dot inside a (quoted) name is written so that the result is no known key.
pub(super) fn join(prefix: &str, name: &str) -> String {
    let name = if name.contains('.') { format!("{name:?}") } else { name.to_owned() };
    if prefix.is_empty() { name } else { format!("{prefix}.{name}") }
}

/// How many single-character changes lead from one text to the other.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (line, left) in from.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], line + 1);
        for (column, right) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(left != *right);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_file_parses_and_gives_the_keys_in_its_order() {
        DeTable::parse(BUILT_IN).unwrap();
        assert_eq!(CATALOGUE.keys().first().map(String::as_str), Some("server.bind"));
        assert_eq!(CATALOGUE.keys().last().map(String::as_str), Some("log.buffer_lines"));
        assert!(CATALOGUE.is_section("pools.uploads") && CATALOGUE.is_section("pools"));
        assert!(!CATALOGUE.is_section("pool") && !CATALOGUE.is_section("server.bind"));
    }

    #[test]
    fn text_is_read_by_the_kind_of_the_key() {
        assert_eq!(Kind::Whole.read("0o664"), Ok(ValueKind::I64(436)));
        assert_eq!(Kind::Whole.read(" 1_000 "), Ok(ValueKind::I64(1000)));
        assert_eq!(Kind::Switch.read("true"), Ok(ValueKind::Boolean(true)));
        assert_eq!(Kind::Text.read("true"), Ok(ValueKind::String("true".into())));
        assert_eq!(Kind::Whole.read("ten"), Err("must be a whole number, not \"ten\"".into()));
        assert_eq!(Kind::Switch.read("yes"), Err("must be true or false, not \"yes\"".into()));
        assert_eq!(
            Kind::Whole.read("9223372036854775808"),
            Err("must be a whole number of at most 9223372036854775807".into())
        );
        let list = |text| match Kind::List.read(text).unwrap() {
            ValueKind::Array(items) => items.into_iter().map(|item| item.into_string().unwrap()).collect::<Vec<_>>(),
            other => panic!("{other:?}"),
        };
        assert_eq!(list("/a, /b"), ["/a", "/b"]);
        assert_eq!(list("[\"/a,b\"]"), ["/a,b"]);
        assert!(list("").is_empty());
    }

    #[test]
    fn a_near_miss_is_named() {
        assert_eq!(CATALOGUE.unknown("server.bnd"), "unknown key; did you mean server.bind?");
        assert_eq!(CATALOGUE.unknown("s3.bucket"), "unknown key");
        assert_eq!(CATALOGUE.unknown("server"), "is a section, not a key");
        assert_eq!((distance("", "ab"), distance("ab", "ba"), distance("x", "x")), (2, 2, 0));
    }
}
