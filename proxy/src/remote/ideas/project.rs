//! Looking into `<base>/<slug>/project/`: folders, files piece by piece, and what differs from the last commit.
//!
//! A path comes in as a [`ProjectPath`] only, whose parts cannot leave the folder; links are shown and never followed.

use catalyst_ssh::Lane;
use catalyst_ssh::russh_sftp::protocol::{File, FileType};
use futures::future::try_join_all;
use jiff::Timestamp;
use serde::Serialize;

use super::files::{self, Attempt};
use super::{Idea, Ideas, IdeasError, folder, last_line};

const READ: &str = include_str!("../vm/read.sh");
const CHANGES: &str = include_str!("../vm/changes.sh");
/// Entries of a folder that are shown.
pub(super) const ENTRIES: usize = 2000;
/// Bytes of a file that are fetched at once: no reader, however slow, holds up the connection that others share.
pub const PIECE: u64 = 2 * 1024 * 1024;
const LIST_LIMIT: usize = 256 * 1024;
const DIFF_LIMIT: usize = 1024 * 1024;
const LONGEST_PATH: usize = 4096;
const LONGEST_PART: usize = 255;

/// A path below `project/`; the empty one is `project/` itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProjectPath(String);

impl ProjectPath {
    /// Accepts parts that are names, separated by `/`.
    ///
    /// # Errors
    /// A sentence that says what the path must be.
    pub fn accept(path: &str) -> Result<ProjectPath, String> {
        if path.len() > LONGEST_PATH {
            return Err(format!("path is longer than {LONGEST_PATH} bytes"));
        }
        if path.chars().any(char::is_control) {
            return Err("path has control characters; such files cannot be opened here".to_owned());
        }
        let wrong = |part: &str| matches!(part, "" | "." | "..") || part.len() > LONGEST_PART;
        if !path.is_empty() && path.split('/').any(wrong) {
            return Err(
                "path must be names below project/, separated by /, without .. and without / in front".to_owned()
            );
        }
        Ok(ProjectPath(path.to_owned()))
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The last part.
    pub fn name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }

    /// `project`, `project/a`, `project/a/b`: each on the way to the path.
    fn steps(&self, project: &str) -> Vec<String> {
        let mut steps = vec![project.to_owned()];
        let mut at = project.to_owned();
        for part in self.0.split('/').filter(|part| !part.is_empty()) {
            at.push('/');
            at.push_str(part);
            steps.push(at.clone());
        }
        steps
    }
}

/// What a name in a folder is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Can be listed.
    Folder,
    /// Can be read.
    File,
    /// Is not followed.
    Link,
    /// A socket, a device, a pipe.
    Other,
}

impl From<FileType> for Kind {
    fn from(kind: FileType) -> Kind {
        match kind {
            FileType::Dir => Kind::Folder,
            FileType::File => Kind::File,
            FileType::Symlink => Kind::Link,
            FileType::Other => Kind::Other,
        }
    }
}

/// One name in a folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// Its name; bytes that are no UTF-8 are shown as �.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// Bytes of a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// ISO 8601, UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub modified_at: Option<String>,
}

impl From<File> for Entry {
    fn from(file: File) -> Entry {
        let (kind, about) = (Kind::from(file.attrs.file_type()), file.attrs);
        let modified = about.mtime.and_then(|seconds| Timestamp::from_second(i64::from(seconds)).ok());
        Entry {
            name: file.filename,
            kind,
            size: about.size.filter(|_| kind == Kind::File),
            modified_at: modified.map(|at| at.to_string()),
        }
    }
}

/// What a folder holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Folder {
    /// Where it is, below `project/`.
    pub path: String,
    /// Folders first, then by name.
    pub entries: Vec<Entry>,
    /// There are more than [`ENTRIES`]: these are among those that the VM named first, which is in no order.
    pub truncated: bool,
}

/// A file that can be read piece by piece.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileHead {
    /// Its length in bytes.
    pub size: u64,
    project: String,
    path: ProjectPath,
}

/// What differs from the last commit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Changes {
    /// Whether `project/` is a git work tree; if not, nothing else is known.
    pub git: bool,
    /// The branch, or the commit when none is checked out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// What changed.
    pub files: Vec<Changed>,
    /// As `git diff` prints it; files that git does not know are not in it.
    pub diff: String,
    /// Something was left out.
    pub truncated: bool,
}

/// A file that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Changed {
    /// Its path.
    pub path: String,
    /// `added`, `modified`, `deleted` or `untracked`.
    pub change: &'static str,
}

impl Ideas {
    /// What a folder of the project holds; `project/` itself is empty while it is not there.
    ///
    /// # Errors
    /// [`IdeasError::NotFound`] also where a link is on the way.
    pub async fn project_folder(&self, idea: &Idea, path: &ProjectPath) -> Result<Folder, IdeasError> {
        let steps = path.steps(&self.project(idea).await?);
        let looked = self.files.with("list the folder", async |sftp| {
            for kind in try_join_all(steps.iter().map(|step| sftp.symlink_metadata(step))).await? {
                if !kind.is_dir() {
                    return Err(Attempt::Missing);
                }
            }
            Ok(())
        });
        let last = steps.last().map(String::as_str).unwrap_or_default();
        let found = match looked.await? {
            Some(()) => files::list(&self.remote, last, ENTRIES).await?,
            None => None,
        };
        let mut entries: Vec<Entry> = match found {
            Some(entries) => entries.into_iter().map(Entry::from).collect(),
            None if path.as_str().is_empty() => Vec::new(),
            None => return Err(IdeasError::NotFound),
        };
        entries.sort_by(|a, b| (a.kind != Kind::Folder, &a.name).cmp(&(b.kind != Kind::Folder, &b.name)));
        let truncated = entries.len() > ENTRIES;
        entries.truncate(ENTRIES);
        Ok(Folder { path: path.as_str().to_owned(), entries, truncated })
    }

    /// Finds a file of the project.
    ///
    /// # Errors
    /// [`IdeasError::NotFound`] also where a link is on the way, and for what is no file.
    pub async fn project_file(&self, idea: &Idea, path: &ProjectPath) -> Result<FileHead, IdeasError> {
        let project = self.project(idea).await?;
        let steps = path.steps(&project);
        let found = self.files.with("look for the file", async |sftp| {
            let kinds = try_join_all(steps.iter().map(|step| sftp.symlink_metadata(step))).await?;
            match kinds.split_last() {
                Some((file, way)) if file.file_type() == FileType::File && way.iter().all(|step| step.is_dir()) => {
                    Ok(file.size.unwrap_or_default())
                }
                _ => Err(Attempt::Missing),
            }
        });
        let size = found.await?.ok_or(IdeasError::NotFound)?;
        Ok(FileHead { size, project, path: path.clone() })
    }

    /// A piece of a file, shorter only where the file has become so.
    ///
    /// # Errors
    /// When the VM cannot be asked or refuses.
    pub async fn project_piece(&self, file: &FileHead, offset: u64, length: u64) -> Result<Vec<u8>, IdeasError> {
        let (offset, length) = (offset.to_string(), length.min(PIECE).to_string());
        let path = format!("{}\n", file.path.as_str());
        let read = self.remote.sh(Lane::Bulk, READ, &[&file.project, &offset, &length], path.as_bytes()).await?;
        match read.status {
            Some(0) => Ok(read.stdout),
            Some(3) => Err(IdeasError::NotFound),
            Some(4) => Err(IdeasError::refused("read the file", "permission denied")),
            _ => Err(IdeasError::refused("read the file", &last_line(&read.stderr))),
        }
    }

    /// What differs from the last commit of the project's own repository, or from the one that was checked out at a time: now, or
    /// of what was committed until another.
    ///
    /// # Errors
    /// When the VM cannot be asked.
    pub async fn project_changes(
        &self,
        idea: &Idea,
        since: Option<Timestamp>,
        until: Option<Timestamp>,
    ) -> Result<Changes, IdeasError> {
        let project = self.project(idea).await?;
        let between = format!("--{:032x}--", rand::random::<u128>());
        let (list, diff) = ((LIST_LIMIT + 1).to_string(), (DIFF_LIMIT + 1).to_string());
        let second = |time: Timestamp| time.as_second().max(0).to_string();
        let (since, until) = (since.map_or("head".to_owned(), second), until.map_or("now".to_owned(), second));
        let asked = [&*project, &between, &list, &diff, &since, &until];
        let done = self.remote.sh(Lane::Bulk, CHANGES, &asked, b"").await?;
        match done.status {
            Some(0) => read_changes(&done.stdout, &between)
                .ok_or_else(|| IdeasError::refused("tell what changed", "git ended early")),
            Some(3 | 6) => Ok(Changes::default()),
            _ => Err(IdeasError::refused("tell what changed", &last_line(&done.stderr))),
        }
    }

    async fn project(&self, idea: &Idea) -> Result<String, IdeasError> {
        Ok(format!("{}/{}/project", self.remote.base().await?, folder(idea)?))
    }
}

fn read_changes(output: &[u8], between: &str) -> Option<Changes> {
    let line = format!("{between}\n");
    let (branch, rest) = split(output, line.as_bytes())?;
    let line = format!("\n{line}");
    let (tracked, rest) = split(rest, line.as_bytes())?;
    let (untracked, diff) = split(rest, line.as_bytes())?;
    let (tracked, more_tracked) = names(tracked);
    let (untracked, more_untracked) = names(untracked);
    let mut files = Vec::new();
    let mut tracked = tracked.into_iter();
    while let (Some(code), Some(path)) = (tracked.next(), tracked.next()) {
        let change = match code.as_str() {
            "A" => "added",
            "D" => "deleted",
            _ => "modified",
        };
        files.push(Changed { path, change });
    }
    files.extend(untracked.into_iter().map(|path| Changed { path, change: "untracked" }));
    let branch = String::from_utf8_lossy(branch).trim().to_owned();
    Some(Changes {
        git: true,
        branch: Some(branch).filter(|branch| !branch.is_empty()),
        files,
        truncated: more_tracked || more_untracked || diff.len() > DIFF_LIMIT,
        diff: String::from_utf8_lossy(diff.get(..diff.len().min(DIFF_LIMIT)).unwrap_or_default()).into_owned(),
    })
}

fn split<'a>(text: &'a [u8], between: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = memchr::memmem::find(text, between)?;
    Some((text.get(..at)?, text.get(at + between.len()..)?))
}

/// What git ends with a zero each, and whether there was more: then the last is cut off in the midst.
fn names(list: &[u8]) -> (Vec<String>, bool) {
    let whole = list.iter().rposition(|byte| *byte == 0).and_then(|end| list.get(..end)).unwrap_or_default();
    let names = whole.split(|byte| *byte == 0).filter(|name| !name.is_empty());
    (names.map(|name| String::from_utf8_lossy(name).into_owned()).collect(), list.len() > LIST_LIMIT)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn no_path_leaves_the_project() {
        for bad in ["..", "a/../b", "/etc/passwd", "a//b", "a/", ".", "a/./b", "a\0b", "a\nb", &"x".repeat(256)] {
            assert!(ProjectPath::accept(bad).is_err(), "{bad:?}");
        }
        for good in ["", "a", "a/b.txt", ".git/config", "ü/ø", "a b/'c'", "...", "-rf"] {
            assert!(ProjectPath::accept(good).is_ok(), "{good:?}");
        }
    }

    proptest! {
        #[test]
        fn every_step_stays_below_the_project(path in any::<String>()) {
            if let Ok(path) = ProjectPath::accept(&path) {
                for step in path.steps("/p") {
                    prop_assert!(step == "/p" || step.starts_with("/p/"));
                    prop_assert!(!step.split('/').any(|part| part == ".."));
                }
            }
        }
    }

    #[test]
    fn the_parts_of_what_git_says_are_told_apart() {
        let output = b"main\n--x--\nM\0a.txt\0D\0gone\0\n--x--\nnew file\0\n--x--\ndiff --git\n";
        let changes = read_changes(output, "--x--").unwrap();
        assert_eq!(changes.branch.as_deref(), Some("main"));
        let told: Vec<_> = changes.files.iter().map(|file| (file.path.as_str(), file.change)).collect();
        assert_eq!(told, [("a.txt", "modified"), ("gone", "deleted"), ("new file", "untracked")]);
        assert_eq!(changes.diff, "diff --git\n");
    }
}
