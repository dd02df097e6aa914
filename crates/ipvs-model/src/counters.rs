//! Counters of services and destinations.

use ipvs::Stats;
use ipvs_sys as sys;

/// Counts, and the point they are counted from: zeroing keeps the counters and moves that point.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counters {
    counted: sys::Stats64,
    zero: sys::Stats64,
}

impl Counters {
    /// Adds to the counters. If there are rates, they replace the earlier ones.
    pub(crate) fn add(&mut self, more: &Stats) {
        let all = &mut self.counted;
        all.conns = all.conns.wrapping_add(more.connections);
        all.inpkts = all.inpkts.wrapping_add(more.incoming_packets);
        all.outpkts = all.outpkts.wrapping_add(more.outgoing_packets);
        all.inbytes = all.inbytes.wrapping_add(more.incoming_bytes);
        all.outbytes = all.outbytes.wrapping_add(more.outgoing_bytes);
        if let Some(rates) = &more.rates {
            all.cps = rates.connections;
            all.inpps = rates.incoming_packets;
            all.outpps = rates.outgoing_packets;
            all.inbps = rates.incoming_bytes;
            all.outbps = rates.outgoing_bytes;
        }
    }

    /// Makes the current counters count as 0.
    pub(crate) fn reset(&mut self) {
        let all = &mut self.counted;
        (all.cps, all.inpps, all.outpps, all.inbps, all.outbps) = (0, 0, 0, 0, 0);
        self.zero = *all;
    }

    /// The counters in the form of both attributes.
    pub(crate) fn report(&self) -> (sys::Stats, sys::Stats64) {
        let (all, zero) = (&self.counted, &self.zero);
        let wide = sys::Stats64 {
            conns: all.conns.wrapping_sub(zero.conns),
            inpkts: all.inpkts.wrapping_sub(zero.inpkts),
            outpkts: all.outpkts.wrapping_sub(zero.outpkts),
            inbytes: all.inbytes.wrapping_sub(zero.inbytes),
            outbytes: all.outbytes.wrapping_sub(zero.outbytes),
            ..*all
        };
        let narrow = sys::Stats {
            conns: wide.conns as u32,
            inpkts: wide.inpkts as u32,
            outpkts: wide.outpkts as u32,
            inbytes: wide.inbytes,
            outbytes: wide.outbytes,
            cps: wide.cps as u32,
            inpps: wide.inpps as u32,
            outpps: wide.outpps as u32,
            inbps: wide.inbps as u32,
            outbps: wide.outbps as u32,
        };
        (narrow, wide)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn narrow_counters_are_cut_to_32_bits() {
        let mut counters = Counters::default();
        let mut stats = Stats::default();
        (stats.connections, stats.incoming_bytes) = (0x1_0000_0002, 0x1_0000_0003);
        counters.add(&stats);
        let (narrow, wide) = counters.report();
        assert_eq!((narrow.conns, wide.conns), (2, 0x1_0000_0002));
        assert_eq!((narrow.inbytes, wide.inbytes), (0x1_0000_0003, 0x1_0000_0003));
    }

    #[test]
    fn zeroing_moves_the_zero_point() {
        let mut counters = Counters::default();
        let mut stats = Stats::default();
        stats.outgoing_packets = 5;
        counters.add(&stats);
        counters.reset();
        assert_eq!(counters.report().1, sys::Stats64::default());
        counters.add(&stats);
        assert_eq!(counters.report().1.outpkts, 5);
    }
}
