//! Sources and sinks from the outside: what goes in, what comes out, what is set aside, what it says when it fails.

#![allow(clippy::unwrap_used, reason = "the helpers of tests are tests")]

mod csv;
mod damage;
mod json;
mod logs;
mod open;
mod outputs;
mod streams;
mod support;
