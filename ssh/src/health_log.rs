//! The words in which the proxy logs how the VM is, and by which the operator knows them again in a pod's log: they stand here
//! alone, so that to reword one cannot part the two.
//!
//! A line that tells of trouble has two members beside its message: `reason`, a name of [`Reason`](crate::Reason) or
//! [`IDEAS_PATH_UNWRITABLE`], and `cause`, a sentence.

/// The message when the VM cannot be used.
pub const VM_UNUSABLE: &str = "the dev-VM cannot be used";
/// The message when it can be used again.
pub const VM_USABLE: &str = "the dev-VM can be reached";
/// The message when the folder of the ideas is not there and cannot be made, or cannot be written.
pub const FOLDER_UNUSABLE: &str = "the ideas folder cannot be used";
/// The message when it can be used again.
pub const FOLDER_USABLE: &str = "the ideas folder can be used";
/// The reason that goes with [`FOLDER_UNUSABLE`].
pub const IDEAS_PATH_UNWRITABLE: &str = "IdeasPathUnwritable";
