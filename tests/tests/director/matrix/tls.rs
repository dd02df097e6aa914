//! Certificates and versions of TLS, as nginx has them.

use anyhow::Result;
use ipvs_testkit::{Context, Suite, WebDaemon};

use super::row::{files, judge, rows};
use crate::test;

pub(crate) fn add_to(suite: &mut Suite) {
    suite.add(test!(each_certificate_is_judged_as_asked));
}

/// Row by row: `server | check | verdict | curl | because`. The word before the snippet is the
/// certificate: for `www.example` and 127.0.0.1, `good` by the authority, `expired`, or signed by
/// itself.
const TABLE: &str = r#"
good | get /check.txt tls text=webserverisworking | up | 200 | nothing is verified unless asked for
good | get /check.txt tls text=webserverisdown | mismatch | 200 | it lacks the text
good | get /missing.txt tls | status 404 | 404 | RFC 9110, 15.5.5
good | get /check.txt tls name=www.example verify=name text=webserverisworking | up | 200 | RFC 9525: signed, valid, for this name
good | get /check.txt tls name=other.example verify=name | tls | (60) | RFC 9525, 6: for another name
good | get /check.txt tls verify=name | up | 200 | RFC 9525, 6.5: for this address
good | get /check.txt tls name=other.example verify=chain | up | 200 | the name isn't verified unless asked for
good | get /check.txt tls name=www.example verify=name roots=tls/self.pem | tls | (60) | RFC 5280, 6.1: another authority has signed it
good | get /check.txt tls name=www.example verify=chain roots=tls/self.pem | tls | (60) | RFC 5280, 6.1: another authority has signed it
expired | get /check.txt tls name=www.example text=webserverisworking | up | 200 | nothing is verified unless asked for
expired | get /check.txt tls name=www.example verify=chain | tls | (60) | RFC 5280, 4.1.2.5
expired | get /check.txt tls name=www.example verify=name | tls | (60) | RFC 5280, 4.1.2.5
self | get /check.txt tls name=www.example text=webserverisworking | up | 200 | nothing is verified unless asked for
self | get /check.txt tls name=www.example verify=chain | tls | (60) | RFC 5280, 6.1
self | get /check.txt tls name=www.example verify=name | tls | (60) | RFC 5280, 6.1
good ssl_protocols TLSv1.3; | get /check.txt tls text=webserverisworking | up | 200 | RFC 8446
good ssl_protocols TLSv1.2; | get /check.txt tls text=webserverisworking | up | 200 | RFC 5246
good ssl_protocols TLSv1.2; | get /check.txt tls name=other.example verify=name | tls | (60) | RFC 9525, 6: for another name
good ssl_protocols TLSv1.1; | get /check.txt tls | tls | (35) | RFC 8996: must not be used
good ssl_reject_handshake on; | get /check.txt tls name=www.example | tls | (35) | RFC 6066, 3: the server refuses the name
good if ($ssl_server_name != www.example) { return 421; } | get /check.txt tls name=www.example text=webserverisworking | up | 200 | RFC 6066, 3: the name is sent
good if ($ssl_server_name != www.example) { return 421; } | get /check.txt tls host=www.example | status 421 | 421 | RFC 6066, 3: an address is not
good if ($ssl_server_name != "") { return 421; } | get /check.txt tls verify=name | up | 200 | RFC 6066, 3: an address is not
good ssl_verify_client on; ssl_client_certificate tls/authority.pem; | get /check.txt tls | status 400 | 400 | nginx: a client without a certificate gets 400
good return 503; | get /check.txt tls | status 503 | 503 | RFC 9110, 15.6.4
good return 444; | get /check.txt tls | closed reply | (52) | nginx: 444 closes the connection without a reply
good return 302 http://www.example/; | get / tls redirects=1 | status 302 | 302 | another scheme is another server
good location = / { return 302 /check.txt; } | get / tls redirects=1 text=webserverisworking | up | 302 | RFC 9110, 15.4.3: followed
good ssi on; ssi_types text/plain; | get /check.txt tls text=webserverisworking | up | 200 | RFC 9112, 7.1: chunked
good chunked_transfer_encoding off; ssi on; ssi_types text/plain; | get /check.txt tls text=webserverisworking | up | 200 | RFC 9112, 6.3: the page ends with the connection
good ssl_buffer_size 1k; | get /big.txt tls limit=400000 text=webserverisworking | up | 200 | a page of many records
good limit_rate 1k; | get /big.txt tls within=3 text=^[.] | timeout reply | (28) | the deadline is for the whole page
good | get /check.txt | status 400 | 400 | nginx: HTTP without TLS gets 400
plain | get /check.txt tls | tls | (35) | RFC 8446, 5.1: what is there speaks no TLS
good | connect | up | - | it listens
expired | connect | up | - | a connection says no more than that
"#;

fn each_certificate_is_judged_as_asked(context: &mut Context) -> Result<()> {
    let netns = context.netns("web")?;
    let rows = rows(TABLE)?;
    let mut config = String::new();
    for row in &rows {
        let (certificate, server) = row.server.split_once(' ').unwrap_or((row.server, ""));
        let port = row.port;
        config += &match certificate {
            "plain" => format!("server {{ listen 127.0.0.1:{port}; {server} }}\n"),
            name => format!(
                "server {{ listen 127.0.0.1:{port} ssl; ssl_certificate tls/{name}.pem; \
                 ssl_certificate_key tls/server.key; {server} }}\n"
            ),
        };
    }
    let web = WebDaemon::nginx(&netns, &config, &files())?;
    judge(&netns, &web.path(""), &rows)
}
