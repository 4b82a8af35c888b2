//! deltarec, the program: configuration, command line, and the loop that brings sources, graph and sink together.
//!
//! `schema` has the vocabulary, `connectors` the outside world, `dataflows` the graph; this crate wires them and adds
//! no meaning of its own.

mod alone;
pub mod cli;
pub mod cluster;
pub mod commands;
pub mod config;
pub mod console;
pub mod engine;
pub mod failure;
mod proc;
pub mod stop;
