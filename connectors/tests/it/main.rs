//! Tests of sources and sinks through the public interface: records, outputs, rejected records, failures.

#![allow(clippy::unwrap_used, reason = "helpers are test code")]

mod catalogue;
mod controls;
mod csv;
mod damage;
mod fuzz;
mod json;
mod logs;
mod open;
mod outputs;
mod parquet;
mod streams;
mod support;
