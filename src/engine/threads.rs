//! Threads of a run: each has a name, and a span of that name in the log.

use std::thread::{self, JoinHandle};

use tracing::Span;

/// Starts a thread in its span: `spawn("reader", tracing::error_span!("reader"), ...)`. Spans are of level `error`, so that no
/// filter removes them from the records that it keeps.
///
/// # Panics
///
/// If the system cannot start a thread. All threads of a run start at its beginning.
pub(super) fn spawn<R: Send + 'static>(
    name: &str,
    span: Span,
    work: impl FnOnce() -> R + Send + 'static,
) -> JoinHandle<R> {
    let thread = thread::Builder::new().name(name.into()).spawn(move || span.in_scope(work));
    thread.expect("threads can be started at the beginning of a run")
}

/// Lowers the priority of this thread: when all cores are busy, it gets a tenth of the time of a thread that events wait
/// for. Has no effect where the system does not support it.
pub(super) fn lower_priority() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICE) {
        tracing::debug!(%error, "cannot lower the priority of a background thread");
    }
}

/// Steps below the default priority, of 20.
#[cfg(target_os = "linux")]
const NICE: i32 = 10;
