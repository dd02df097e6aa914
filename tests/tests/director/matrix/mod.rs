//! What a server does, and the verdict on it: tables of both, judged with nginx, Apache and dnsmasq.
//!
//! A row of a table is a snippet of the server's configuration, a check of it, the verdict, what
//! curl(1) makes of the same request, and where the expectation comes from. Each row has a port of
//! its own, and all checks of a table run at the same time, so one that hangs delays no other.
//!
//! | a check | is |
//! | --- | --- |
//! | `get PATH`, `head PATH` | a request; the other words are its options; a whole address is for a proxy |
//! | `text=REGEX` | what the page must match |
//! | `host=NAME`, `status=N-N`, `redirects=N`, `limit=N` | as in `probe::Http` |
//! | `tls`, `name=NAME`, `verify=chain`, `verify=name`, `roots=FILE` | as in `probe::Tls` |
//! | `v6` | over IPv6 |
//! | `within=N` | a deadline of N seconds, for what hangs |
//! | `send TEXT`, `text=REGEX` | as in `probe::SimpleTcp`; a plus is a blank |
//! | `connect` | a connection alone |
//!
//! curl's column is the status, or its exit status in parentheses.

mod apache;
mod dns;
mod nginx;
mod proxy;
mod row;
mod states;
mod tls;

use ipvs_testkit::Suite;

pub(crate) fn add_to(suite: &mut Suite) {
    nginx::add_to(suite);
    apache::add_to(suite);
    dns::add_to(suite);
    proxy::add_to(suite);
    tls::add_to(suite);
    states::add_to(suite);
}
