//! What was found, as data, and as a person reads it.

use std::fmt::Write;

use serde::Serialize;

use crate::model::name::printable;

/// How it is with one prerequisite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// As it should be.
    Ok,
    /// It works, and something should be mended.
    Warning,
    /// It does not work.
    Failed,
    /// Nobody knows; the detail says why.
    NotChecked,
}

impl Outcome {
    fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failed => "FAILED",
            Self::NotChecked => "not checked",
        }
    }
}

/// One prerequisite, and how it is with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Its name: `configuration`, `folder`, …
    pub check: &'static str,
    /// The same for people, with what it is about: `folder Inbox`.
    pub title: String,
    /// How it is.
    pub outcome: Outcome,
    /// What was seen.
    pub detail: String,
    /// What to do.
    pub remedy: Option<String>,
}

/// What a judge says; the table knows about what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) subject: Option<String>,
    pub(super) outcome: Outcome,
    pub(super) detail: String,
    pub(super) remedy: Option<String>,
}

impl Told {
    pub(super) fn ok(detail: impl Into<String>) -> Self {
        Self { subject: None, outcome: Outcome::Ok, detail: detail.into(), remedy: None }
    }

    pub(super) fn warning(detail: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { outcome: Outcome::Warning, remedy: Some(remedy.into()), ..Self::ok(detail) }
    }

    pub(super) fn failed(detail: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { outcome: Outcome::Failed, ..Self::warning(detail, remedy) }
    }

    pub(super) fn not_checked(because: impl std::fmt::Display) -> Self {
        Self { outcome: Outcome::NotChecked, ..Self::ok(format!("because {because}")) }
    }

    /// A sentence whose last part, behind a semicolon, says what to do.
    pub(super) fn said(outcome: Outcome, sentence: &str) -> Self {
        match sentence.rsplit_once("; ") {
            Some((detail, remedy)) => Self { outcome, ..Self::warning(detail, remedy) },
            None => Self { outcome, ..Self::ok(sentence) },
        }
    }

    /// The same about one of several.
    pub(super) fn about(self, subject: impl Into<String>) -> Self {
        Self { subject: Some(subject.into()), ..self }
    }

    pub(super) fn of(self, check: &'static str, title: &str) -> Finding {
        let title = match &self.subject {
            Some(subject) => printable(&format!("{title} {subject}")),
            None => title.to_owned(),
        };
        let remedy = self.remedy.map(|remedy| printable(&remedy));
        Finding { check, title, outcome: self.outcome, detail: printable(&self.detail), remedy }
    }
}

/// Everything that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Examination {
    /// The program's version.
    pub version: String,
    /// In the order in which a person sets things up.
    pub findings: Vec<Finding>,
    /// The names of files and folders in Drive that were seen: nobody else's business.
    #[serde(skip)]
    pub(super) names: Vec<String>,
}

/// The column of the outcomes, as wide as "not checked".
const OUTCOMES: usize = 11;
/// A longer title takes the room of its detail.
const TITLES: usize = 22;

impl Examination {
    /// Whether nothing failed.
    pub fn is_good(&self) -> bool {
        self.count(Outcome::Failed) == 0
    }

    fn count(&self, outcome: Outcome) -> usize {
        self.findings.iter().filter(|finding| finding.outcome == outcome).count()
    }

    /// A line for each, and below it what to do.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let indent = " ".repeat(2 + OUTCOMES + 2 + TITLES + 2);
        for Finding { title, outcome, detail, remedy, .. } in &self.findings {
            // Writing into text does not fail.
            let _ = writeln!(text, "  {:<OUTCOMES$}  {title:<TITLES$}  {detail}", outcome.word());
            if let Some(remedy) = remedy {
                let _ = writeln!(text, "{indent}-> {remedy}");
            }
        }
        text + &self.summary() + "\n"
    }

    fn summary(&self) -> String {
        let told = [(Outcome::Failed, "failed"), (Outcome::NotChecked, "not checked")];
        let mut parts: Vec<String> = told
            .into_iter()
            .filter_map(|(outcome, word)| match self.count(outcome) {
                0 => None,
                count => Some(format!("{count} {word}")),
            })
            .collect();
        match self.count(Outcome::Warning) {
            0 => {}
            1 => parts.push("1 warning".to_owned()),
            count => parts.push(format!("{count} warnings")),
        }
        if parts.is_empty() { "everything is in order".to_owned() } else { parts.join(", ") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_reads_what_is_wrong_and_what_helps() {
        let findings = vec![
            Told::ok("all of it").of("files", "files"),
            Told::failed("it is\u{1b}[31m a file", "write the id of a folder")
                .about("Inbox")
                .of("folder", "folder"),
            Told::not_checked("there is no folder").of("downloads", "downloads"),
            Told::said(Outcome::Warning, "a; b; do this").of("clock", "clock"),
        ];
        let examination = Examination { version: "1".to_owned(), findings, names: Vec::new() };
        assert!(!examination.is_good());
        let below = " ".repeat(39);
        let expected = format!(
            "  ok           files                   all of it\n\
             \x20 FAILED       folder Inbox            it is\u{fffd}[31m a file\n\
             {below}-> write the id of a folder\n\
             \x20 not checked  downloads               because there is no folder\n\
             \x20 warning      clock                   a; b\n\
             {below}-> do this\n\
             1 failed, 1 not checked, 1 warning\n"
        );
        assert_eq!(examination.text(), expected);
        let good = Examination { findings: vec![Told::ok("").of("a", "a")], ..examination };
        assert!(good.is_good() && good.text().ends_with("\neverything is in order\n"));
    }
}
