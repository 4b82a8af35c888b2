//! What the processes of a cluster must agree on.

use std::fs::File;
use std::io;

use schema::Fingerprint;

use super::error::HandshakeError;
use super::frames::{Claims, Epoch, Protection};
use super::secret::Secret;

/// The identity of a process in its cluster.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Secret shared by all processes.
    pub secret: Secret,
    /// Protection of the links.
    pub protection: Protection,
    /// Number of this process, from 0.
    pub process: u32,
    /// Number of processes.
    pub processes: u32,
    /// Workers of each process.
    pub workers: u32,
    /// Hash of the program. All processes must run one build: they send each other memory as it is laid out.
    pub program: [u8; 32],
    /// Hash of the configuration that all processes must agree on.
    pub configuration: [u8; 24],
    /// Fingerprint of the identity key, if there is one.
    pub id_key: Option<Fingerprint>,
}

impl Identity {
    /// Hashes the executable of this process.
    pub fn this_program() -> io::Result<[u8; 32]> {
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(File::open(std::env::current_exe()?)?)?;
        Ok(hasher.finalize().into())
    }

    /// Hashes the text of a configuration.
    pub fn of_configuration(text: &str) -> [u8; 24] {
        let mut hash = [0; 24];
        hash.copy_from_slice(&blake3::hash(text.as_bytes()).as_bytes()[..24]);
        hash
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
            id_key: self.id_key.map_or([0; 8], |fingerprint| fingerprint.0),
        }
    }

    /// Checks the claims of another process, which has proven that it knows the secret.
    pub(super) fn compare(&self, other: &Claims) -> Result<(), HandshakeError> {
        let (from, to) = (other.from.get(), other.to.get());
        let (processes, workers) = (other.processes.get(), other.workers.get());
        if other.program != self.program {
            let version = String::from_utf8_lossy(&other.version);
            return Err(HandshakeError::BuildMismatch { version: version.trim_end_matches('\0').to_owned() });
        }
        if (processes, workers) != (self.processes, self.workers) {
            return Err(HandshakeError::ClusterSizeMismatch { processes, workers });
        }
        if other.id_key != self.id_key.map_or([0; 8], |fingerprint| fingerprint.0) {
            return Err(HandshakeError::IdKeyMismatch);
        }
        if other.configuration != self.configuration {
            return Err(HandshakeError::ConfigurationMismatch);
        }
        if to != self.process || from == self.process || from >= self.processes {
            return Err(HandshakeError::ProcessMismatch { from, to });
        }
        Ok(())
    }
}
