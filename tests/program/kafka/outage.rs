//! A broker that goes away, at any moment, and what a stop means meanwhile.

use std::thread;
use std::time::{Duration, Instant};

use proptest::prelude::Rng as _;
use proptest::test_runner::{RngAlgorithm, TestRng};

use super::broker::{Outage, assert_no_repeats};
use super::{Lists, RunningProcess, TOPIC_TIMEOUT, TestDir, expected_lists, simulated};
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

/// A round: while events arrive, the broker of the inputs or that of the outputs goes away at a random moment, and in one of
/// three outages the run is killed too. At the end the topic has the lists of an undisturbed run, and none twice in a row.
fn random_outages(seed: u8) {
    let mut random = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]);
    let mut draw = |below: u64| random.next_u64() % below;
    let (inputs, outputs) = (Outage::new(), Outage::new());
    let (from, to) = (inputs.broker("events"), outputs.broker("lists"));
    let dir = TestDir::new();
    let events = simulated(&dir, &format!("events=400,users=40,items=30,seed={seed}"));
    let (input, output) = (from.uri("events"), to.uri("lists"));
    let workers = [1, 2, 4][draw(3) as usize];
    let args = format!(
        "run --input {input} --output {output} --clock event --set graph.audience=all --set graph.refresh=0ms \
         --workers {workers} --state state --set state.interval=300ms"
    );
    let start = || dir.start(&args.split_whitespace().collect::<Vec<_>>());
    let mut running = start();
    for (at, chunk) in events.chunks(100).enumerate() {
        from.produce("events", chunk);
        thread::sleep(Duration::from_millis(draw(400)));
        let (away, side) = [(&inputs, "inputs"), (&outputs, "outputs")][draw(2) as usize];
        away.begin();
        thread::sleep(Duration::from_millis(draw(2_000)));
        let is_killed = draw(3) == 0;
        println!("round {seed}, outage {at} of the {side}, killed: {is_killed}");
        if is_killed {
            running.signal("KILL");
            drop(running);
            away.end();
            running = start();
        } else {
            away.end();
        }
    }
    let records = to.wait_for_lists("lists", &expected_lists(&events), &format!("round {seed}"));
    assert_no_repeats(&records);
    super::stop(running);
}

#[test]
#[ignore = "long: 20 rounds of some seconds"]
fn random_outages_do_not_change_the_lists() {
    (0..20).for_each(random_outages);
}

#[test]
fn an_outage_at_any_moment_does_not_change_the_lists() {
    random_outages(0);
}
