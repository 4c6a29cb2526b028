//! The reference of the resource, generated from the schema that the API server checks.

/// `docs/reference.md`.
pub fn reference_markdown() -> String {
    String::new()
}
