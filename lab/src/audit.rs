//! The API server's audit log, read as what it is kept for: who wrote what, and of some what they read.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

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

impl Request {
    /// Whether it is none that only reads.
    fn is_write(&self) -> bool {
        !matches!(self.verb.as_str(), "get" | "list" | "watch")
    }
}

/// An audit log that is asked again and again: each line is read once.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    read: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// How much of the file was read, up to the end of a line.
    bytes: u64,
    requests: Vec<Arc<Request>>,
}

impl Log {
    /// The log in this file, which need not be there yet.
    #[must_use]
    pub fn at(path: PathBuf) -> Log {
        Log { path, read: Mutex::default() }
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All requests so far, oldest first. A last line that is still being written is left for the next time.
    ///
    /// # Errors
    /// When the log cannot be read, or a whole line of it is not an audit event.
    pub fn requests(&self) -> anyhow::Result<Vec<Arc<Request>>> {
        let about = || format!("in the audit log {}", self.path.display());
        // Whoever panicked with it has added whole lines, or none.
        let mut known = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = String::new();
        let mut read = || -> std::io::Result<usize> {
            let mut file = File::open(&self.path)?;
            file.seek(SeekFrom::Start(known.bytes))?;
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
            bytes.truncate(whole);
            text = String::from_utf8(bytes).map_err(std::io::Error::other)?;
            Ok(whole)
        };
        let whole = read().with_context(about)?;
        let fresh: Vec<Arc<Request>> = text
            .lines()
            .filter_map(|line| parse(line).with_context(about).transpose())
            .map(|request| request.map(Arc::new))
            .collect::<anyhow::Result<_>>()?;
        known.bytes += whole as u64;
        known.requests.extend(fresh);
        Ok(known.requests.clone())
    }

    /// Those of them that are writes.
    ///
    /// # Errors
    /// As [`Log::requests`].
    pub fn writes(&self) -> anyhow::Result<Vec<Arc<Request>>> {
        let mut all = self.requests()?;
        all.retain(|request| request.is_write());
        Ok(all)
    }
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
        let (begun, rest) = PATCH.split_at(40);
        std::fs::write(log.path(), format!("{PATCH}\n{begun}")).unwrap();
        let known = Log::at(log.path().to_owned());
        let requests = known.requests().unwrap();
        assert_eq!(requests.len(), 1);
        assert_eq!(requests[0].resource, "catalystinstances/status");
        std::fs::write(log.path(), format!("{PATCH}\n{begun}{rest}\n")).unwrap();
        assert_eq!((known.requests().unwrap().len(), known.requests().unwrap().len()), (2, 2));
    }

    #[test]
    fn what_is_not_an_event_is_an_error_that_names_the_log() {
        let log = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(log.path(), "nonsense\n").unwrap();
        assert!(format!("{:#}", Log::at(log.path().to_owned()).requests().unwrap_err()).contains("not an audit event"));
    }
}
