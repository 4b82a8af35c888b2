//! deltarec, the program: command line, configuration, and the threads that connect sources, graph and sinks.
//!
//! `schema` defines the vocabulary, `connectors` the sources and sinks, `dataflows` the graph. This crate connects them.

pub mod cli;
pub mod cluster;
pub mod commands;
pub mod config;
pub mod console;
pub mod engine;
pub mod environment;
pub mod failure;
mod faults;
mod proc;
mod stdio;
pub mod stop;
