//! Counters and rates of services and destinations.

use crate::attr::stats;
use crate::framing::{AttrSet, Attrs, DecodeError, put, put_nest, put_u64};

/// The fields of both structs, each with its attribute, reader and writer.
macro_rules! stats {
    ($(
        $(#[$type_meta:meta])*
        $type:ident {
            $($(#[$meta:meta])* $field:ident: $ty:ident = $name:ident, $c_name:literal;)*
        }
    )*) => {$(
        $(#[$type_meta])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
        pub struct $type {
            $($(#[$meta])* #[doc(alias = $c_name)] pub $field: $ty,)*
        }

        impl $type {
            /// Reads the attributes of a statistics nest; missing ones are 0.
            ///
            /// # Errors
            ///
            /// The attributes are malformed; unknown ones are skipped.
            pub fn decode(attrs: &[u8]) -> Result<Self, DecodeError> {
                Self::from_attrs(Attrs::new(AttrSet::STATS, attrs))
            }

            pub(crate) fn from_attrs(attrs: Attrs<'_>) -> Result<Self, DecodeError> {
                let mut values = Self::default();
                for attr in attrs {
                    let attr = attr?;
                    match attr.kind {
                        $(stats::$name => values.$field = attr.$ty()?,)*
                        _ => {}
                    }
                }
                Ok(values)
            }

            /// Appends the nest, every attribute in the kernel's order.
            pub(crate) fn write(&self, buffer: &mut Vec<u8>, kind: u16) {
                put_nest(buffer, kind, |buffer| {
                    $(stats!(@put $ty, buffer, stats::$name, self.$field);)*
                });
            }
        }
    )*};
    (@put u32, $buffer:expr, $kind:expr, $value:expr) => {
        put($buffer, $kind, $value.to_ne_bytes())
    };
    (@put u64, $buffer:expr, $kind:expr, $value:expr) => {
        put_u64($buffer, $kind, stats::PAD, $value)
    };
}

stats! {
    /// Counters and rates in the format of Linux before 4.1: all except the bytes wrap at 32 bits.
    ///
    /// Rates are averages that the kernel updates every 2 seconds, or 0 if
    /// `net.ipv4.vs.run_estimation` is 0.
    #[doc(alias = "ip_vs_stats_user")]
    Stats {
        /// Connections scheduled.
        conns: u32 = CONNS, "IPVS_STATS_ATTR_CONNS";
        /// Packets received from clients.
        inpkts: u32 = INPKTS, "IPVS_STATS_ATTR_INPKTS";
        /// Packets sent back to clients through the director.
        outpkts: u32 = OUTPKTS, "IPVS_STATS_ATTR_OUTPKTS";
        /// Bytes received from clients.
        inbytes: u64 = INBYTES, "IPVS_STATS_ATTR_INBYTES";
        /// Bytes sent back to clients through the director.
        outbytes: u64 = OUTBYTES, "IPVS_STATS_ATTR_OUTBYTES";
        /// Connections per second.
        cps: u32 = CPS, "IPVS_STATS_ATTR_CPS";
        /// Incoming packets per second.
        inpps: u32 = INPPS, "IPVS_STATS_ATTR_INPPS";
        /// Outgoing packets per second.
        outpps: u32 = OUTPPS, "IPVS_STATS_ATTR_OUTPPS";
        /// Incoming bytes per second.
        inbps: u32 = INBPS, "IPVS_STATS_ATTR_INBPS";
        /// Outgoing bytes per second.
        outbps: u32 = OUTBPS, "IPVS_STATS_ATTR_OUTBPS";
    }

    /// Counters and rates of 64 bits, since Linux 4.1.
    ///
    /// Rates are averages that the kernel updates every 2 seconds, or 0 if
    /// `net.ipv4.vs.run_estimation` is 0.
    Stats64 {
        /// Connections scheduled.
        conns: u64 = CONNS, "IPVS_STATS_ATTR_CONNS";
        /// Packets received from clients.
        inpkts: u64 = INPKTS, "IPVS_STATS_ATTR_INPKTS";
        /// Packets sent back to clients through the director.
        outpkts: u64 = OUTPKTS, "IPVS_STATS_ATTR_OUTPKTS";
        /// Bytes received from clients.
        inbytes: u64 = INBYTES, "IPVS_STATS_ATTR_INBYTES";
        /// Bytes sent back to clients through the director.
        outbytes: u64 = OUTBYTES, "IPVS_STATS_ATTR_OUTBYTES";
        /// Connections per second.
        cps: u64 = CPS, "IPVS_STATS_ATTR_CPS";
        /// Incoming packets per second.
        inpps: u64 = INPPS, "IPVS_STATS_ATTR_INPPS";
        /// Outgoing packets per second.
        outpps: u64 = OUTPPS, "IPVS_STATS_ATTR_OUTPPS";
        /// Incoming bytes per second.
        inbps: u64 = INBPS, "IPVS_STATS_ATTR_INBPS";
        /// Outgoing bytes per second.
        outbps: u64 = OUTBPS, "IPVS_STATS_ATTR_OUTBPS";
    }
}
