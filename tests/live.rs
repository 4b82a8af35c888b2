//! A live source that wakes the reader is polled at once, however slow the output is.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use connectors::{Batch, Polled, RawEvent, Sink, SinkError, Source, SourceError, SourcePosition};
use deltarec::config::Config;
use deltarec::engine::{Input, Job, run};
use deltarec::stop::Stop;
use schema::{Change, Position};

/// A source like a topic: a thread of its own hands events over, one at a time, and unparks the thread that polls. Records how
/// long each event waited for its poll.
struct Paced {
    fetched: Option<Receiver<(u64, Instant)>>,
    events: u64,
    every: Duration,
    stop: Stop,
    waited: Arc<std::sync::Mutex<Vec<Duration>>>,
}

impl Source for Paced {
    fn name(&self) -> &'static str {
        "paced"
    }

    fn poll(&mut self, into: &mut Batch) -> Result<Polled, SourceError> {
        let (events, every, stop) = (self.events, self.every, self.stop.clone());
        let fetched = self.fetched.get_or_insert_with(|| {
            // A full channel blocks the sender, which then unparks no one.
            let (hand_over, fetched) = sync_channel(2);
            let reader = thread::current();
            thread::spawn(move || {
                for number in 0..events {
                    hand_over.send((number, Instant::now())).unwrap();
                    reader.unpark();
                    thread::sleep(every);
                }
                stop.set();
                reader.unpark();
            });
            fetched
        });
        for (number, at) in fetched.try_iter() {
            self.waited.lock().unwrap().push(at.elapsed());
            let (user, item) = (format!("u{}", number % 40), format!("i{}", number % 7));
            let position = Position::Offset { partition: 0, offset: number.cast_signed() };
            let ts = 1_763_900_000_000 + number;
            into.push(RawEvent {
                user: &user,
                item: &item,
                action: "buy",
                ts,
                dwell_ms: None,
                room: None,
                position,
                stamped: Some(ts),
            });
        }
        Ok(Polled::Idle)
    }

    fn position(&self, _batch: &Batch, _next: usize) -> SourcePosition {
        SourcePosition::Partitions { offsets: [(0, 0)].into(), topic: None }
    }

    fn resume_at(&mut self, _position: &SourcePosition) -> Result<(), SourceError> {
        Ok(())
    }

    fn is_live(&self) -> bool {
        true
    }
}

/// A sink whose flush takes as long as a transaction.
struct Slow(Duration);

impl Sink for Slow {
    fn name(&self) -> &'static str {
        "slow"
    }

    fn write(&mut self, _change: &Change) -> Result<(), SinkError> {
        Ok(())
    }

    fn flush(&mut self, _at: u64) -> Result<(), SinkError> {
        thread::sleep(self.0);
        Ok(())
    }
}

#[test]
fn polls_at_once_after_waiting_for_room() {
    let stop = Stop::default();
    let waited = Arc::default();
    // The sink is so slow that the reader waits for room in the channel nearly all the time.
    let flush = Duration::from_millis(60);
    let source = Paced {
        fetched: None,
        events: 2_000,
        every: Duration::from_millis(1),
        stop: stop.clone(),
        waited: Arc::clone(&waited),
    };
    let job = Job::new(Config::default(), vec![Input { source: Box::new(source), waits: true }], Box::new(Slow(flush)));
    let (summary, result) = run(Job { stop, ..job });
    result.unwrap();
    let mut waited: Vec<Duration> = std::mem::take(&mut *waited.lock().unwrap());
    assert_eq!((waited.len() as u64, summary.rejected), (summary.events, 0));
    waited.retain(|wait| *wait > Duration::from_millis(200));
    println!("{} of {} events waited for 200 ms", waited.len(), summary.events);
    // A reader that misses a wake-up sleeps for 250 ms. With 2,000 events in 2 s that would happen a hundred times.
    assert!(waited.len() < 20, "{} events found the reader asleep", waited.len());
}
