//! How a command failed, and the exit code that follows from it.

use connectors::OpenError;
use dataflows::DriverError;

/// How a command failed.
#[derive(Debug)]
pub enum Failure {
    /// Wrong arguments or a wrong configuration. Exit code 2.
    Usage(anyhow::Error),
    /// The command failed while it ran. Exit code 1.
    Running(anyhow::Error),
    /// Another process of the cluster was lost or has failed. Exit code 3.
    Cluster(anyhow::Error),
}

impl Failure {
    /// The exit code of the program.
    pub fn exit_code(&self) -> u8 {
        match self {
            Failure::Running(_) => 1,
            Failure::Usage(_) => 2,
            Failure::Cluster(_) => 3,
        }
    }

    /// The error to report.
    pub fn error(&self) -> &anyhow::Error {
        match self {
            Failure::Usage(error) | Failure::Running(error) | Failure::Cluster(error) => error,
        }
    }
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
