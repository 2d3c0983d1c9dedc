//! What is wrong with a configuration, and where.

use std::cell::RefCell;
use std::fmt;
use std::net::SocketAddr;
use std::path::Path;

use serde::Serialize;
use utoipa::ToSchema;

/// One mistake. The JSON keys and the codes are stable; texts hold no value that an environment variable gave.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
pub struct Finding {
    pub file: String,
    /// 1-based; 0 when the whole file is meant.
    pub line: usize,
    /// `feed[0].listen`: tables by name, lists by position from 0.
    pub field: String,
    /// Kebab-case.
    pub code: &'static str,
    pub text: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", self.file, self.line)?;
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        write!(f, "{} [{}]", self.text, self.code)
    }
}

/// Collects findings while the file is read; shared by everything that reads it.
pub struct Report {
    file: String,
    line_starts: Vec<usize>,
    findings: RefCell<Vec<Finding>>,
    /// Listening addresses so far, with the field that named each.
    listeners: RefCell<Vec<(SocketAddr, String)>>,
}

impl Report {
    pub fn new(file: &Path, text: &str) -> Report {
        let newlines = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        Report {
            file: file.display().to_string(),
            line_starts: std::iter::once(0).chain(newlines).collect(),
            findings: RefCell::default(),
            listeners: RefCell::default(),
        }
    }

    /// 1-based line of a byte offset.
    pub fn line_of(&self, offset: usize) -> usize {
        self.line_starts.partition_point(|start| *start <= offset)
    }

    pub fn add(&self, line: usize, field: &str, code: &'static str, text: impl Into<String>) {
        let file = self.file.clone();
        self.push(Finding { file, line, field: field.to_owned(), code, text: text.into() });
    }

    pub fn push(&self, finding: Finding) {
        self.findings.borrow_mut().push(finding);
    }

    /// Notes a listener; gives the field that already has the address. Port 0 means "any" and never clashes.
    pub fn claim(&self, address: SocketAddr, field: &str) -> Option<String> {
        let mut listeners = self.listeners.borrow_mut();
        let taken = listeners.iter().find(|(other, _)| *other == address && address.port() != 0);
        let taken = taken.map(|(_, field)| field.clone());
        listeners.push((address, field.to_owned()));
        taken
    }

    /// In file order, each once.
    pub fn into_findings(self) -> Vec<Finding> {
        let mut findings = self.findings.into_inner();
        findings.sort();
        findings.dedup();
        findings
    }
}
