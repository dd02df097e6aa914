//! From values to attributes, appended to a buffer that the caller keeps and reuses.

use super::name::Name;
use super::nl::{self, align};

/// Appends an attribute whose value has a size known to the compiler.
pub(crate) fn put<const N: usize>(buffer: &mut Vec<u8>, kind: u16, value: [u8; N]) {
    const { assert!(nl::NLA_HDRLEN + N <= u16::MAX as usize) };
    put_header(buffer, kind, (nl::NLA_HDRLEN + N) as u16);
    buffer.extend_from_slice(&value);
    buffer.resize(align(buffer.len()), 0);
}

/// Appends a name, with the NUL that the kernel demands.
pub(crate) fn put_name(buffer: &mut Vec<u8>, kind: u16, name: &Name) {
    put_bytes(buffer, kind, name.as_bytes(), b"\0");
}

/// Appends bytes with their terminator; truncates what doesn't fit in an attribute.
pub(crate) fn put_bytes(buffer: &mut Vec<u8>, kind: u16, value: &[u8], end: &[u8]) {
    let most = usize::from(u16::MAX) - nl::NLA_HDRLEN - end.len();
    let value = &value[..value.len().min(most)];
    put_header(buffer, kind, (nl::NLA_HDRLEN + value.len() + end.len()) as u16);
    buffer.extend_from_slice(value);
    buffer.extend_from_slice(end);
    buffer.resize(align(buffer.len()), 0);
}

/// Appends a nest of attributes of bounded size: every set of this crate stays below 1 KiB.
pub(crate) fn put_nest(buffer: &mut Vec<u8>, kind: u16, attrs: impl FnOnce(&mut Vec<u8>)) {
    let start = buffer.len();
    put_header(buffer, kind, 0);
    attrs(buffer);
    let length = (buffer.len() - start) as u16;
    buffer[start..start + 2].copy_from_slice(&length.to_ne_bytes());
}

/// Appends a 64-bit value, preceded by an empty attribute of type `pad` if it would otherwise not
/// start at a multiple of 8 bytes.
pub(crate) fn put_u64(buffer: &mut Vec<u8>, kind: u16, pad: u16, value: u64) {
    if buffer.len() % 8 == 0 {
        put_header(buffer, pad, nl::NLA_HDRLEN as u16);
    }
    put(buffer, kind, value.to_ne_bytes());
}

fn put_header(buffer: &mut Vec<u8>, kind: u16, length: u16) {
    buffer.extend_from_slice(&length.to_ne_bytes());
    buffer.extend_from_slice(&kind.to_ne_bytes());
}
