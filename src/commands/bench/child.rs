//! Runs a measurement in a child process, so that its memory figures are its own and its caches start cold.

use std::io::{self, Read};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::Context;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::commands::table;
use crate::console;
use crate::failure::Failure;
use crate::stop::Stop;

/// Measurement of a child process, passed as JSON on its command line.
pub(super) trait ChildTask: Serialize + DeserializeOwned {
    /// First argument of the child process, unique among the tasks.
    const NAME: &str;
    /// Result, passed back as JSON on stdout.
    type Result: Serialize + DeserializeOwned;

    /// Measures, in the child process. `None` if it was stopped before it had a result.
    fn measure(&self, stop: &Stop) -> Result<Option<Self::Result>, Failure>;
}

/// Starts a child process and waits for its result. `None` if it was stopped before it had one.
pub(super) fn run_in_child<T: ChildTask>(task: &T, stop: &Stop) -> Result<Option<T::Result>, Failure> {
    spawn_and_wait(task, stop).map_err(Failure::Running)
}

fn spawn_and_wait<T: ChildTask>(task: &T, stop: &Stop) -> anyhow::Result<Option<T::Result>> {
    let program = std::env::current_exe().context("cannot find this program to start it again")?;
    let mut child = Command::new(program)
        .args(["--log-format", if console::is_json() { "json" } else { "text" }, "bench", "child", T::NAME])
        .arg(serde_json::to_string(task)?)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start this program again")?;
    // The child runs while its stdin is open, so it also ends when this process dies.
    let mut keep_alive = child.stdin.take();
    let mut stdout = child.stdout.take().context("the child process has no stdout")?;
    let reader = thread::spawn(move || {
        let mut text = String::new();
        stdout.read_to_string(&mut text).map(|_| text)
    });
    let status = loop {
        if let Some(status) = child.try_wait().context("cannot wait for the child process")? {
            break status;
        }
        if stop.is_set() {
            drop(keep_alive.take());
        }
        thread::sleep(Duration::from_millis(20));
    };
    anyhow::ensure!(status.success(), "the child process failed ({status}); see its message above");
    let text = reader.join().map_err(|_| anyhow::anyhow!("the reader of the child process panicked"))?;
    let text = text.context("cannot read from the child process")?;
    serde_json::from_str(&text).context("cannot parse the result of the child process")
}

/// Runs in the child process: measures and prints the result as JSON.
pub(super) fn main<T: ChildTask>(task: &str, stop: &Stop) -> Result<(), Failure> {
    let task: T = serde_json::from_str(task)
        .map_err(|error| Failure::Usage(anyhow::anyhow!("`bench child` is for the program itself: {error}")))?;
    let parent_stop = stop.clone();
    thread::spawn(move || {
        // The parent writes nothing; it closes the pipe to stop the measurement.
        let end = io::copy(&mut io::stdin().lock(), &mut io::sink());
        tracing::debug!(?end, "stopped by the parent process");
        parent_stop.set();
    });
    let result = task.measure(stop)?;
    table::say(&serde_json::to_string(&result).map_err(|error| Failure::Running(error.into()))?)
}
