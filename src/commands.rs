//! The subcommands, one file or folder each.

pub mod bench;
pub mod demo;
pub mod evaluate;
mod files;
pub mod generate;
pub mod run;
pub mod snapshot;
mod table;
