//! The structs of `linux/ip_vs.h` for socket options, and their bytes.

use std::mem::{offset_of, size_of};

/// A value with a fixed place in the bytes of a struct.
pub(super) trait Bytes: Sized {
    /// How many bytes it takes.
    const SIZE: usize;

    /// Reads it from the start of `bytes`; `None` if there are too few.
    fn read(bytes: &[u8]) -> Option<Self>;

    /// Writes it to the start of `bytes`; writes nothing if there are too few.
    fn write(&self, bytes: &mut [u8]);
}

macro_rules! numbers {
    ($($type:ty)*) => {$(
        impl Bytes for $type {
            const SIZE: usize = size_of::<Self>();

            fn read(bytes: &[u8]) -> Option<Self> {
                bytes.first_chunk().map(|bytes| Self::from_ne_bytes(*bytes))
            }

            fn write(&self, bytes: &mut [u8]) {
                if let Some(place) = bytes.first_chunk_mut() {
                    *place = self.to_ne_bytes();
                }
            }
        }
    )*};
}

numbers! { u16 i32 u32 u64 }

impl<const N: usize> Bytes for [u8; N] {
    const SIZE: usize = N;

    fn read(bytes: &[u8]) -> Option<Self> {
        bytes.first_chunk().copied()
    }

    fn write(&self, bytes: &mut [u8]) {
        if let Some(place) = bytes.first_chunk_mut() {
            *place = *self;
        }
    }
}

/// Structs laid out as the C compiler does, each with its bytes: padding is 0. Addresses, ports and
/// masks are in network byte order.
macro_rules! structs {
    ($(
        $(#[$meta:meta])*
        $name:ident { $($field:ident: $type:ty,)* }
    )*) => {$(
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[repr(C)]
        pub(super) struct $name {
            $(pub(super) $field: $type,)*
        }

        impl Bytes for $name {
            const SIZE: usize = size_of::<Self>();

            fn read(bytes: &[u8]) -> Option<Self> {
                let bytes = bytes.get(..Self::SIZE)?;
                Some(Self { $($field: Bytes::read(bytes.get(offset_of!(Self, $field)..)?)?,)* })
            }

            fn write(&self, bytes: &mut [u8]) {
                if let Some(bytes) = bytes.get_mut(..Self::SIZE) {
                    bytes.fill(0);
                    $(self.$field.write(&mut bytes[offset_of!(Self, $field)..]);)*
                }
            }
        }
    )*};
}

structs! {
    /// `struct ip_vs_service_user`.
    ServiceUser {
        protocol: u16,
        addr: u32,
        port: u16,
        fwmark: u32,
        sched_name: [u8; 16],
        flags: u32,
        timeout: u32,
        netmask: u32,
    }

    /// `struct ip_vs_dest_user`.
    DestUser {
        addr: u32,
        port: u16,
        conn_flags: u32,
        weight: u32,
        u_threshold: u32,
        l_threshold: u32,
    }

    /// The commands for a destination take its service and itself, one after the other.
    ServiceAndDestUser {
        service: ServiceUser,
        dest: DestUser,
    }

    /// `struct ip_vs_stats_user`.
    StatsUser {
        conns: u32,
        inpkts: u32,
        outpkts: u32,
        inbytes: u64,
        outbytes: u64,
        cps: u32,
        inpps: u32,
        outpps: u32,
        inbps: u32,
        outbps: u32,
    }

    /// `struct ip_vs_service_entry`.
    ServiceEntry {
        protocol: u16,
        addr: u32,
        port: u16,
        fwmark: u32,
        sched_name: [u8; 16],
        flags: u32,
        timeout: u32,
        netmask: u32,
        num_dests: u32,
        stats: StatsUser,
    }

    /// `struct ip_vs_dest_entry`.
    DestEntry {
        addr: u32,
        port: u16,
        conn_flags: u32,
        weight: u32,
        u_threshold: u32,
        l_threshold: u32,
        activeconns: u32,
        inactconns: u32,
        persistconns: u32,
        stats: StatsUser,
    }

    /// The fixed part of `struct ip_vs_get_services`; entries follow, aligned.
    GetServices {
        num_services: u32,
        entries: [ServiceEntry; 0],
    }

    /// The fixed part of `struct ip_vs_get_dests`; entries follow, aligned.
    GetDests {
        protocol: u16,
        addr: u32,
        port: u16,
        fwmark: u32,
        num_dests: u32,
        entries: [DestEntry; 0],
    }

    /// `struct ip_vs_timeout_user`.
    TimeoutUser {
        tcp_timeout: u32,
        tcp_fin_timeout: u32,
        udp_timeout: u32,
    }

    /// `struct ip_vs_daemon_user`.
    DaemonUser {
        state: u32,
        mcast_ifn: [u8; 16],
        syncid: i32,
    }

    /// What reading the sync daemons returns.
    Daemons {
        master: DaemonUser,
        backup: DaemonUser,
    }

    /// `struct ip_vs_getinfo`.
    GetInfo {
        version: u32,
        size: u32,
        num_services: u32,
    }
}

/// The entries of an empty list: gives the fixed part its alignment.
macro_rules! no_entries {
    ($($type:ty)*) => {$(
        impl Bytes for [$type; 0] {
            const SIZE: usize = 0;

            fn read(_bytes: &[u8]) -> Option<Self> {
                Some([])
            }

            fn write(&self, _bytes: &mut [u8]) {}
        }
    )*};
}

no_entries! { ServiceEntry DestEntry }

/// The bytes of a struct.
pub(super) fn bytes_of<T: Bytes>(value: &T) -> Vec<u8> {
    let mut bytes = vec![0; T::SIZE];
    value.write(&mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sizes on machines that align 64-bit numbers to 8 bytes, as the kernel there demands them;
    /// 32-bit x86 aligns them to 4.
    #[test]
    fn structs_have_the_sizes_of_the_c_compiler() {
        let wide = align_of::<u64>() == 8;
        assert_eq!(ServiceUser::SIZE, 44);
        assert_eq!(DestUser::SIZE, 24);
        assert_eq!(ServiceAndDestUser::SIZE, 68);
        assert_eq!(StatsUser::SIZE, if wide { 56 } else { 48 });
        assert_eq!(ServiceEntry::SIZE, if wide { 104 } else { 96 });
        assert_eq!(DestEntry::SIZE, if wide { 96 } else { 84 });
        assert_eq!(GetServices::SIZE, if wide { 8 } else { 4 });
        assert_eq!(GetDests::SIZE, if wide { 24 } else { 20 });
        assert_eq!(TimeoutUser::SIZE, 12);
        assert_eq!(DaemonUser::SIZE, 24);
        assert_eq!(Daemons::SIZE, 48);
        assert_eq!(GetInfo::SIZE, 12);
    }

    #[test]
    fn bytes_go_both_ways() {
        let stats = StatsUser { conns: 1, inbytes: u64::MAX, outbps: 2, ..StatsUser::default() };
        let entry = ServiceEntry {
            protocol: 6,
            sched_name: *b"wlc\0\0\0\0\0\0\0\0\0\0\0\0\0",
            num_dests: 3,
            stats,
            ..ServiceEntry::default()
        };
        let bytes = bytes_of(&entry);
        assert_eq!(ServiceEntry::read(&bytes), Some(entry));
        assert_eq!(ServiceEntry::read(&bytes[1..]), None);
        assert_eq!(bytes[44..48], 3_u32.to_ne_bytes());
        assert_eq!(bytes[48..52], 1_u32.to_ne_bytes());
    }
}
