//! Host and service names, as the name service switch (`nsswitch.conf`) resolves them.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::mem::MaybeUninit;
use std::net::{IpAddr, Ipv4Addr};
use std::ptr;

/// The C library's answer; its strings are in the buffer passed to the call.
type HostResult = *mut libc::hostent;
type ServiceResult = *mut libc::servent;

// Declared by neither the libc crate nor rustix; the same in glibc and musl.
unsafe extern "C" {
    fn gethostbyname_r(
        name: *const c_char,
        entry: *mut libc::hostent,
        buffer: *mut c_char,
        size: usize,
        result: *mut HostResult,
        h_errno: *mut c_int,
    ) -> c_int;
    fn gethostbyaddr_r(
        addr: *const c_void,
        len: libc::socklen_t,
        family: c_int,
        entry: *mut libc::hostent,
        buffer: *mut c_char,
        size: usize,
        result: *mut HostResult,
        h_errno: *mut c_int,
    ) -> c_int;
    fn getservbyname_r(
        name: *const c_char,
        protocol: *const c_char,
        entry: *mut libc::servent,
        buffer: *mut c_char,
        size: usize,
        result: *mut ServiceResult,
    ) -> c_int;
    fn getservbyport_r(
        port: c_int,
        protocol: *const c_char,
        entry: *mut libc::servent,
        buffer: *mut c_char,
        size: usize,
        result: *mut ServiceResult,
    ) -> c_int;
}

/// The initial size of buffers: enough for nearly every answer.
const FIRST_BUFFER: usize = 1024;
/// The maximum size of buffers: a longer answer counts as none.
const LARGEST_BUFFER: usize = 1 << 20;

/// Calls `lookup` with a buffer that grows until the answer fits: `Err(ERANGE)` asks for a larger
/// one, any other error ends the search.
fn with_buffer<T>(mut lookup: impl FnMut(&mut [u8]) -> Result<Option<T>, c_int>) -> Option<T> {
    let mut size = FIRST_BUFFER;
    while size <= LARGEST_BUFFER {
        match lookup(&mut vec![0; size]) {
            Ok(answer) => return answer,
            Err(libc::ERANGE) => size *= 4,
            Err(_) => return None,
        }
    }
    None
}

/// The first IPv4 address of a host, as found by `gethostbyname(3)`: in `/etc/hosts`, in DNS, or
/// wherever `nsswitch.conf` says. May block on DNS.
///
/// `None` if there is no such host, it has no IPv4 address, or the name contains a NUL byte.
pub fn host_by_name(name: &[u8]) -> Option<Ipv4Addr> {
    let name = CString::new(name).ok()?;
    with_buffer(|buffer| {
        let mut entry = MaybeUninit::uninit();
        let mut result = ptr::null_mut();
        let mut h_errno = 0;
        // SAFETY: `name` is NUL-terminated; `entry`, `result` and `h_errno` are valid places for
        // results; `buffer` is writable over the length given. All outlive the call.
        let error = unsafe {
            gethostbyname_r(
                name.as_ptr(),
                entry.as_mut_ptr(),
                buffer.as_mut_ptr().cast(),
                buffer.len(),
                &raw mut result,
                &raw mut h_errno,
            )
        };
        if error != 0 {
            return Err(error);
        }
        // SAFETY: a non-null result points to `entry`, which the call has then filled in, and whose
        // pointers point into `buffer`: all three are alive.
        Ok(unsafe { result.as_ref() }.and_then(|host| {
            if host.h_addrtype != libc::AF_INET || host.h_addr_list.is_null() {
                return None;
            }
            // SAFETY: `h_addr_list` is an array of pointers that ends with a null pointer, so it
            // has a first element; if that isn't null it points to an address of AF_INET, which
            // is 4 bytes, not necessarily aligned for anything wider.
            unsafe {
                let first = (*host.h_addr_list).cast::<[u8; 4]>();
                (!first.is_null()).then(|| Ipv4Addr::from(first.read_unaligned()))
            }
        }))
    })
}

/// The canonical name of the host with an address, as found by `gethostbyaddr(3)`. May block on
/// DNS.
///
/// `None` if the address has no name.
pub fn host_by_addr(addr: IpAddr) -> Option<Vec<u8>> {
    match addr {
        IpAddr::V4(addr) => host_by_octets(&addr.octets(), libc::AF_INET),
        IpAddr::V6(addr) => host_by_octets(&addr.octets(), libc::AF_INET6),
    }
}

/// `octets` is the address in network order: 4 bytes for `AF_INET`, 16 for `AF_INET6`.
fn host_by_octets(octets: &[u8], family: c_int) -> Option<Vec<u8>> {
    let len = libc::socklen_t::try_from(octets.len()).ok()?;
    with_buffer(|buffer| {
        let mut entry = MaybeUninit::uninit();
        let mut result = ptr::null_mut();
        let mut h_errno = 0;
        // SAFETY: `octets` is readable over `len` bytes; `entry`, `result` and `h_errno` are valid
        // places for results; `buffer` is writable over the length given. All outlive the call.
        let error = unsafe {
            gethostbyaddr_r(
                octets.as_ptr().cast(),
                len,
                family,
                entry.as_mut_ptr(),
                buffer.as_mut_ptr().cast(),
                buffer.len(),
                &raw mut result,
                &raw mut h_errno,
            )
        };
        if error != 0 {
            return Err(error);
        }
        // SAFETY: a non-null result points to `entry`, which the call has then filled in; `entry`,
        // and the `buffer` that holds its strings, are alive.
        Ok(unsafe { result.as_ref() }.and_then(|host| {
            // SAFETY: `h_name` is null or a NUL-terminated string in `buffer`.
            unsafe { copy_of(host.h_name) }
        }))
    })
}

/// The port of a service, as found by `getservbyname(3)` in `/etc/services` or wherever
/// `nsswitch.conf` says. `protocol` is a name such as `tcp`; names are case sensitive.
///
/// `None` if there is no such service for the protocol, or a text contains a NUL byte.
pub fn service_by_name(name: &[u8], protocol: &CStr) -> Option<u16> {
    let name = CString::new(name).ok()?;
    with_buffer(|buffer| {
        let mut entry = MaybeUninit::uninit();
        let mut result = ptr::null_mut();
        // SAFETY: `name` and `protocol` are NUL-terminated; `entry` and `result` are valid places
        // for results; `buffer` is writable over the length given. All outlive the call.
        let error = unsafe {
            getservbyname_r(
                name.as_ptr(),
                protocol.as_ptr(),
                entry.as_mut_ptr(),
                buffer.as_mut_ptr().cast(),
                buffer.len(),
                &raw mut result,
            )
        };
        if error != 0 {
            return Err(error);
        }
        // SAFETY: a non-null result points to `entry`, which the call has then filled in.
        Ok(unsafe { result.as_ref() }.map(|service| port_of(service.s_port)))
    })
}

/// `s_port` is a port in network order in the low half of an int.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the upper half is unused, and cutting it off is what every C program does"
)]
fn port_of(s_port: c_int) -> u16 {
    u16::from_be(s_port as u16)
}

/// The name of the service at a port, as found by `getservbyport(3)`. `protocol` is a name such as
/// `tcp`.
///
/// `None` if the port has no name for the protocol.
pub fn service_by_port(port: u16, protocol: &CStr) -> Option<Vec<u8>> {
    with_buffer(|buffer| {
        let mut entry = MaybeUninit::uninit();
        let mut result = ptr::null_mut();
        // SAFETY: `protocol` is NUL-terminated; `entry` and `result` are valid places for results;
        // `buffer` is writable over the length given. All outlive the call.
        let error = unsafe {
            getservbyport_r(
                c_int::from(port.to_be()),
                protocol.as_ptr(),
                entry.as_mut_ptr(),
                buffer.as_mut_ptr().cast(),
                buffer.len(),
                &raw mut result,
            )
        };
        if error != 0 {
            return Err(error);
        }
        // SAFETY: a non-null result points to `entry`, which the call has then filled in; `entry`,
        // and the `buffer` that holds its strings, are alive.
        Ok(unsafe { result.as_ref() }.and_then(|service| {
            // SAFETY: `s_name` is null or a NUL-terminated string in `buffer`.
            unsafe { copy_of(service.s_name) }
        }))
    })
}

/// A copy of a C string, without its NUL; `None` for a null pointer.
///
/// # Safety
///
/// `text` is null, or points to a NUL-terminated string that nobody changes meanwhile.
unsafe fn copy_of(text: *const c_char) -> Option<Vec<u8>> {
    // SAFETY: not null, so by the caller's promise NUL-terminated and unchanged.
    (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) }.to_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use super::*;

    #[test]
    fn localhost_is_found_both_ways() {
        assert_eq!(host_by_name(b"localhost"), Some(Ipv4Addr::LOCALHOST));
        let name = host_by_addr(IpAddr::V4(Ipv4Addr::LOCALHOST)).unwrap();
        assert_eq!(host_by_name(&name), Some(Ipv4Addr::LOCALHOST));
    }

    #[test]
    fn a_numeric_host_is_itself() {
        assert_eq!(host_by_name(b"192.0.2.7"), Some(Ipv4Addr::new(192, 0, 2, 7)));
    }

    #[test]
    fn hosts_that_are_none() {
        // RFC 6761: `.invalid` names never resolve.
        assert_eq!(host_by_name(b"no-such-host.invalid"), None);
        assert_eq!(host_by_name(b""), None);
        assert_eq!(host_by_name(b"local\0host"), None);
        assert_eq!(host_by_name(&[0xff; 5000]), None);
        // RFC 6666: no host has an address in the discard-only prefix.
        assert_eq!(host_by_addr(IpAddr::V6(Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, 0, 1))), None);
    }

    /// Every entry of `/etc/services` is found in both directions. A machine without the file has
    /// no services.
    #[test]
    fn services_are_those_of_the_file() {
        let file = std::fs::read_to_string("/etc/services").unwrap_or_default();
        let mut entries = Vec::new();
        for line in file.lines() {
            let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
            let (Some(name), Some(port)) = (words.next(), words.next()) else { continue };
            let (port, protocol) = port.split_once('/').unwrap();
            let port: u16 = port.parse().unwrap();
            // Through aliases, one name can have several ports.
            for name in [name].into_iter().chain(words) {
                entries.push((name.as_bytes().to_vec(), port, CString::new(protocol).unwrap()));
            }
        }
        for (name, port, protocol) in &entries {
            let found = service_by_name(name, protocol).unwrap();
            assert!(entries.contains(&(name.clone(), found, protocol.clone())));
            let found = service_by_port(*port, protocol).unwrap();
            assert!(entries.contains(&(found, *port, protocol.clone())));
        }
        let http = entries.contains(&(b"http".to_vec(), 80, c"tcp".to_owned()));
        assert_eq!(service_by_name(b"http", c"tcp"), http.then_some(80));
    }

    #[test]
    fn services_that_are_none() {
        assert_eq!(service_by_name(b"no such service", c"tcp"), None);
        assert_eq!(service_by_name(b"", c"tcp"), None);
        assert_eq!(service_by_name(b"ht\0tp", c"tcp"), None);
        assert_eq!(service_by_name(b"http", c"no such protocol"), None);
        assert_eq!(service_by_port(0, c"tcp"), None);
    }

    #[test]
    fn buffers_grow_to_a_limit() {
        let mut sizes = Vec::new();
        let answer = with_buffer(|buffer| {
            sizes.push(buffer.len());
            if buffer.len() < 5000 { Err(libc::ERANGE) } else { Ok(Some(())) }
        });
        assert_eq!(answer, Some(()));
        assert!(sizes.is_sorted() && sizes.len() > 1);

        assert_eq!(with_buffer::<()>(|_| Err(libc::ERANGE)), None);
        assert_eq!(with_buffer::<()>(|_| Err(libc::EAGAIN)), None);
    }
}
