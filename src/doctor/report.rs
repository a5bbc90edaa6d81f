//! What an examination has found, for people and for programs.

use std::process::ExitCode;

use serde_json::json;

use super::{
    Proxy,
    finding::{Finding, Problem},
};

/// What was looked at, and what was found.
#[derive(Debug, Default)]
pub struct Report {
    /// What was examined, fit for a terminal.
    pub url: String,
    /// What was wrong.
    pub findings: Vec<Finding>,
    /// What was looked at.
    pub looked_at: Vec<&'static str>,
    /// What is only good to know.
    pub notes: Vec<String>,
    /// What could not be looked at, and why.
    pub gaps: Vec<String>,
    /// Uploads that could not be deleted.
    pub left: Vec<String>,
}

impl Report {
    pub(super) fn find(&mut self, problem: Problem, sent: impl Into<String>, got: impl Into<String>) {
        // One cause is one finding, however often it is met.
        if !self.has(&problem) {
            self.findings.push(Finding { problem, sent: sent.into(), got: got.into() });
        }
    }

    pub(super) fn has(&self, problem: &Problem) -> bool {
        self.findings.iter().any(|finding| finding.problem == *problem)
    }

    /// 0: nothing is wrong; 1: something is; 2: that could not be found out.
    pub(super) fn status(&self) -> ExitCode {
        ExitCode::from(match (self.findings.is_empty(), self.gaps.is_empty()) {
            (false, _) => 1,
            (true, false) => 2,
            (true, true) => 0,
        })
    }

    pub(super) fn text(&self, proxies: &[Proxy]) -> String {
        let mut text = format!("{}: looked at {}\n", self.url, self.looked_at.join(", "));
        for note in &self.notes {
            text.push_str(&format!("note: {note}\n"));
        }
        for gap in &self.gaps {
            text.push_str(&format!("not examined: {gap}\n"));
        }
        for upload in &self.left {
            text.push_str(&format!("left behind, since it can't be deleted: {upload}\n"));
        }
        for finding in &self.findings {
            text.push('\n');
            text.push_str(&finding.text(proxies));
        }
        text.push_str(&match (self.findings.len(), self.gaps.is_empty()) {
            (0, true) => "nothing is in the way of uploads\n".to_owned(),
            (0, false) => "nothing was found, but not all could be examined\n".to_owned(),
            (1, _) => "\n1 thing is in the way of uploads\n".to_owned(),
            (count, _) => format!("\n{count} things are in the way of uploads\n"),
        });
        text
    }

    pub(super) fn json(&self, proxies: &[Proxy]) -> String {
        let findings: Vec<_> = self.findings.iter().map(|finding| finding.json(proxies)).collect();
        let all = json!({
            "url": self.url,
            "findings": findings,
            "looked_at": self.looked_at,
            "notes": self.notes,
            "not_examined": self.gaps,
            "left": self.left,
        });
        format!("{all}\n")
    }
}
