//! Injected faults, for tests: a named point in the program fails at its n-th passage, as `DELTAREC_FAULTS` says.
//!
//! ```text
//! DELTAREC_FAULTS="writer.flush=panic@3;reader.poll=error@2;snapshot.put=delay:500"
//! ```
//!
//! Each entry is POINT=ACTION[@N]. The action (`error`, `panic` or `delay:MILLISECONDS`) happens once, at the N-th passage of
//! the point (the first unless given). Points are compiled into builds with debug assertions, which the tests run, and
//! with the feature `faults`; in any other build a point is an empty function.

use std::io;

use connectors::SinkError;

/// Passes a point. Fails, panics or waits if a fault is due.
#[cfg(any(debug_assertions, feature = "faults"))]
pub(crate) fn hit(point: &str) -> io::Result<()> {
    injected::hit(point)
}

/// Passes a point: in this build nothing happens there.
#[cfg(not(any(debug_assertions, feature = "faults")))]
#[inline(always)]
#[allow(clippy::unnecessary_wraps, reason = "the signature of the other build")]
pub(crate) fn hit(_point: &str) -> io::Result<()> {
    Ok(())
}

/// Passes a point in code that has no errors: there an error is a panic.
pub(crate) fn hit_infallible(point: &str) {
    if let Err(error) = hit(point) {
        panic!("{error}");
    }
}

/// Passes a point in front of a sink.
pub(crate) fn hit_sink(point: &str) -> Result<(), SinkError> {
    hit(point).map_err(|cause| SinkError {
        sink_name: "the output".into(),
        what: cause.to_string(),
        advice: "remove the fault".into(),
        closed: false,
        cause: Some(cause),
    })
}

#[cfg(any(debug_assertions, feature = "faults"))]
mod injected {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
    use std::time::Duration;
    use std::{env, io, thread};

    /// A fault that is due at one passage of its point.
    #[derive(Debug)]
    struct Fault {
        point: String,
        action: Action,
        /// Passages before the fault, and the fault itself. 0: it has happened.
        passages: AtomicU64,
    }

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Action {
        Error,
        Panic,
        Delay(Duration),
    }

    pub(super) fn hit(point: &str) -> io::Result<()> {
        static FAULTS: OnceLock<Vec<Fault>> = OnceLock::new();
        let faults = FAULTS.get_or_init(|| {
            let text = env::var("DELTAREC_FAULTS").unwrap_or_default();
            parse(&text).unwrap_or_else(|| panic!("DELTAREC_FAULTS={text}: expected POINT=ACTION[@N];..."))
        });
        faults.iter().filter(|fault| fault.point == point).try_for_each(Fault::pass)
    }

    fn parse(text: &str) -> Option<Vec<Fault>> {
        text.split(';').filter(|entry| !entry.is_empty()).map(Fault::parse).collect()
    }

    impl Fault {
        fn parse(entry: &str) -> Option<Self> {
            let (point, rest) = entry.split_once('=')?;
            let (action, passage) = rest.split_once('@').unwrap_or((rest, "1"));
            let action = match action.split_once(':') {
                None if action == "error" => Action::Error,
                None if action == "panic" => Action::Panic,
                Some(("delay", ms)) => Action::Delay(Duration::from_millis(ms.parse().ok()?)),
                _ => return None,
            };
            Some(Fault { point: point.to_owned(), action, passages: AtomicU64::new(passage.parse().ok()?) })
        }

        fn pass(&self) -> io::Result<()> {
            let is_due = self.passages.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)) == Ok(1);
            match self.action {
                _ if !is_due => Ok(()),
                Action::Error => Err(io::Error::other(format!("injected error at {}", self.point))),
                Action::Panic => panic!("injected panic at {}", self.point),
                Action::Delay(time) => {
                    thread::sleep(time);
                    Ok(())
                }
            }
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_fault_happens_once_at_its_passage() {
            let faults = parse("a.b=error@2;c=delay:5;").unwrap();
            assert_eq!(faults[1].action, Action::Delay(Duration::from_millis(5)));
            let passed: Vec<bool> = (0..5).map(|_| faults[0].pass().is_ok()).collect();
            assert_eq!(passed, [true, false, true, true, true]);
            for mistake in ["a", "a=b", "a=delay", "a=delay:x", "a=panic@x"] {
                assert!(parse(mistake).is_none(), "{mistake}");
            }
        }
    }
}
