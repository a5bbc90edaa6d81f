//! What can be wrong with how a transport is set up.

use std::fmt;

/// A value that a transport can't work with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetupError {
    /// The field of the transport's configuration.
    pub field: &'static str,
    /// What is wrong with it.
    pub problem: String,
}

impl SetupError {
    pub(super) fn new(field: &'static str, problem: impl Into<String>) -> Self {
        Self { field, problem: problem.into() }
    }
}

impl fmt::Display for SetupError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.field, self.problem)
    }
}

impl std::error::Error for SetupError {}
