//! The configuration: built-in defaults, overridden by a file, overridden by `--set key=value`.
//!
//! Every key is one entry in the table of `config/keys`: name, rule, default, documentation, field, and its effect on
//! snapshots and clusters. `deltarec.toml` ([`DEFAULTS`]) and the tables of `docs/configuration.md` are rendered from it.
//!
//! The layers are merged into a raw tree in which every value knows where it was written. The tree is then read once,
//! key by key, into the typed fields of [`Config`]. Reading does not stop at a mistake: [`ConfigErrors`] lists all.

mod compatibility;
mod error;
mod file;
mod keys;
mod layers;
mod public;
mod raw;
mod reader;
mod render;
mod rules;
mod set;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::LazyLock;

use connectors::{KafkaOptions, SecretPlace};
use schema::Levels;

pub use compatibility::{check_compatibility, cluster_fingerprint, compatibility};
pub use dataflows::{Audience, Config as Graph};
pub use error::{ConfigError, ConfigErrors, Origin, Problem};
pub use keys::catalogue::{Catalogue, Unknown};
pub use keys::input::Input;
pub use keys::state::State;
pub use public::{public_key, public_set};

/// The documented file of all defaults: `deltarec.toml` in the root of the repository.
pub static DEFAULTS: LazyLock<String> = LazyLock::new(render::defaults_file);

/// A validated configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// Parameters of the graph: `[graph]` and `[trending]`.
    pub graph: Graph,
    /// Levels of the actions.
    pub levels: Levels,
    /// Limits of the inputs.
    pub input: Input,
    /// The items of the shop.
    pub catalogue: Catalogue,
    /// Snapshots.
    pub state: State,
    /// Location of the key of ids, if the configuration names one.
    pub identity_key: Option<SecretPlace>,
    /// Access to topics.
    pub kafka: KafkaOptions,
}

impl Config {
    /// The defaults, overridden by `file` if there is one, overridden by each of `sets` (`key=value`) in order.
    ///
    /// Logs a warning for every old spelling.
    pub fn load(file: Option<&Path>, sets: &[String]) -> Result<Self, ConfigErrors> {
        let (config, warnings) = read(file, sets);
        for warning in warnings {
            tracing::warn!("{warning}");
        }
        config
    }
}

/// Parses a duration as keys take it, such as `30m`, from 1 ms to ten years. Returns milliseconds.
pub fn parse_duration(text: &str) -> Result<u64, String> {
    let rule = rules::duration(1..=rules::MAX_DURATION);
    rule.apply(&raw::Kind::Text(text.to_owned())).map_err(|expected| format!("expected {expected}"))
}

/// [`Config::load`] that returns the warnings about old spellings.
fn read(file: Option<&Path>, sets: &[String]) -> (Result<Config, ConfigErrors>, Vec<String>) {
    let (mut config, mut reader) = (Config::default(), layers::read(&keys::SECTIONS, &DEFAULTS, file, sets));
    keys::read(&mut reader, &mut config);
    public::hide_secrets(&mut reader.errors);
    let result = if reader.errors.is_empty() { Ok(config) } else { Err(ConfigErrors::new(reader.errors)) };
    (result, reader.warnings)
}
