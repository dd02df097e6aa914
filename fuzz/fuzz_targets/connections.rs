//! Any bytes as `/proc/net/ip_vs_conn`: reading never panics, and ends.
#![no_main]

use ipvs::Connections;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    let lines = text.split(|&byte| byte == b'\n').count();
    assert!(Connections::new(text).count() <= lines);
});
