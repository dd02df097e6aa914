//! Pages through Apache as a proxy.

use anyhow::Result;
use ipvs_testkit::{Context, Suite, WebDaemon};

use super::row::{files, judge, rows};
use crate::test;

pub(crate) fn add_to(suite: &mut Suite) {
    suite.add(test!(each_page_through_a_proxy_is_judged_as_written));
}

/// Row by row: `server | check | verdict | curl | because`. A double semicolon ends a line of the
/// configuration. The first row's server, on port 8000, is what the proxies ask.
const TABLE: &str = r#"
 | get /check.txt text=webserverisworking | up | 200 | the page has its text
ProxyRequests On | get http://127.0.0.1:8000/check.txt text=webserverisworking | up | 200 | RFC 9112, 3.2.2
ProxyRequests On | get http://127.0.0.1:8000/check.txt text=webserverisdown | mismatch | 200 | the page lacks the text
ProxyRequests On | get http://127.0.0.1:8000/check.txt v6 text=webserverisworking | up | 200 | the proxy is asked over IPv6
ProxyRequests On | head http://127.0.0.1:8000/check.txt | up | 200 | RFC 9110, 9.3.2
ProxyRequests On | get http://127.0.0.1:8000/missing.txt | status 404 | 404 | what the other server says
ProxyRequests On | get http://127.0.0.1:7001/ | status 503 | 503 | nothing listens there
ProxyRequests On | get http://no.name.invalid/ | status 500 | 500 | RFC 6761, 6.4: there is no such host
ProxyRequests On ;; <Proxy *> ;; Require all denied ;; </Proxy> | get http://127.0.0.1:8000/check.txt | status 403 | 403 | RFC 9110, 15.5.4
Redirect 503 / | get http://127.0.0.1:8000/check.txt | status 503 | 503 | it is no proxy, so its own page counts
 | get http://127.0.0.1:8000/missing.txt | status 404 | 404 | it is no proxy, and lacks the page
"#;

fn each_page_through_a_proxy_is_judged_as_written(context: &mut Context) -> Result<()> {
    let netns = context.netns("web")?;
    let rows = rows(TABLE)?;
    let mut config = String::new();
    for module in ["proxy", "proxy_http"] {
        config += &format!("LoadModule {module}_module /usr/lib/apache2/modules/mod_{module}.so\n");
    }
    for row in &rows {
        let (port, server) = (row.port, row.server.replace(";;", "\n"));
        config += &format!("Listen 127.0.0.1:{port}\nListen [::1]:{port}\n");
        config += &format!("<VirtualHost *:{port}>\n{server}\n</VirtualHost>\n");
    }
    let web = WebDaemon::apache(&netns, &config, &files())?;
    judge(&netns, &web.path(""), &rows)
}
