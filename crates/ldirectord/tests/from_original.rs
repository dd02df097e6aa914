//! The files in docs/from-ldirectord.md are what the page says they are.

mod machine;

use std::fs;
use std::path::Path;

use ldirectord::{parse, pools};
use machine::Machine;

#[test]
fn the_examples_for_those_who_come_from_the_original_are_accepted() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/from-ldirectord.md");
    let page = fs::read_to_string(path).expect("the page is there");
    let blocks: Vec<&str> = page
        .split("```ini\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap_or_default())
        .collect();
    assert!(blocks.len() >= 4, "{blocks:?}");
    let mut warnings = Vec::new();
    for block in &blocks {
        let (config, diagnostics) = parse(block, &Machine);
        let config = config.unwrap_or_else(|| panic!("{block}: {diagnostics:?}"));
        assert!(pools(&config).is_ok(), "{block}");
        warnings.extend(diagnostics.into_iter().map(|it| block[it.span].to_owned()));
    }
    assert_eq!(warnings, ["10.10.10.104"], "the one that the page speaks of");
}
