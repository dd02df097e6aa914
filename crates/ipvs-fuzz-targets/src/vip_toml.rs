use vip::router::Router;

/// A file `vip.toml`. Each mistake has a place in it, and whatever is accepted can run.
pub fn vip_toml(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    match vip::config::parse(text) {
        Ok(config) => {
            assert!(!config.vips.is_empty());
            for vip in config.vips {
                assert!(vip.routers().count() > 0, "{vip:?}");
                Router::new(vip).unwrap_or_else(|error| panic!("{error}"));
            }
        }
        Err(mistakes) => {
            assert!(!mistakes.is_empty());
            let lines = text.lines().count().max(1);
            for mistake in mistakes {
                let (line, column) = mistake.place(text);
                // A mistake may be at the end of the text.
                assert!((1..=lines + 1).contains(&line) && column >= 1, "{mistake:?}");
                assert!(mistake.span.start <= mistake.span.end && mistake.span.end <= text.len());
            }
        }
    }
}
