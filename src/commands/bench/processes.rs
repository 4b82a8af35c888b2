//! The same replay by several processes of this machine, as by as many threads of one.

use std::net::TcpListener;
use std::path::Path;
use std::thread;

use anyhow::Context;

use super::child::{Task, ask};
use super::throughput::{Measured, ReplayTask};
use crate::commands::run::ClusterArgs;
use crate::failure::Failure;
use crate::stop::Stop;

/// Replays with `task.workers` divided among so many processes. What they take of the machine is added up.
pub(super) fn replay(
    task: &ReplayTask,
    processes: u16,
    folder: &Path,
    stop: &Stop,
) -> Result<Option<Measured>, Failure> {
    let secret_file = folder.join("secret");
    // Only this machine's own processes could guess it.
    let secret = format!("{} {:?}", folder.display(), std::time::SystemTime::now());
    std::fs::write(&secret_file, secret).context("cannot write a secret").map_err(Failure::Running)?;
    let hosts = hosts(processes).context("cannot find free ports").map_err(Failure::Running)?;
    let of_process = |process: u16| {
        let cluster = ClusterArgs::of(hosts.clone(), process.to_string(), secret_file.clone());
        Task::Replay(ReplayTask { workers: task.workers / processes, cluster: Some(cluster), ..task.clone() })
    };
    let others: Vec<_> = (1..processes)
        .map(|process| {
            let (task, stop) = (of_process(process), stop.clone());
            thread::spawn(move || ask::<Measured>(&task, &stop))
        })
        .collect();
    let mut all = ask::<Measured>(&of_process(0), stop)?;
    for other in others {
        let other = other.join().map_err(|_| Failure::Running(anyhow::anyhow!("a process was not heard")))??;
        if let (Some(all), Some(other)) = (&mut all, &other) {
            all.add(other);
        }
    }
    Ok(all)
}

fn hosts(processes: u16) -> std::io::Result<String> {
    // All at once, so that no port is taken twice.
    let listeners = (0..processes).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<std::io::Result<Vec<_>>>()?;
    let addresses = listeners.iter().map(|listener| Ok(listener.local_addr()?.to_string()));
    Ok(addresses.collect::<std::io::Result<Vec<_>>>()?.join(","))
}
