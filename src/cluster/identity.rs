use std::fs::File;
use std::io;

use super::error::HandshakeError;
use super::frames::{Claims, Epoch};
use super::secret::Secret;

/// What a process is to the others.
#[derive(Clone, Debug)]
pub struct Identity {
    /// What it shares with them.
    pub secret: Secret,
    /// Its number.
    pub process: u32,
    /// How many there are.
    pub processes: u32,
    /// Workers of each.
    pub workers: u32,
    /// A hash of the program: all must be of one build, as what they send each other has no format of its own.
    pub program: [u8; 32],
    /// A hash of the configuration that the graph is made of.
    pub configuration: [u8; 32],
}

impl Identity {
    /// The hash of the program that runs.
    pub fn this_program() -> io::Result<[u8; 32]> {
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(File::open(std::env::current_exe()?)?)?;
        Ok(hasher.finalize().into())
    }

    /// The hash of a configuration as it is written down.
    pub fn of_configuration(written: &str) -> [u8; 32] {
        blake3::hash(written.as_bytes()).into()
    }

    pub(super) fn claims(&self, to: u32, epoch: Epoch) -> Claims {
        let mut version = [0; 16];
        let name = env!("CARGO_PKG_VERSION").as_bytes();
        let length = name.len().min(version.len());
        version[..length].copy_from_slice(&name[..length]);
        Claims {
            from: self.process.into(),
            to: to.into(),
            processes: self.processes.into(),
            workers: self.workers.into(),
            epoch,
            version,
            program: self.program,
            configuration: self.configuration,
        }
    }

    /// Whether another process, which has the secret, is one of this cluster.
    pub(super) fn compare(&self, other: &Claims) -> Result<(), HandshakeError> {
        let (from, to) = (other.from.get(), other.to.get());
        let (processes, workers) = (other.processes.get(), other.workers.get());
        if other.program != self.program {
            let version = String::from_utf8_lossy(&other.version);
            return Err(HandshakeError::Program { version: version.trim_end_matches('\0').to_owned() });
        }
        if (processes, workers) != (self.processes, self.workers) {
            return Err(HandshakeError::Numbers { processes, workers });
        }
        if other.configuration != self.configuration {
            return Err(HandshakeError::Configuration);
        }
        if to != self.process || from == self.process || from >= self.processes {
            return Err(HandshakeError::Index { from, to });
        }
        Ok(())
    }
}
