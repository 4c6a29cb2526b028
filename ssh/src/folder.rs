//! What a folder on the VM holds, read in the server's portions.
//!
//! Invariant: however many entries there are, no more portions are asked for than it takes to know that there are too many.

use russh_sftp::client::RawSftpSession;
use russh_sftp::client::error::Error;
use russh_sftp::protocol::{File, StatusCode};

/// The entries of a folder, `.` and `..` aside, in the order in which the server names them. If there are more than `most`, so
/// are these: by less than one of the server's portions (OpenSSH: 100).
pub(crate) async fn entries(session: &RawSftpSession, path: String, most: usize) -> Result<Vec<File>, Error> {
    let handle = session.opendir(path).await?.handle;
    let mut entries = Vec::new();
    let read = loop {
        match session.readdir(handle.as_str()).await {
            Ok(portion) if portion.files.is_empty() => break Ok(()),
            Ok(portion) => {
                entries.extend(portion.files.into_iter().filter(|file| !matches!(file.filename.as_str(), "." | "..")));
                if entries.len() > most {
                    break Ok(());
                }
            }
            Err(Error::Status(status)) if status.status_code == StatusCode::Eof => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    session.close(handle).await?;
    read.map(|()| entries)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use russh_sftp::protocol::{Handle, Name, Status};
    use russh_sftp::server::Handler;

    use super::*;

    /// A server whose folder has so many entries, in portions of 100 as those of OpenSSH; it notes what it is asked.
    struct Server {
        left: usize,
        asked: Arc<Mutex<Vec<&'static str>>>,
    }

    impl Handler for Server {
        type Error = StatusCode;

        fn unimplemented(&self) -> StatusCode {
            StatusCode::OpUnsupported
        }

        async fn opendir(&mut self, id: u32, path: String) -> Result<Handle, StatusCode> {
            self.asked.lock().unwrap().push("open");
            if path == "/folder" { Ok(Handle { id, handle: "0".to_owned() }) } else { Err(StatusCode::NoSuchFile) }
        }

        async fn readdir(&mut self, id: u32, _handle: String) -> Result<Name, StatusCode> {
            self.asked.lock().unwrap().push("read");
            let names = (0..100.min(self.left)).map(|n| format!("file-{}", self.left - n));
            let first = [".", ".."].map(File::dummy);
            let files: Vec<File> = first.into_iter().chain(names.map(File::dummy)).collect();
            if self.left == 0 {
                return Err(StatusCode::Eof);
            }
            self.left -= 100.min(self.left);
            Ok(Name { id, files })
        }

        async fn close(&mut self, id: u32, _handle: String) -> Result<Status, StatusCode> {
            self.asked.lock().unwrap().push("close");
            let ok = StatusCode::Ok;
            Ok(Status { id, status_code: ok, error_message: ok.to_string(), language_tag: "en-US".to_owned() })
        }
    }

    async fn listed(path: &str, left: usize, most: usize) -> (Result<usize, Error>, Vec<&'static str>) {
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let asked = Arc::<Mutex<Vec<_>>>::default();
        russh_sftp::server::run(theirs, Server { left, asked: Arc::clone(&asked) }).await;
        let session = RawSftpSession::new(ours);
        session.init().await.unwrap();
        let entries = entries(&session, path.to_owned(), most).await;
        let asked = asked.lock().unwrap().clone();
        (entries.map(|entries| entries.len()), asked)
    }

    #[tokio::test]
    async fn a_folder_without_end_is_read_as_far_as_is_asked_and_closed() {
        let (entries, asked) = listed("/folder", usize::MAX, 250).await;
        assert_eq!(entries.unwrap(), 300);
        assert_eq!(asked, ["open", "read", "read", "read", "close"]);
    }

    #[tokio::test]
    async fn a_folder_that_fits_is_read_to_its_end() {
        let (entries, asked) = listed("/folder", 200, 200).await;
        assert_eq!(entries.unwrap(), 200);
        assert_eq!(asked, ["open", "read", "read", "read", "close"]);
        assert_eq!(
            listed("/folder", 201, 200).await.0.unwrap(),
            201,
            "one more than asked for tells that there are more"
        );
        assert_eq!(listed("/folder", 0, 200).await.0.unwrap(), 0);
    }

    #[tokio::test]
    async fn a_folder_that_is_not_there_is_told_as_the_server_does() {
        let (entries, asked) = listed("/other", 1, 1).await;
        assert!(matches!(entries, Err(Error::Status(status)) if status.status_code == StatusCode::NoSuchFile));
        assert_eq!(asked, ["open"]);
    }
}
