//! The arguments and environment variables of a cluster.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use serde::{Deserialize, Serialize};

use super::Failure;
use crate::cluster::{Hosts, Identity, Member, Secret, SecretError, process_number};
use crate::config::{Config, cluster_fingerprint};

/// The place of a process in a cluster.
#[derive(Clone, Debug, Default, Args, Serialize, Deserialize)]
#[command(next_help_heading = "Several processes")]
pub(crate) struct ClusterArgs {
    /// Addresses of all processes: a file with one host:port a line, process 0 first, or a comma-separated list
    #[arg(long, value_name = "FILE", env = "DELTAREC_HOSTS")]
    hosts: Option<String>,
    /// Number of this process, from 0, or a name that ends in the number, such as that of a pod (deltarec-1)
    #[arg(long, value_name = "I", env = "DELTAREC_PROCESS", requires = "hosts")]
    process: Option<String>,
    /// File with the secret that all processes share, at least 16 bytes; or set `DELTAREC_SECRET` to the secret itself
    #[arg(long, value_name = "FILE", env = "DELTAREC_SECRET_FILE")]
    secret_file: Option<PathBuf>,
    /// Listen on a public address too; the traffic between processes is not encrypted
    #[arg(long)]
    listen_publicly: bool,
}

impl ClusterArgs {
    /// The arguments of one process.
    pub(crate) fn of(hosts: String, process: String, secret_file: PathBuf) -> Self {
        ClusterArgs {
            hosts: Some(hosts),
            process: Some(process),
            secret_file: Some(secret_file),
            listen_publicly: false,
        }
    }
}

/// The place of this process in its cluster. `None`: it is the only process. Reads the secret, and hashes this program.
pub(crate) fn member(args: &ClusterArgs, workers: u16, config: &Config) -> Result<Option<Member>, Failure> {
    let Some(hosts) = &args.hosts else { return Ok(None) };
    let hosts = Hosts::read(hosts)?;
    let processes = hosts.len();
    if processes == 1 {
        return Ok(None);
    }
    let usage = |text: String| Failure::Usage(anyhow::anyhow!(text));
    let Some(process) = &args.process else {
        return Err(usage(format!(
            "--hosts needs --process I, the number of this process from 0 to {}",
            processes - 1
        )));
    };
    let number = process_number(process).filter(|process| *process < processes).ok_or_else(|| {
        usage(format!(
            "--process {process} is not one of the {processes} processes in --hosts, which are numbered from 0"
        ))
    })?;
    let secret = match (&args.secret_file, std::env::var_os("DELTAREC_SECRET")) {
        (Some(file), _) => Secret::read(file)?,
        (None, Some(secret)) => Secret::new(secret.as_encoded_bytes())?,
        (None, None) => return Err(SecretError::Missing.into()),
    };
    let program = Identity::this_program()
        .context("cannot read the executable of this process to compare it with those of the others");
    let me = Identity {
        secret,
        process: number as u32,
        processes: processes as u32,
        workers: workers.into(),
        program: program.map_err(Failure::Running)?,
        configuration: Identity::of_configuration(&cluster_fingerprint(config)),
    };
    Ok(Some(Member { hosts, me, publicly: args.listen_publicly }))
}
