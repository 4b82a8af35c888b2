//! Sources and sinks from the outside: what goes in, what comes out, what is set aside, what it says when it fails.

mod csv;
mod damage;
mod json;
mod open;
mod outputs;
mod streams;
mod support;
