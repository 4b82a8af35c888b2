//! The arguments and environment variables of a cluster.

use std::path::PathBuf;

use anyhow::{Context, anyhow};
use clap::Args;
use schema::IdKey;
use serde::{Deserialize, Serialize};

use super::Failure;
use crate::cluster::{Hosts, Identity, Member, Protection, Secret, process_number};
use crate::config::{Config, cluster_fingerprint};
use crate::environment;

/// The place of a process in a cluster.
#[derive(Clone, Debug, Default, Args, Serialize, Deserialize)]
#[command(next_help_heading = "Several processes")]
pub(crate) struct ClusterArgs {
    /// Addresses of all processes: a file with one host:port a line, process 0 first, or a comma-separated list [env:
    /// `DELTAREC_HOSTS`]
    #[arg(long, value_name = "FILE")]
    hosts: Option<String>,
    /// Number of this process, from 0, or a name that ends in the number, such as that of a pod (deltarec-1)
    /// [env: `DELTAREC_PROCESS`]
    #[arg(long, value_name = "I")]
    process: Option<String>,
    /// File with the secret that all processes share, at least 16 bytes, readable by its owner only; or set `DELTAREC_SECRET`
    /// to the secret itself [env: `DELTAREC_SECRET_FILE`]
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// Listen on a public address too; filter the port so that only the processes can reach it
    #[arg(long)]
    listen_publicly: bool,
    /// Do not encrypt and authenticate what the processes send each other after the handshake, because the links go through
    /// a tunnel that does; the same in all processes
    #[arg(long, conflicts_with = "listen_publicly")]
    insecure_links: bool,
}

impl ClusterArgs {
    /// The arguments of one process.
    pub(crate) fn of(hosts: String, process: String, secret_file: PathBuf) -> Self {
        ClusterArgs {
            hosts: Some(hosts),
            process: Some(process),
            secret_file: Some(secret_file),
            listen_publicly: false,
            insecure_links: false,
        }
    }
}

impl ClusterArgs {
    /// What is not given comes from the environment.
    fn with_environment(&self) -> Self {
        let mut args = self.clone();
        args.hosts = args.hosts.or_else(|| environment::text("DELTAREC_HOSTS"));
        args.process = args.process.or_else(|| environment::text("DELTAREC_PROCESS"));
        args.secret_file =
            args.secret_file.or_else(|| environment::variable("DELTAREC_SECRET_FILE").map(PathBuf::from));
        args
    }
}

/// The place of this process in its cluster. `None`: it is the only process. Reads the secret, and hashes this program.
pub(crate) fn member(args: &ClusterArgs, workers: u16, config: &Config, ids: IdKey) -> Result<Option<Member>, Failure> {
    let args = &args.with_environment();
    let Some(hosts) = &args.hosts else {
        if let Some(process) = &args.process {
            return Err(Failure::Usage(anyhow!("--process {process} needs --hosts, the addresses of all processes")));
        }
        return Ok(None);
    };
    let hosts = Hosts::read(hosts).map_err(Failure::Usage)?;
    let processes = hosts.len();
    if processes == 1 {
        return Ok(None);
    }
    let process = number(args, processes).map_err(Failure::Usage)?;
    let program = Identity::this_program()
        .context("cannot read the executable of this process to compare it with those of the others");
    let me = Identity {
        protection: if args.insecure_links { Protection::Plain } else { Protection::Encrypted },
        secret: secret(args).map_err(Failure::Usage)?,
        process: process as u32,
        processes: processes as u32,
        workers: workers.into(),
        program: program.map_err(Failure::Running)?,
        configuration: Identity::of_configuration(&cluster_fingerprint(config)),
        id_key: ids.fingerprint(),
    };
    if args.insecure_links {
        tracing::warn!(
            "--insecure-links: what the processes send each other is neither encrypted nor checked; a flipped bit gives wrong \
             lists"
        );
    }
    Ok(Some(Member { hosts, me, listen_publicly: args.listen_publicly }))
}

fn number(args: &ClusterArgs, processes: usize) -> anyhow::Result<usize> {
    let process = args.process.as_ref().with_context(|| {
        format!("--hosts needs --process I, the number of this process from 0 to {}", processes - 1)
    })?;
    process_number(process).filter(|number| *number < processes).with_context(|| {
        let last = processes - 1;
        format!("--process {process} is not one of the {processes} processes in --hosts, which are numbered from 0 to {last}")
    })
}

fn secret(args: &ClusterArgs) -> anyhow::Result<Secret> {
    match (&args.secret_file, environment::variable("DELTAREC_SECRET")) {
        (Some(file), _) => Secret::read(file),
        (None, Some(secret)) => Secret::new(secret.as_encoded_bytes()),
        (None, None) => Err(anyhow!(
            "a cluster needs a secret that all its processes share: --secret-file FILE or DELTAREC_SECRET; create one \
             with `openssl rand -hex 32`"
        )),
    }
}
