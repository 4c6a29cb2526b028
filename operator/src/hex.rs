//! How bytes are written as text: lower-case hexadecimal, for checksums and generated secrets.

/// Two digits a byte.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
