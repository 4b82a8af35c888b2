//! What the command line and the environment say of several processes.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use serde::{Deserialize, Serialize};

use super::Failure;
use crate::cluster::{Hosts, Identity, Member, Secret, SecretError, process_number};
use crate::config::Config;
use crate::engine::state;

/// A process's place among several.
#[derive(Clone, Debug, Default, Args, Serialize, Deserialize)]
#[command(next_help_heading = "Several processes")]
pub(crate) struct ClusterArgs {
    /// The processes: a file with one host:port a line, process 0 first, or the addresses with commas between
    #[arg(long, value_name = "FILE", env = "DELTAREC_HOSTS")]
    hosts: Option<String>,
    /// Which of them this is: a number from 0, or a name that ends in one, as pods have (deltarec-1)
    #[arg(long, value_name = "I", env = "DELTAREC_PROCESS", requires = "hosts")]
    process: Option<String>,
    /// A file with the secret that all of them share, at least 16 bytes; or `DELTAREC_SECRET`, the secret itself
    #[arg(long, value_name = "FILE", env = "DELTAREC_SECRET_FILE")]
    secret_file: Option<PathBuf>,
    /// Listen even where the internet can reach this process: what the processes send each other is not encrypted
    #[arg(long)]
    listen_publicly: bool,
}

impl ClusterArgs {
    /// As if they had been given.
    pub(crate) fn of(hosts: String, process: String, secret_file: PathBuf) -> Self {
        ClusterArgs {
            hosts: Some(hosts),
            process: Some(process),
            secret_file: Some(secret_file),
            listen_publicly: false,
        }
    }
}

/// This process's place among several; `None` if it is alone.
pub(crate) fn member(args: &ClusterArgs, workers: u16, config: &Config) -> Result<Option<Member>, Failure> {
    let Some(hosts) = &args.hosts else { return Ok(None) };
    let hosts = Hosts::read(hosts)?;
    let processes = hosts.len();
    if processes == 1 {
        return Ok(None);
    }
    let usage = |text: String| Failure::Usage(anyhow::anyhow!(text));
    let Some(process) = &args.process else {
        return Err(usage(format!("--hosts needs --process I, from 0 to {}: which of them is this?", processes - 1)));
    };
    let number = process_number(process).filter(|process| *process < processes).ok_or_else(|| {
        usage(format!("--process {process} is none of the {processes} in --hosts, which are numbered from 0"))
    })?;
    let secret = match (&args.secret_file, std::env::var_os("DELTAREC_SECRET")) {
        (Some(file), _) => Secret::read(file)?,
        (None, Some(secret)) => Secret::new(secret.as_encoded_bytes())?,
        (None, None) => return Err(SecretError::Missing.into()),
    };
    let program = Identity::this_program().context("cannot read this program, which is compared with the others'");
    let me = Identity {
        secret,
        process: number as u32,
        processes: processes as u32,
        workers: workers.into(),
        program: program.map_err(Failure::Running)?,
        configuration: Identity::of_configuration(&state::cluster_fingerprint(config)),
    };
    Ok(Some(Member { hosts, me, publicly: args.listen_publicly }))
}
