//! deltarec, the program: configuration, command line, and the loop that brings sources, graph and sink together.
//!
//! `schema` has the vocabulary, `connectors` the outside world, `dataflows` the graph; this crate wires them and adds
//! no meaning of its own.

mod alone;
pub mod bench;
pub mod cli;
pub mod config;
pub mod console;
pub mod demo;
pub mod evaluate;
mod files;
pub mod generate;
pub mod run;
pub mod snapshot;
mod state;
mod table;
