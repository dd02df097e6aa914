//! Tables and keys as TOML has them.

use serde::Deserialize;
use toml::Spanned;

/// A text with its place.
pub(super) type Text = Spanned<String>;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    #[serde(default)]
    pub(super) vip: Vec<Spanned<Vip>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Vip {
    pub(super) name: Text,
    pub(super) interface: Text,
    pub(super) router_id: Spanned<i64>,
    pub(super) version: Option<Spanned<i64>>,
    pub(super) auth: Option<Spanned<Auth>>,
    pub(super) priority: Option<Spanned<i64>>,
    pub(super) interval: Option<Text>,
    pub(super) addresses: Spanned<Vec<Text>>,
    pub(super) preempt: Option<Text>,
    pub(super) checksum: Option<Text>,
    #[serde(default)]
    pub(super) peers: Vec<Text>,
    #[serde(default)]
    pub(super) track: Vec<Spanned<Track>>,
    pub(super) sync: Option<Sync>,
    pub(super) notify: Option<Spanned<Vec<String>>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Auth {
    pub(super) pass: Text,
}

/// One of `interface`, `script` and `service`, and what belongs to it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Track {
    pub(super) interface: Option<Text>,
    pub(super) script: Option<Spanned<Vec<String>>>,
    pub(super) service: Option<Text>,
    pub(super) weight: Option<Spanned<i64>>,
    pub(super) every: Option<Text>,
    pub(super) timeout: Option<Text>,
    pub(super) rise: Option<Spanned<i64>>,
    pub(super) fall: Option<Spanned<i64>>,
    pub(super) instance: Option<Text>,
    pub(super) min_up: Option<Spanned<i64>>,
    #[serde(rename = "for")]
    pub(super) silence: Option<Text>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Sync {
    pub(super) interface: Text,
    pub(super) id: Option<Spanned<i64>>,
}
