//! The configuration: `deltarec.toml`, a user's file over it, `--set key=value` over both.
//!
//! The defaults are the documented file in the repository's root, embedded here ([`DEFAULTS`]); there is
//! no second list of them. Layers are merged into a raw tree in which every value remembers where it was
//! written, then the tree is read once into the plain typed fields of [`Config`]. Nothing stops at the
//! first mistake: [`ConfigErrors`] holds all of them.

mod error;
mod file;
mod graph;
mod input;
mod kafka;
mod layers;
mod levels;
mod raw;
mod reader;
mod rules;
mod set;
mod state;
mod suggest;
#[cfg(test)]
mod tests;
mod trending;

use std::path::Path;

use connectors::KafkaOptions;
use schema::Levels;

pub use error::{ConfigError, ConfigErrors, Origin, Problem};
pub use graph::{Audience, Graph, Sources};
pub use input::Input;
pub use state::State;
pub use trending::Trending;

/// The file of all defaults, as it stands in the repository.
pub const DEFAULTS: &str = include_str!("../deltarec.toml");

/// A configuration that has passed every check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// What is computed.
    pub graph: Graph,
    /// How much each action tells.
    pub levels: Levels,
    /// What is taken in.
    pub input: Input,
    /// What trends.
    pub trending: Trending,
    /// How what is held survives a restart.
    pub state: State,
    /// How topics are read and written.
    pub kafka: KafkaOptions,
}

impl Config {
    /// The defaults, under `file` where there is one, under each of `sets` (`key=value`) in order.
    pub fn load(file: Option<&Path>, sets: &[String]) -> Result<Self, ConfigErrors> {
        let mut reader = reader::Reader::new(layers::read(file, sets));
        let graph = graph::read(&mut reader);
        let config = Config {
            trending: trending::read(&mut reader, &graph),
            graph,
            levels: levels::read(&mut reader),
            input: input::read(&mut reader),
            state: state::read(&mut reader),
            kafka: kafka::read(&mut reader),
        };
        reader.finish(config)
    }
}

/// The embedded file.
impl Default for Config {
    fn default() -> Self {
        Config::load(None, &[]).expect("the embedded file is complete and valid, which the tests check")
    }
}
