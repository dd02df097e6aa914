//! Pages of Apache, in all the ways in which it serves them.

use anyhow::Result;
use ipvs_testkit::{Context, Suite, WebDaemon};

use super::row::{files, judge, long, rows};
use crate::test;

pub(crate) fn add_to(suite: &mut Suite) {
    suite.add(test!(each_page_of_apache_is_judged_as_written));
}

/// Row by row: `server | check | verdict | curl | because`. A double semicolon ends a line of
/// the configuration.
const TABLE: &str = r#"
 | get /check.txt text=webserverisworking | up | 200 | the page has its text
 | get /check.txt text=webserverisdown | mismatch | 200 | it lacks the text
 | get /missing.txt | status 404 | 404 | RFC 9110, 15.5.5
 | head /check.txt | up | 200 | RFC 9110, 9.3.2
 | get /folder | status 301 | 301 | RFC 9110, 15.4: not followed unless asked for
 | get /folder/ | status 404 | 404 | Apache: without mod_autoindex, there is no such page
 | get /check.txt v6 text=webserverisworking | up | 200 | the same over IPv6
 | get /empty.txt text=. | mismatch | 200 | an empty page has no character
 | get /big.txt text=webserverisworking | mismatch | 200 | it isn't in the first 256 KiB
 | get /big.txt limit=400000 text=webserverisworking | up | 200 | unless more of it is to be read
Redirect 301 / http://other.example/ | get / | status 301 | 301 | a redirect isn't followed unless asked for
Redirect 302 /old.txt /check.txt | get /old.txt redirects=1 text=webserverisworking | up | 302 | RFC 9110, 15.4.3: followed
Redirect gone / | get / | status 410 | 410 | RFC 9110, 15.5.11
Redirect 503 / | get / | status 503 | 503 | RFC 9110, 15.6.4
ErrorDocument 404 webserverisworking | get /missing.txt text=webserverisworking | status 404 | 404 | the status counts before the text does
ErrorDocument 503 webserverisworking ;; Redirect 503 / | get / text=webserverisworking | status 503 | 503 | whatever the page says
<Location /> ;; Require all denied ;; </Location> | get /check.txt | status 403 | 403 | RFC 9110, 15.5.4
<Location /> ;; AuthType Basic ;; AuthName monitor ;; AuthUserFile passwords ;; Require valid-user ;; </Location> | get /check.txt | status 401 | 401 | RFC 9110, 15.5.2
<Location /> ;; SetEnv downgrade-1.0 1 ;; SetEnv force-response-1.0 1 ;; </Location> | get /check.txt text=webserverisworking | up | 200 | RFC 9110, 2.5: HTTP/1.0
SetEnvIf Host . downgrade-1.0 force-response-1.0 | get /check.txt text=webserverisworking | up | 200 | RFC 9110, 2.5: a reply of HTTP/1.0
SetEnvIf Host . nokeepalive | get /check.txt text=webserverisworking | up | 200 | RFC 9112, 9.6
SetOutputFilter DEFLATE | get /check.txt text=webserverisworking | up | 200 | RFC 9110, 12.5.3: no encoding was offered
SetOutputFilter INCLUDES ;; Options +Includes | get /check.txt text=webserverisworking | up | 200 | RFC 9112, 7.1: chunked
Header set Long "$LONG" | get /check.txt text=webserverisworking | up | 200 | headers of 4 KB
Header set A "$LONG" ;; Header set B "$LONG" ;; Header set C "$LONG" ;; Header set D "$LONG" ;; Header set E "$LONG" | get /check.txt | protocol | 200 | headers of more than 16 KiB aren't read
LimitRequestLine 100 | get /check.txt?$LONG | status 414 | 414 | RFC 9110, 15.5.15
SetOutputFilter RATE_LIMIT ;; SetEnv rate-limit 1 | get /big.txt within=3 text=^[.] | timeout reply | (28) | the deadline is for the whole page
ServerName www.example ;; </VirtualHost> ;; <VirtualHost *:$PORT> ;; ServerName other.example ;; Redirect 503 / | get /check.txt host=www.example text=webserverisworking | up | 200 | RFC 9110, 7.2: Host selects
ServerName www.example ;; </VirtualHost> ;; <VirtualHost *:$PORT> ;; ServerName other.example ;; Redirect 503 / | get /check.txt host=other.example | status 503 | 503 | RFC 9110, 7.2: Host selects
ServerName www.example ;; </VirtualHost> ;; <VirtualHost *:$PORT> ;; ServerName other.example ;; Redirect 503 / | get /check.txt text=webserverisworking | up | 200 | Apache: the first virtual host serves all others
SSLEngine on ;; SSLCertificateFile tls/good.pem ;; SSLCertificateKeyFile tls/server.key | get /check.txt tls name=www.example verify=name text=webserverisworking | up | 200 | RFC 9525: signed, valid, for this name
SSLEngine on ;; SSLCertificateFile tls/good.pem ;; SSLCertificateKeyFile tls/server.key | get /missing.txt tls | status 404 | 404 | RFC 9110, 15.5.5
SSLEngine on ;; SSLCertificateFile tls/expired.pem ;; SSLCertificateKeyFile tls/server.key | get /check.txt tls verify=chain | tls | (60) | RFC 5280, 4.1.2.5: expired
SSLEngine on ;; SSLCertificateFile tls/self.pem ;; SSLCertificateKeyFile tls/server.key | get /check.txt tls text=webserverisworking | up | 200 | nothing is verified unless asked for
SSLEngine on ;; SSLCertificateFile tls/good.pem ;; SSLCertificateKeyFile tls/server.key | get /check.txt | status 400 | 400 | Apache: HTTP without TLS is a bad request there
SSLEngine on ;; SSLProtocol TLSv1.2 ;; SSLCertificateFile tls/good.pem ;; SSLCertificateKeyFile tls/server.key | get /check.txt tls text=webserverisworking | up | 200 | RFC 5246
"#;

fn each_page_of_apache_is_judged_as_written(context: &mut Context) -> Result<()> {
    let netns = context.netns("web")?;
    let rows = rows(TABLE)?;
    let modules = [
        "auth_basic",
        "authn_core",
        "authn_file",
        "authz_user",
        "deflate",
        "env",
        "filter",
        "include",
        "mime",
        "ratelimit",
        "socache_shmcb",
        "ssl",
    ];
    let mut config = String::new();
    for row in &rows {
        config += &format!("Listen 127.0.0.1:{0}\nListen [::1]:{0}\n", row.port);
    }
    for module in modules {
        config += &format!("LoadModule {module}_module /usr/lib/apache2/modules/mod_{module}.so\n");
    }
    config += "TypesConfig /dev/null\nAddType text/plain .txt\n";
    for row in &rows {
        let server = long(row.server);
        let server = server.replace("$PORT", &row.port.to_string()).replace(";;", "\n");
        config += &format!("<VirtualHost *:{}>\n{server}\n</VirtualHost>\n", row.port);
    }
    let web = WebDaemon::apache(&netns, &config, &files())?;
    judge(&netns, &web.path(""), &rows)
}
