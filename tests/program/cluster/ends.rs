//! The end of a cluster: all processes end together, with exit codes that say why.

use std::fs;
use std::time::{Duration, Instant};

use super::{Cluster, RUN_TIMEOUT, wait_for_stderr};
use crate::program::{RunningProcess, TestDir, changes, event, now, two_shoppers};

/// A cluster that has started to write.
fn long_run(cluster: &Cluster<'_>) -> Vec<RunningProcess> {
    let running = cluster.start_all(
        "--input generate:events=50000000,users=2000,items=500 --output out.jsonl --set input.batch=500 --state state \
         --set state.interval=200ms",
    );
    let asked = Instant::now();
    while fs::metadata(cluster.dir.path("out.jsonl")).map_or(0, |file| file.len()) < 100_000 {
        assert!(asked.elapsed() < RUN_TIMEOUT, "nothing is written: {}", running[0].stderr.text());
        std::thread::sleep(Duration::from_millis(5));
    }
    running
}

#[test]
fn a_signal_to_any_process_drains_all() {
    for asked in [0, 1] {
        let dir = TestDir::new();
        let running = long_run(&Cluster::new(&dir, 2, 1));
        running[asked].signal("TERM");
        let mut done: Vec<_> = running
            .into_iter()
            .map(|running| running.finish_within(RUN_TIMEOUT).assert_success().assert_stderr(&[]))
            .collect();
        assert!(done[asked].stderr.contains("shutting down"), "{}", done[asked].stderr);
        if asked == 1 {
            done = vec![done.swap_remove(0).assert_stderr(&["shutting down: process 1 received a stop request"])];
        }
        let found = changes(&dir.read("out.jsonl")).len() as u64;
        assert_eq!(done[0].summary().changes, found);
        // The last snapshot was taken at the end.
        let list = dir.deltarec(&["snapshot", "list", "--state", "state"]).assert_success().stdout;
        assert!(list.lines().count() > 2, "{list}");
    }
}

/// Without a run there is no summary.
#[test]
fn a_signal_ends_a_process_that_waits_for_others() {
    let dir = TestDir::new();
    let cluster = Cluster::new(&dir, 2, 1);
    for process in [0, 1] {
        let running = cluster.start(process, "--input - --output out.jsonl");
        std::thread::sleep(Duration::from_millis(300));
        running.signal("TERM");
        running.finish_within(RUN_TIMEOUT).assert_success();
    }
}

#[test]
fn the_death_of_a_process_ends_the_others_with_its_name() {
    for (killed, left) in [(1, 0), (0, 1)] {
        let dir = TestDir::new();
        let cluster = Cluster::new(&dir, 2, 2);
        let mut running = long_run(&cluster);
        running[killed].signal("KILL");
        let asked = Instant::now();
        let left = running.swap_remove(left).finish_within(RUN_TIMEOUT);
        println!("process {killed} was killed; the other ended after {:?}", asked.elapsed());
        left.assert_failure(
            3,
            &[&format!("process {killed}, {}, is lost", cluster.hosts[killed]), "start all of them again"],
        );
    }
}

#[test]
fn an_idle_cluster_notices_a_death() {
    let dir = TestDir::new();
    let cluster = Cluster::new(&dir, 3, 1);
    let mut running = cluster.start_all("--clock wall");
    running[0].send(&two_shoppers(now()));
    running[0].wait_for_output(RUN_TIMEOUT, "the change", |out| out.contains("butter"));
    running.remove(2).signal("KILL");
    for running in running {
        // Its stdin stays open. The first process to end is lost to the other one too.
        running.finish_within(RUN_TIMEOUT).assert_failure(3, &["is lost"]);
    }
}

#[test]
fn the_failure_of_process_0_ends_the_others() {
    let dir = TestDir::new();
    let mut packed = Vec::new();
    {
        use std::io::Write;
        let mut gzip = flate2::write::GzEncoder::new(&mut packed, flate2::Compression::fast());
        for at in 0..2_000 {
            gzip.write_all(event(&format!("u{at}"), &format!("p{}", at % 99), "view", 1_000 + at).as_bytes()).unwrap();
        }
    }
    packed.truncate(packed.len() / 2);
    dir.write("torn.jsonl.gz", packed);
    let mut running = Cluster::new(&dir, 2, 1).start_all("--input torn.jsonl.gz --output out.jsonl");
    let second = running.pop().unwrap().finish_within(RUN_TIMEOUT);
    running.pop().unwrap().finish_within(RUN_TIMEOUT).assert_failure(1, &["torn.jsonl.gz"]);
    second.assert_failure(3, &["process 0 has failed"]);
}

#[test]
fn a_process_may_die_and_return_before_the_start() {
    let dir = TestDir::new();
    dir.write("x.jsonl", two_shoppers(5));
    let cluster = Cluster::new(&dir, 3, 1);
    let first = cluster.start(0, "--input x.jsonl");
    for process in [1, 2, 1] {
        let linked = cluster.start(process, "");
        wait_for_stderr(&first, "process linked");
        std::thread::sleep(Duration::from_millis(200));
        linked.signal("KILL");
        linked.finish_within(RUN_TIMEOUT);
    }
    let others = [2, 1].map(|process| cluster.start(process, ""));
    assert!(first.finish_within(RUN_TIMEOUT).assert_success().stdout.contains("butter"));
    for running in others {
        running.finish_within(RUN_TIMEOUT).assert_success();
    }
}

/// Process 0 is restarted while the others have links to its predecessor.
#[test]
fn a_restarted_process_0_starts_another_run() {
    let dir = TestDir::new();
    dir.write("x.jsonl", two_shoppers(5));
    let cluster = Cluster::new(&dir, 3, 1);
    let second = cluster.start(1, "");
    for _ in 0..2 {
        let first = cluster.start(0, "--input x.jsonl");
        wait_for_stderr(&first, "process linked process=1");
        first.signal("KILL");
        first.finish_within(RUN_TIMEOUT);
    }
    let (third, first) = (cluster.start(2, ""), cluster.start(0, "--input x.jsonl"));
    assert!(first.finish_within(RUN_TIMEOUT).assert_success().stdout.contains("butter"));
    for running in [second, third] {
        running.finish_within(RUN_TIMEOUT).assert_success();
    }
}
