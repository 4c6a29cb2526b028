//! Collects what is wrong, so that a person sees all of it at once.

use crate::reason::Reason;
use crate::validated::Finding;

/// The findings of one validation: those that stop it, and advice.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) stopping: Vec<Finding>,
    pub(super) advice: Vec<Finding>,
}

impl Findings {
    /// A field that cannot be used. Returns `None`, for the value that there is not.
    pub(super) fn invalid<T>(&mut self, field: &str, problem: impl std::fmt::Display) -> Option<T> {
        self.stop(Reason::InvalidSpec, Some(field), format!("{field} {problem}"))
    }

    /// Whether something that stops is found about this field, or about the list that it is in.
    pub(super) fn are_about(&self, field: &str) -> bool {
        let fields = self.stopping.iter().filter_map(|finding| finding.field.as_deref());
        fields.filter_map(|told| field.strip_prefix(told)).any(|rest| rest.is_empty() || rest.starts_with('['))
    }

    /// Anything else that stops the pass. Returns `None`, for the value that there is not.
    pub(super) fn stop<T>(&mut self, reason: Reason, field: Option<&str>, message: impl Into<String>) -> Option<T> {
        self.stopping.push(Finding { reason, field: field.map(str::to_owned), message: message.into() });
        None
    }

    /// An object that goes with the instance of this name that was before. Returns `None`, for the value that there is not.
    pub(super) fn predecessors<T>(&mut self, kind: &str, name: &str) -> Option<T> {
        let message = format!(
            "{kind} {name} of the instance's predecessor is still being removed; it is made anew as soon as it is gone."
        );
        self.stop(Reason::Progressing, None, message)
    }

    /// Something to tell that keeps nothing from being built.
    pub(super) fn advise(&mut self, reason: Reason, field: Option<&str>, message: impl Into<String>) {
        self.advice.push(Finding { reason, field: field.map(str::to_owned), message: message.into() });
    }
}
