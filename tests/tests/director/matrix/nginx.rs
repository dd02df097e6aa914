//! Pages of nginx, in all the ways in which it serves them.

use std::net::{Ipv4Addr, TcpListener};

use anyhow::Result;
use ipvs_testkit::{Context, Suite, WebDaemon};

use super::row::{files, judge, long, rows};
use crate::test;

pub(crate) fn add_to(suite: &mut Suite) {
    suite.add(test!(each_page_of_nginx_is_judged_as_written));
}

/// Row by row: `server | check | verdict | curl | because`.
const TABLE: &str = r#"
 | get /check.txt text=webserverisworking | up | 200 | the page has its text
 | get /check.txt text=^webserver\w+$ | up | 200 | perlre(1): $ is before a newline at the end
 | get /check.txt text=webserverisdown | mismatch | 200 | it lacks the text
 | get /check.txt text=WebServerIsWorking | mismatch | 200 | perlre(1): case counts
 | get /check.txt text=(?i)WebServerIsWorking | up | 200 | perlre(1): unless told not to
 | get /check.txt | up | 200 | ldirectord(8): without receive, any page will do
 | get /missing.txt | status 404 | 404 | RFC 9110, 15.5.5
 | get /missing.txt text=404 | status 404 | 404 | the status counts before the text does
 | get /missing.txt status=404-404 text=404 | up | 404 | the statuses that count as good are the user's
 | get /a%20b.txt text=webserverisworking | up | 200 | RFC 3986, 2.1
 | get /check.txt?a=1&b=2 text=webserverisworking | up | 200 | RFC 3986, 3.4: a query is no part of the path
 | get /check.txt v6 text=webserverisworking | up | 200 | the same over IPv6
 | get /empty.txt | up | 200 | without receive, an empty page will do
 | get /empty.txt text=. | mismatch | 200 | an empty page has no character
 | get /empty.txt text=^$ | up | 200 | perlre(1): and matches what is empty
 | head /check.txt | up | 200 | RFC 9110, 9.3.2
 | head /check.txt text=webserverisworking | mismatch | 200 | RFC 9110, 9.3.2: a reply to HEAD has no page
if ($request_method = HEAD) { return 405; } | head /check.txt | status 405 | 405 | RFC 9110, 15.5.6
 | get /folder | status 301 | 301 | RFC 9110, 15.4: not followed unless asked for
 | get /folder/ | status 403 | 403 | RFC 9110, 15.5.4: nginx lists no folder
return 200 'maintenance'; | get /check.txt | up | 200 | nothing was asked of the text
return 200 'maintenance'; | get /check.txt text=webserverisworking | mismatch | 200 | a page without the text isn't the page
return 204; | get / | up | 204 | RFC 9110, 15.3: 2xx is success
return 204; | get / text=. | mismatch | 204 | RFC 9110, 15.3.5: there is no page
return 206 'webserverisworking'; | get / text=webserverisworking | up | 206 | RFC 9110, 15.3: 2xx is success
return 299 'webserverisworking'; | get / text=webserverisworking | up | 299 | RFC 9110, 15: an unknown status is as the first of its class
return 304; | get / | status 304 | 304 | RFC 9110, 15.4.5: it wasn't asked for
return 400; | get / | status 400 | 400 | RFC 9110, 15.5
return 403; | get / | status 403 | 403 | RFC 9110, 15.5.4
return 410; | get / | status 410 | 410 | RFC 9110, 15.5.11
return 429; | get / | status 429 | 429 | RFC 6585, 4
return 500 'webserverisworking'; | get / text=webserverisworking | status 500 | 500 | RFC 9110, 15.6.1: whatever the page says
return 502; | get / | status 502 | 502 | RFC 9110, 15.6.3
return 503 'webserverisworking'; | get / text=webserverisworking | status 503 | 503 | RFC 9110, 15.6.4: whatever the page says
return 444; | get / | closed reply | (52) | nginx: 444 closes the connection without a reply
error_page 404 =200 /check.txt; | get /missing.txt text=webserverisworking | up | 200 | the status that the server sends counts
error_page 404 /check.txt; | get /missing.txt text=webserverisworking | status 404 | 404 | and no other
location = / { return 302 /check.txt; } | get / text=webserverisworking | status 302 | 302 | a redirect isn't followed unless asked for
location = / { return 302 /check.txt; } | get / redirects=1 text=webserverisworking | up | 302 | RFC 9110, 15.4.3: followed
location = / { return 307 check.txt; } | get / redirects=1 text=webserverisworking | up | 307 | RFC 3986, 5.2: a relative reference
location = / { return 308 http://other.example/check.txt; } | get / redirects=1 text=webserverisworking | up | 308 | followed on the server that is checked
location = / { return 301 https://$host/check.txt; } | get / redirects=1 | status 301 | 301 | another scheme is another server
location = / { return 301 /missing.txt; } | get / redirects=1 | status 404 | 301 | where it leads counts
return 302 /check.txt; | get / redirects=3 | status 302 | 302 | it leads in a circle
location = / { return 302 /check.txt; } | get / status=200-399 | up | 302 | the statuses that count as good are the user's
if ($host != www.example) { return 404; } | get /check.txt host=www.example text=webserverisworking | up | 200 | RFC 9110, 7.2: Host selects
if ($host != www.example) { return 404; } | get /check.txt | status 404 | 404 | without a name, the address is sent
if ($host != www.example) { return 404; } | get /check.txt host=other.example | status 404 | 404 | RFC 9110, 7.2
if ($http_host != 127.0.0.1:$server_port) { return 404; } | get /check.txt | up | 200 | RFC 9110, 7.2: Host has the port
auth_basic monitor; auth_basic_user_file passwords; | get /check.txt | status 401 | 401 | RFC 9110, 15.5.2
gzip on; gzip_min_length 1; gzip_proxied any; | get /check.txt text=webserverisworking | up | 200 | RFC 9110, 12.5.3: no encoding was offered, so none is used
gzip_static always; | get /zipped.txt text=webserverisworking | mismatch | 200 | what is compressed unasked is searched as it is
ssi on; ssi_types text/plain; | get /check.txt text=webserverisworking | up | 200 | RFC 9112, 7.1: chunked
ssi on; ssi_types text/plain; | get /check.txt text=webserverisdown | mismatch | 200 | RFC 9112, 7.1: chunked
keepalive_timeout 600; | get /check.txt text=webserverisworking | up | 200 | RFC 9112, 9.3: the page ends before the connection does
chunked_transfer_encoding off; ssi on; ssi_types text/plain; | get /check.txt text=webserverisworking | up | 200 | RFC 9112, 6.3: the page ends with the connection
 | get /big.txt text=webserverisworking | mismatch | 200 | it isn't in the first 256 KiB
 | get /big.txt limit=400000 text=webserverisworking | up | 200 | unless more of it is to be read
 | get /big.txt text=^[.]{99} | up | 200 | what begins there is there
add_header Long $LONG; | get /check.txt text=webserverisworking | up | 200 | headers of 4 KB
add_header A $LONG; add_header B $LONG; add_header C $LONG; add_header D $LONG; add_header E $LONG; | get /check.txt | protocol | 200 | headers of more than 16 KiB aren't read
$HEADERS_90 | get /check.txt text=webserverisworking | up | 200 | 90 more headers
$HEADERS_110 | get /check.txt | protocol | 200 | more than 100 headers aren't read
large_client_header_buffers 2 1k; | get /check.txt?$LONG | status 414 | 414 | RFC 9110, 15.5.15
limit_rate 1000k; | get /big.txt text=^[.] | up | 200 | slow, but in time
limit_rate 1k; | get /big.txt within=2 text=^[.] | timeout reply | (28) | the deadline is for the whole page
limit_rate 1k; | get /big.txt text=^[.] limit=1000 | up | - | no more is read than is searched
limit_rate 1k; | get /big.txt | up | - | without receive, the page isn't waited for
location / { proxy_pass http://127.0.0.1:7000; } | get / within=2 | timeout reply | (28) | a page that is never begun
location / { proxy_pass http://127.0.0.1:7000; proxy_read_timeout 1; } | get / | status 504 | 504 | RFC 9110, 15.6.5
location / { proxy_pass http://127.0.0.1:7001; } | get / | status 502 | 502 | RFC 9110, 15.6.3: nothing listens there
 | send GET+/check.txt+HTTP/1.0\n\n text=^webserverisworking$ | up | - | a line of the page
 | send GET+/check.txt+HTTP/1.0\n\n text=^Content-Length:.19 | up | - | RFC 9112, 2.1: a line of the headers
 | send GET+/check.txt+HTTP/1.0\n\n text=webserverisdown | mismatch | - | no line has it
 | send GET+/missing.txt+HTTP/1.0\n\n text=^HTTP/1.1.404 | up | - | the lines alone count
 | send hello\n text=^HTTP/1.1.400 | up | - | RFC 9110, 15.5.1
return 444; | send GET+/+HTTP/1.0\n\n | closed reply | - | nginx: 444 closes the connection without a reply
 | connect | up | - | it listens
return 503; | connect | up | - | a connection says no more than that
"#;

fn each_page_of_nginx_is_judged_as_written(context: &mut Context) -> Result<()> {
    let netns = context.netns("web")?;
    // Connections to it are made by the kernel, and nothing is said on them.
    let _silent = netns.run(|| TcpListener::bind((Ipv4Addr::LOCALHOST, 7000)))??;
    let rows = rows(TABLE)?;
    let mut config = String::new();
    for row in &rows {
        let headers =
            |count| (0..count).map(|it| format!("add_header H{it} x;")).collect::<String>();
        let server = long(row.server);
        let server = server.replace("$HEADERS_90", &headers(90));
        let server = server.replace("$HEADERS_110", &headers(110));
        let port = row.port;
        config += &format!("server {{ listen 127.0.0.1:{port}; listen [::1]:{port}; {server} }}\n");
    }
    let web = WebDaemon::nginx(&netns, &config, &files())?;
    judge(&netns, &web.path(""), &rows)
}
