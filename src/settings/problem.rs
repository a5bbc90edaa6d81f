//! Where a setting came from, and what may be wrong with one.

use std::{fmt, path::PathBuf};

/// A place in a text file, both counted from one; the column counts characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

impl Place {
    /// The place of a byte offset in a text.
    pub(super) fn of(text: &str, offset: usize) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Self { line: before.matches('\n').count() + 1, column: before[start..].chars().count() + 1 }
    }
}

/// Where a setting's value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nobody set it.
    BuiltIn,
    /// A settings file; no place when the whole file is meant.
    File {
        /// The file, as it was named.
        path: PathBuf,
        /// Where in the file.
        place: Option<Place>,
    },
    /// An environment variable.
    Environment {
        /// Its name.
        variable: String,
    },
    /// A flag on the command line.
    Flag {
        /// The flag with its dashes.
        flag: String,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BuiltIn => formatter.write_str("built in"),
            Self::File { path, place: None } => write!(formatter, "{}", path.display()),
            Self::File { path, place: Some(place) } => {
                write!(formatter, "{}:{}:{}", path.display(), place.line, place.column)
            }
            Self::Environment { variable } => formatter.write_str(variable),
            Self::Flag { flag } => formatter.write_str(flag),
        }
    }
}

/// One reason why wharf can't start with its settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Who is to blame.
    pub origin: Origin,
    /// The dotted key, where there is one.
    pub key: Option<String>,
    /// What is wrong, for the operator.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: ", self.origin)?;
        if let Some(key) = &self.key {
            write!(formatter, "{key}: ")?;
        }
        formatter.write_str(&self.message)
    }
}

/// Everything that is wrong with the settings, one line each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingsError {
    /// Never empty; in the order of the layers, and within a file in the order of its lines.
    pub problems: Vec<Problem>,
}

impl SettingsError {
    /// One that no key and no place is to blame for.
    pub(crate) fn at_all(message: String) -> Self {
        Self { problems: vec![Problem { origin: Origin::BuiltIn, key: None, message }] }
    }
}

impl fmt::Display for SettingsError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(formatter, "{separator}{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for SettingsError {}
