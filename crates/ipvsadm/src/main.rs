//! `ipvsadm`: administers the Linux Virtual Server table (IPVS).

#![forbid(unsafe_code)]
#![no_main]

ipvs_os::entry_point!(ipvsadm::main);
