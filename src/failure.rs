//! How a command failed, and with which exit code the program ends.

use connectors::OpenError;
use dataflows::DriverError;

/// How a command failed.
#[derive(Debug)]
pub enum Failure {
    /// Exit code 2.
    Usage(anyhow::Error),
    /// Exit code 1.
    Running(anyhow::Error),
    /// Exit code 3: another process of the cluster was lost, or has failed.
    Elsewhere(anyhow::Error),
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        if error.is_usage() { Failure::Usage(error.into()) } else { Failure::Running(error.into()) }
    }
}

impl From<DriverError> for Failure {
    fn from(error: DriverError) -> Self {
        Failure::Running(error.into())
    }
}
