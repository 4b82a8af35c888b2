//! Work that nobody waits for.

/// Lets this thread go behind those that events wait for: it gets a tenth of what they get while they want all there is.
/// Where the system does not let it, it goes beside them.
pub(super) fn give_way() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICE) {
        tracing::debug!("a thread in the background keeps its priority: {error}");
    }
}

/// Of the 20 steps down from the usual priority.
#[cfg(target_os = "linux")]
const NICE: i32 = 10;
