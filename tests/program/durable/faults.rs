//! Faults drawn from a seed: any thread fails or panics at any moment, the store answers 500, the disk is full. Each run ends
//! with its reason or goes on, and the output after a restart is that of an undisturbed run.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use proptest::prelude::Rng as _;
use proptest::test_runner::{RngAlgorithm, TestRng};

use super::super::disk::Disk;
use super::super::supervision::{HAS_FAULTS, assert_end, command_with};
use super::cloud::{Cloud, access};
use super::*;

/// Generous limit for a run that takes a second or two.
const LIMIT: Duration = Duration::from_secs(60);

/// Points of the program, with passages of an undisturbed run from which the fault is drawn; whether a thread can pass on an
/// error there, and whether the run goes on after the error.
const POINTS: [(&str, u64, bool, bool); 14] = [
    ("reader.poll", 3, true, false),
    ("reader.send", 1_000, false, false),
    ("reader.reject", 20, true, false),
    ("coordinator.step", 3_000, false, false),
    ("worker.step", 2_000, false, false),
    ("graph.collect", 1_000, false, false),
    ("graph.snapshot", 20, false, false),
    ("writer.write", 300, true, false),
    ("writer.flush", 300, true, false),
    ("writer.close", 1, true, false),
    ("snapshot.pack", 300, false, false),
    ("snapshot.put", 300, true, true),
    ("snapshot.publish", 5, true, true),
    ("decoder.start", 2, false, false),
];

struct Round<'l> {
    input: &'l str,
    expected: &'l str,
    cloud: Option<&'l Cloud>,
}

impl Round<'_> {
    fn run(&self, seed: u64) {
        let mut random = TestRng::from_seed(
            RngAlgorithm::ChaCha,
            &std::array::from_fn::<u8, 32, _>(|at| seed.to_le_bytes()[at % 8]),
        );
        let mut draw = |below: u64| random.next_u64() % below;
        let dir = TestDir::new();
        dir.write("in.jsonl", self.input);
        match draw(8) {
            0 if self.cloud.is_some() => self.flaky_store(&dir, seed, &mut draw),
            1 => self.full_disk(&dir, &mut draw),
            _ => self.faults(&dir, seed, &mut draw),
        }
    }

    /// Up to three runs with a fault each, and one without.
    fn faults(&self, dir: &TestDir, seed: u64, draw: &mut impl FnMut(u64) -> u64) {
        for _ in 0..=draw(3) {
            let (point, passages, has_errors, survives) = POINTS[draw(POINTS.len() as u64) as usize];
            let action = ["panic", "error"][usize::from(has_errors && draw(2) == 1)];
            let fault = format!("{point}={action}@{}", 1 + draw(passages));
            let args = arguments("out.jsonl", Some("state"), [1, 2, 4][draw(3) as usize]);
            let started = Instant::now();
            let done = dir.spawn(command_with(&fault, &args)).finish_within(LIMIT);
            println!("round {seed}: {fault}: exit {:?} after {:?}", done.code, started.elapsed());
            match (done.code, action) {
                // The point was not passed so often.
                (Some(0), _) => {}
                // The last snapshot of the run has failed.
                (Some(1), "error") if survives => assert_end(&done, 1, &["the last snapshot is not complete"]),
                (_, "error") => assert_end(&done, 1, &["injected error at ", point]),
                _ => assert_end(&done, 1, &["panicked: injected panic at ", point]),
            }
        }
        self.finish(dir, "out.jsonl", &format!("round {seed}"));
    }

    /// A disk with room for a part of the output.
    fn full_disk(&self, dir: &TestDir, draw: &mut impl FnMut(u64) -> u64) {
        let folder = dir.path("disk");
        let Some(disk) = Disk::new(&folder, &format!("{}k", 16 + 4 * draw(20))) else { return };
        let done = dir.begin(&arguments("disk/out.jsonl", Some("state"), 2)).finish_within(LIMIT);
        if done.code != Some(0) {
            assert_end(&done, 1, &["disk/out.jsonl", "free some space"]);
        }
        disk.grow("64m");
        self.finish(dir, "disk/out.jsonl", "full disk");
    }

    /// A store that answers 500 to some requests in a row.
    fn flaky_store(&self, dir: &TestDir, seed: u64, draw: &mut impl FnMut(u64) -> u64) {
        let cloud = self.cloud.expect("checked by the caller");
        let state = format!("s3://shop/round{seed}");
        let port = flaky(cloud.port, 1 + draw(20), 1 + draw(3));
        let mut command = command_with("", &arguments("out.jsonl", Some(&state), 2));
        access(&mut command, port);
        let done = dir.spawn(command).finish_within(LIMIT).assert_success();
        println!("round {seed}: a store that fails: {}", done.stderr.lines().last().unwrap_or_default());
        assert_same_stream("a store that fails", &dir.read("out.jsonl"), self.expected);
    }

    /// A run without faults: nothing is lost, nothing doubled, no lock is left, and all snapshots are sound.
    fn finish(&self, dir: &TestDir, output: &str, what: &str) {
        dir.begin(&arguments(output, Some("state"), 2)).finish_within(LIMIT).assert_success();
        assert_same_stream(what, &dir.read(output), self.expected);
        let state = listed(dir, "state");
        assert!((1..=3).contains(&state.len()) && state.iter().all(|(_, what)| what == "whole"), "{state:?}");
        dir.deltarec(&["snapshot", "verify", "--state", "state"]).assert_success();
    }
}

/// A server before another one: from connection `first` on it answers the next `count` with 500. Returns its port.
fn flaky(port: u16, first: u64, count: u64) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let own = listener.local_addr().unwrap().port();
    let connections = Arc::new(AtomicU64::new(0));
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut client) = stream else { return };
            let connections = Arc::clone(&connections);
            thread::spawn(move || {
                let number = connections.fetch_add(1, Relaxed);
                if (first..first + count).contains(&number) {
                    let mut request = [0; 1 << 12];
                    if client.read(&mut request).is_ok() {
                        drop(client.write_all(
                            b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
                        ));
                    }
                    return;
                }
                let Ok(server) = TcpStream::connect(("127.0.0.1", port)) else { return };
                let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                thread::spawn(move || std::io::copy(&mut from, &mut to));
                let mut server = server;
                drop(std::io::copy(&mut server, &mut client));
            });
        }
    });
    own
}

fn rounds(seeds: std::ops::Range<u64>, cloud: Option<&Cloud>) {
    if !HAS_FAULTS {
        println!("skipped: this build has no faults (--features faults)");
        return;
    }
    let dir = TestDir::new();
    let events = log(&dir, 1_500, 19);
    let mut input = String::new();
    for (n, event) in events.iter().enumerate() {
        input += &lines([event]);
        if n % 70 == 69 {
            input += "nonsense\n";
        }
    }
    dir.write("in.jsonl", &input);
    dir.begin(&arguments("expected.jsonl", None, 1)).finish().assert_success();
    let expected = dir.read("expected.jsonl");
    let round = Round { input: &input, expected: &expected, cloud };
    seeds.for_each(|seed| round.run(seed));
}

#[test]
fn random_faults_do_not_change_the_output() {
    rounds(0..6, None);
}

#[test]
#[ignore = "long: scripts/long_tests"]
fn two_hundred_random_faults_do_not_change_the_output() {
    let count = std::env::var("DELTAREC_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(200);
    rounds(1_000..1_000 + count, Cloud::new().as_ref());
}
