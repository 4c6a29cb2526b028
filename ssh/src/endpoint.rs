//! Where the VM is; the one thing that every step towards it names.

use std::fmt;

/// Where the VM's SSH server is and as whom to sign in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Host name or IP literal; an IPv6 literal without brackets.
    pub host: String,
    /// TCP port, usually 22.
    pub port: u16,
    /// The account on the VM.
    pub user: String,
}

/// `host:port`, with brackets around an IPv6 literal; what messages name.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}
