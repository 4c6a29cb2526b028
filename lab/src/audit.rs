//! The API server's audit log, read as what it is kept for: who wrote what, and of some what they read.

use std::path::Path;

use anyhow::Context;
use serde::Deserialize;

/// The group whose reads are in the log too.
pub const AUDITED_GROUP: &str = "catalyst-lab:audited";

/// A request that the API server has answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Who asked, for example `system:serviceaccount:catalyst-system:catalyst-operator`.
    pub user: String,
    /// `create`, `update`, `patch`, `delete` or `deletecollection`; of those in [`AUDITED_GROUP`] also `get`, `list`, `watch`.
    pub verb: String,
    /// The API group; empty for the core's.
    pub group: String,
    /// Plural, with its subresource, for example `deployments` or `catalystinstances/status`.
    pub resource: String,
    /// Empty for what belongs to no namespace.
    pub namespace: String,
    /// Empty where the server makes the name up.
    pub name: String,
    /// The HTTP status that was answered.
    pub code: u16,
    /// When the server received it, RFC 3339 with microseconds.
    pub received: String,
}

/// All writes of the audit log, oldest first. A last line that is still being written is left out.
///
/// # Errors
/// When the log cannot be read, or a whole line of it is not an audit event.
pub fn writes(log: &Path) -> anyhow::Result<Vec<Request>> {
    let mut all = requests(log)?;
    all.retain(|request| !matches!(request.verb.as_str(), "get" | "list" | "watch"));
    Ok(all)
}

/// All requests of the audit log, oldest first. A last line that is still being written is left out.
///
/// # Errors
/// When the log cannot be read, or a whole line of it is not an audit event.
pub fn requests(log: &Path) -> anyhow::Result<Vec<Request>> {
    let text = std::fs::read_to_string(log).with_context(|| format!("read the audit log {}", log.display()))?;
    let whole = text.rfind('\n').map_or("", |end| text.get(..end).unwrap_or_default());
    whole
        .lines()
        .filter_map(|line| parse(line).with_context(|| format!("in the audit log {}", log.display())).transpose())
        .collect()
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    stage: String,
    verb: String,
    user: User,
    object_ref: Option<ObjectRef>,
    response_status: Option<ResponseStatus>,
    request_received_timestamp: String,
}

#[derive(Deserialize)]
struct User {
    username: String,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ObjectRef {
    api_group: String,
    resource: String,
    subresource: String,
    namespace: String,
    name: String,
}

#[derive(Deserialize)]
struct ResponseStatus {
    code: u16,
}

fn parse(line: &str) -> anyhow::Result<Option<Request>> {
    let event: Event = serde_json::from_str(line).context("not an audit event")?;
    let answered = match event.verb.as_str() {
        "create" | "update" | "patch" | "delete" | "deletecollection" | "get" | "list" => "ResponseComplete",
        // That of a watch that goes on comes with its end.
        "watch" => "ResponseStarted",
        _ => return Ok(None),
    };
    let (Some(object), true) = (event.object_ref, answered == event.stage) else { return Ok(None) };
    let resource = match object.subresource.as_str() {
        "" => object.resource,
        subresource => format!("{}/{subresource}", object.resource),
    };
    Ok(Some(Request {
        user: event.user.username,
        verb: event.verb,
        group: object.api_group,
        resource,
        namespace: object.namespace,
        name: object.name,
        code: event.response_status.map_or(0, |status| status.code),
        received: event.request_received_timestamp,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATCH: &str = r#"{"stage":"ResponseComplete","verb":"patch","user":{"username":"u"},"objectRef":{"resource":"catalystinstances","subresource":"status","namespace":"n","name":"c"},"responseStatus":{"code":200},"requestReceivedTimestamp":"2026-01-01T00:00:00.000000Z"}"#;

    #[test]
    fn a_line_that_is_still_being_written_is_left_for_later() {
        let log = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(log.path(), format!("{PATCH}\n{}", &PATCH[..40])).unwrap();
        let writes = writes(log.path()).unwrap();
        assert_eq!(writes.len(), 1);
        assert_eq!(writes[0].resource, "catalystinstances/status");
    }

    #[test]
    fn what_is_not_an_event_is_an_error_that_names_the_log() {
        let log = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(log.path(), "nonsense\n").unwrap();
        assert!(format!("{:#}", writes(log.path()).unwrap_err()).contains("not an audit event"));
    }
}
