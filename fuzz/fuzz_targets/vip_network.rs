#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| ipvs_fuzz_targets::vip_network(input));
