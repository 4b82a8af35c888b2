//! A broker that goes away, at any moment, and what a stop means meanwhile.

use std::thread;
use std::time::{Duration, Instant};

use super::broker::Outage;
use super::{Lists, RunningProcess, TOPIC_TIMEOUT, TestDir};
use crate::program::supervision::assert_end;
use crate::program::{event, now, two_shoppers};

/// A stop waits for a commit, but not for ever. What was not acknowledged is written after the restart.
#[test]
#[ignore = "long: waits for a minute"]
fn a_stop_is_bounded_while_the_broker_is_away() {
    let (inputs, outputs) = (Outage::new(), Outage::new());
    let (from, to) = (inputs.broker("events"), outputs.broker("lists"));
    let dir = TestDir::new();
    let (input, output) = (from.uri("events"), to.uri("lists"));
    let args = ["run", "--input", &input, "--output", &output, "--state", "state"];
    let send = |text: &str| from.send("events", text.lines().map(|line| (None, Some(line.as_bytes()))));
    let running = dir.start_with_log("info,connectors=debug", &args);
    send(&two_shoppers(now()));
    let list = |user: &str| (user.to_owned(), vec!["butter".to_owned()]);
    to.wait_for_lists("lists", &Lists::from([list("bob")]), "the first list");
    outputs.begin();
    let commits = |running: &RunningProcess| running.stderr.text().matches("waiting for acknowledgements").count();
    let before = commits(&running);
    send(&event("eve", "bread", "view", now()));
    let sent = Instant::now();
    while commits(&running) == before {
        assert!(sent.elapsed() < TOPIC_TIMEOUT, "no commit is pending:\n{}", running.stderr.text());
        thread::sleep(Duration::from_millis(20));
    }
    running.signal("TERM");
    let asked = Instant::now();
    let done = running.finish_within(Duration::from_secs(150));
    println!("ended {:?} after the stop request", asked.elapsed());
    assert_end(&done, 1, &["kafka://", "not acknowledged", "start again"]);
    outputs.end();
    let running = dir.start(&args);
    to.wait_for_lists("lists", &Lists::from([list("bob"), list("eve")]), "both lists");
    super::stop(running);
}
