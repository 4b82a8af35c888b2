//! The subcommands, one file or folder each.

pub mod bench;
mod chart;
pub mod demo;
pub mod evaluate;
mod files;
pub mod generate;
pub mod run;
mod same;
mod simulation;
pub mod snapshot;
mod table;
