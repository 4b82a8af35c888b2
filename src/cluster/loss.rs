//! What is said when a process of the cluster is lost. Timely's network threads panic then, on purpose, and the workers
//! after them: one message takes the place of all that.

use std::any::Any;
use std::panic;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A process of the cluster that is no more, or cannot be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// Its number.
    pub process: usize,
    /// What was seen of it.
    pub what: String,
}

impl Loss {
    /// Has `tell` called, once, when the first process is lost. Panics that follow from that are not shown.
    pub fn listen(tell: impl Fn(Loss) + Send + Sync + 'static) {
        let before = panic::take_hook();
        let lost = Arc::new(AtomicBool::new(false));
        panic::set_hook(Box::new(move |info| {
            let thread = std::thread::current();
            match Loss::of(thread.name().unwrap_or_default(), info.payload()) {
                Some(loss) if !lost.swap(true, Ordering::AcqRel) => tell(loss),
                Some(_) => {}
                None if lost.load(Ordering::Acquire) => {}
                None => before(info),
            }
        }));
    }

    /// What a panic says of a peer, by the names and the words of timely's network threads.
    fn of(thread: &str, payload: &dyn Any) -> Option<Self> {
        let process = thread.strip_prefix("timely:recv-").or(thread.strip_prefix("timely:send-"))?.parse().ok()?;
        let text = payload.downcast_ref::<String>().map(String::as_str).or(payload.downcast_ref::<&str>().copied());
        let text = text.unwrap_or_default();
        let what = text.strip_prefix("timely communication error: ").unwrap_or(text);
        Some(Loss { process, what: what.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_is_told_by_the_thread_that_sees_it() {
        let text = String::from("timely communication error: reading data: socket closed");
        let loss = Loss { process: 2, what: "reading data: socket closed".into() };
        assert_eq!(Loss::of("timely:recv-2", &text), Some(loss));
        assert_eq!(Loss::of("timely:work-2", &text), None);
    }
}
