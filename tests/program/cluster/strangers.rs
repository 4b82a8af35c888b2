//! Connections that do not belong to the cluster are refused, before and after the start, and do not disturb it.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use super::{Cluster, RUN_TIMEOUT, wait_for_stderr};
use crate::program::{RunningProcess, TestDir, event, two_shoppers};

/// Connects and sends bytes. The connection stays open.
fn send_bytes(address: &str, bytes: &[u8]) -> TcpStream {
    let asked = Instant::now();
    let mut socket = loop {
        match TcpStream::connect(address) {
            Ok(socket) => break socket,
            Err(error) => assert!(asked.elapsed() < RUN_TIMEOUT, "{address}: {error}"),
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    socket.write_all(bytes).unwrap();
    socket
}

/// At most a greeting comes back before the connection is closed.
fn assert_refused(mut socket: TcpStream) {
    socket.set_read_timeout(Some(RUN_TIMEOUT)).unwrap();
    let mut bytes = Vec::new();
    // A socket closed with unread bytes resets the connection.
    match socket.read_to_end(&mut bytes) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
    }
    assert!(bytes.len() <= 48, "{} bytes came back", bytes.len());
}

/// A greeting with this version.
fn greeting(protocol: u32) -> Vec<u8> {
    [b"deltarec".as_slice(), &protocol.to_be_bytes(), &1_u32.to_be_bytes(), &[7; 32]].concat()
}

/// Connects strangers of every kind. Returns those that send nothing more.
fn strangers(address: &str) -> Vec<TcpStream> {
    // A port scan.
    send_bytes(address, b"").shutdown(Shutdown::Both).unwrap();
    // Garbage, short and long; timely's own greeting; a browser.
    for bytes in [&[0xff_u8; 10_000][..], &[0; 8], &1_u64.to_be_bytes(), b"GET / HTTP/1.1\r\n\r\n"] {
        assert_refused(send_bytes(address, bytes));
    }
    // Another version; an invalid proof; a truncated proof.
    assert_refused(send_bytes(address, &greeting(3)));
    assert_refused(send_bytes(address, &[greeting(2), vec![3; 160]].concat()));
    let cut = send_bytes(address, &[greeting(2), vec![3; 100]].concat());
    cut.shutdown(Shutdown::Write).unwrap();
    assert_refused(cut);
    // More silent connections than handshakes at a time.
    (0..40).map(|at| send_bytes(address, &greeting(2)[..at % 48])).collect()
}

#[test]
fn refuses_strangers_before_and_after_the_start() {
    let dir = TestDir::new();
    super::write_secret(&dir, "other", "a secret that nobody here has");
    let cluster = Cluster::new(&dir, 2, 1);
    let mut first = cluster.start(0, "");
    let silent = strangers(&cluster.hosts[0]);
    let refused = |args: &str, here: &str, there: &str| {
        let stranger = cluster.start(1, args);
        wait_for_stderr(&first, here);
        wait_for_stderr(&stranger, there);
        stranger.signal("TERM");
        stranger.finish_within(RUN_TIMEOUT).assert_success();
    };
    refused("--secret-file other", "it has another secret", "check that both have the same secret");
    refused("--set graph.k=3", "it has another configuration", "it has another configuration");
    refused("--state state", "it has another configuration", "it has another configuration");
    super::write_secret(&dir, "key", "the identity key of a stranger");
    refused("--set identity.key=file:key", "it has another identity.key", "it has another identity.key");
    let more = Cluster { dir: &dir, hosts: cluster.hosts.clone(), workers: 2 };
    let stranger = more.start(1, "");
    wait_for_stderr(&first, "with 2 workers each");
    wait_for_stderr(&stranger, "with 1 workers each");
    drop(stranger);

    let second = cluster.start(1, "");
    wait_for_stderr(&second, "are linked");
    let still_silent = strangers(&cluster.hosts[0]);
    let late = cluster.start(1, "");
    // Its own address is in use.
    wait_for_stderr(&late, "cannot listen at");
    drop(late);
    first.send(&two_shoppers(5));
    first.send(&event("eve", "bread", "view", 6));
    first.wait_for_output(RUN_TIMEOUT, "the changes", |out| out.contains("bob") && out.contains("eve"));
    drop((silent, still_silent));
    let refusals = ["does not speak deltarec's protocol", "version 3 of the protocol", "it closed the connection"];
    first.finish().assert_success().assert_stderr(&refusals);
    second.finish().assert_success().assert_stderr(&[]);
}

/// Lines of the log about refused connections.
fn refusals(running: &RunningProcess) -> usize {
    running.stderr.text().matches("connection refused").count()
}

/// What strangers can vary, such as the version that they claim, makes no new kind.
#[test]
fn strangers_cannot_flood_the_log() {
    let dir = TestDir::new();
    let cluster = Cluster::new(&dir, 2, 1);
    let first = cluster.start(0, "");
    let started = Instant::now();
    for version in 100..400 {
        assert_refused(send_bytes(&cluster.hosts[0], &greeting(version)));
        assert_refused(send_bytes(&cluster.hosts[0], &[greeting(2), version.to_be_bytes().repeat(40)].concat()));
    }
    wait_for_stderr(&first, "it has another secret");
    let intervals = started.elapsed().as_secs() / 10 + 1;
    let lines = refusals(&first) as u64;
    println!("{lines} lines for 600 connections in {:?}", started.elapsed());
    assert!(lines <= 2 * intervals, "{}", first.stderr.text());
    first.signal("TERM");
    first.finish_within(RUN_TIMEOUT).assert_success();
}

/// All addresses get new connections all the time, and the cluster starts and ends all the same.
#[test]
fn a_flood_of_connections_does_not_prevent_the_start() {
    let dir = TestDir::new();
    dir.write("x.jsonl", two_shoppers(5));
    let cluster = Cluster::new(&dir, 3, 1);
    let over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for address in &cluster.hosts {
            let over = &over;
            scope.spawn(move || {
                let mut held = Vec::new();
                while !over.load(std::sync::atomic::Ordering::Relaxed) {
                    if let Ok(socket) = TcpStream::connect(address) {
                        held.push(socket);
                    }
                    held.truncate(200);
                    std::thread::sleep(Duration::from_millis(2));
                }
            });
        }
        let running = cluster.start_all("--input x.jsonl");
        let mut codes = Vec::new();
        for running in running {
            codes.push(running.finish_within(RUN_TIMEOUT).code);
        }
        over.store(true, std::sync::atomic::Ordering::Relaxed);
        assert_eq!(codes, [Some(0); 3]);
    });
}

#[test]
fn refuses_a_second_process_with_the_same_number() {
    let dir = TestDir::new();
    dir.write("x.jsonl", two_shoppers(5));
    let cluster = Cluster::new(&dir, 3, 1);
    let first = cluster.start(0, "--input x.jsonl");
    let second = cluster.start(1, "");
    wait_for_stderr(&first, "process linked process=1");
    // The same number at another address: a mistake in a list of hosts.
    let mut hosts = cluster.hosts.clone();
    hosts[1] = super::free_address();
    let twin: RunningProcess = Cluster { dir: &dir, hosts, workers: 1 }.start(1, "");
    wait_for_stderr(&twin, "process 1 is linked already: is it started twice?");
    wait_for_stderr(&first, "process 1 is linked already: is it started twice?");
    drop(twin);
    let third = cluster.start(2, "");
    assert!(first.finish_within(RUN_TIMEOUT).assert_success().stdout.contains("butter"));
    for running in [second, third] {
        running.finish_within(RUN_TIMEOUT).assert_success();
    }
}
