//! Environment variables.

use std::ffi::OsString;

/// A variable of the environment. One that is set to nothing is not set: that is how a shell, a unit file or a container
/// template leaves out a value.
pub fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// A variable whose value is text.
pub fn text(name: &str) -> Option<String> {
    variable(name).map(|value| value.to_string_lossy().into_owned())
}
