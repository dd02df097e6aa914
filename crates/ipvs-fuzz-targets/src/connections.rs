use ipvs::Connections;

/// Any bytes as `/proc/net/ip_vs_conn`: reading never panics, and always ends.
pub fn connections(text: &[u8]) {
    let lines = text.split(|&byte| byte == b'\n').count();
    assert!(Connections::new(text).count() <= lines);
}
