//! The loss of a process of the cluster. A link reports it first. Then timely's network threads panic, and the workers panic
//! after them. One message replaces all of these.

use std::any::Any;
use std::panic;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A process of the cluster that has ended or cannot be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// Number of the process.
    pub process: usize,
    /// Error of the link.
    pub what: String,
    /// Whether the process has closed its link in order: a loss only if the run goes on.
    pub is_closed: bool,
}

/// Takes the first loss of a run.
#[derive(Clone)]
pub struct LossReporter {
    report: Arc<dyn Fn(Loss) + Send + Sync>,
    is_lost: Arc<AtomicBool>,
}

impl LossReporter {
    /// Calls `report` once for the first process that is lost, and for each link that is closed in order.
    pub fn new(report: impl Fn(Loss) + Send + Sync + 'static) -> Self {
        LossReporter { report: Arc::new(report), is_lost: Arc::default() }
    }

    /// Reports a loss, unless there was one before.
    pub(super) fn report(&self, loss: Loss) {
        if loss.is_closed || !self.is_lost.swap(true, Ordering::AcqRel) {
            (self.report)(loss);
        }
    }
}

impl Loss {
    /// Calls `report` once for the first process that is lost, whether its link reports it or timely panics, and for each link
    /// that is closed in order. Panics that follow from a loss are not printed. The links need what is returned.
    pub fn listen(report: impl Fn(Loss) + Send + Sync + 'static) -> LossReporter {
        let reporter = LossReporter::new(report);
        let (installed, previous) = (reporter.clone(), panic::take_hook());
        panic::set_hook(Box::new(move |info| {
            let thread = std::thread::current();
            match Loss::of(thread.name().unwrap_or_default(), info.payload()) {
                Some(loss) => installed.report(loss),
                None if installed.is_lost.load(Ordering::Acquire) => {}
                None => previous(info),
            }
        }));
        reporter
    }

    /// The loss that a panic reports, recognized by the thread names and messages of timely's network threads.
    fn of(thread: &str, payload: &dyn Any) -> Option<Self> {
        let process = thread.strip_prefix("timely:recv-").or(thread.strip_prefix("timely:send-"))?.parse().ok()?;
        let text = payload.downcast_ref::<String>().map(String::as_str).or(payload.downcast_ref::<&str>().copied());
        let text = text.unwrap_or_default();
        let what = text.strip_prefix("timely communication error: ").unwrap_or(text);
        Some(Loss { process, what: what.to_owned(), is_closed: false })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_lost_process_by_the_name_of_the_thread() {
        let text = String::from("timely communication error: reading data: socket closed");
        let loss = Loss { process: 2, what: "reading data: socket closed".into(), is_closed: false };
        assert_eq!(Loss::of("timely:recv-2", &text), Some(loss));
        assert_eq!(Loss::of("timely:work-2", &text), None);
    }
}
