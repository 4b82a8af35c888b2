use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use connectors::RejectLog;
use schema::{Position, Reason, Rejected};

use crate::support::csv;

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The lines logged by `run`.
fn logged(run: impl FnOnce()) -> Vec<String> {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    tracing::subscriber::with_default(subscriber, run);
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn logs_the_first_record_of_each_reason() {
    let lines = logged(|| {
        let mut log = RejectLog::default();
        for (line, reason) in [
            (3, Reason::NotUtf8),
            (4, Reason::Missing { field: "user".into() }),
            (5, Reason::NotUtf8),
            (6, Reason::Missing { field: "item".into() }),
        ] {
            let position = Position::Line { line, byte: 0 };
            log.record(&Rejected { reason, source: "day.csv".into(), position, record: String::new(), original: None })
                .unwrap();
        }
    });
    assert_eq!(lines.len(), 3, "{lines:?}");
    for (line, part) in
        lines.iter().zip(["day.csv:3: not valid UTF-8", "day.csv:4: field `user`", "day.csv:6: field `item`"])
    {
        assert!(line.contains("WARN") && line.contains(part), "{line}");
    }
}

#[test]
fn warns_about_a_file_without_a_header() {
    assert!(logged(|| drop(csv("\n")))[0].contains("in: the file is empty"));
    assert!(logged(|| drop(csv("user,item,action,ts\n"))).is_empty());
}
