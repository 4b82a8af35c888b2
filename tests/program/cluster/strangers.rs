//! Whoever is not of the cluster is refused, before and after it has begun, and it does not matter to it.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use super::{Cluster, PATIENCE, hears};
use crate::program::{Place, Running, event, two_shoppers};

/// Connects as a stranger would, and says something. The connection is left open.
fn knock(address: &str, words: &[u8]) -> TcpStream {
    let asked = Instant::now();
    let mut socket = loop {
        match TcpStream::connect(address) {
            Ok(socket) => break socket,
            Err(error) => assert!(asked.elapsed() < PATIENCE, "{address}: {error}"),
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    socket.write_all(words).unwrap();
    socket
}

/// Whether nothing but a greeting came back before the connection was closed.
fn is_shown_out(mut socket: TcpStream) {
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut bytes = Vec::new();
    // Closed with something unread, a connection is reset.
    match socket.read_to_end(&mut bytes) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
    }
    assert!(bytes.len() <= 44, "{} bytes came back", bytes.len());
}

/// The start of a greeting, and then as good as anything.
fn greeting(protocol: u32) -> Vec<u8> {
    [b"deltarec".as_slice(), &protocol.to_be_bytes(), &[7; 32]].concat()
}

/// Strangers of every kind; returns those that are still silent.
fn strangers(address: &str) -> Vec<TcpStream> {
    // A port scan.
    knock(address, b"").shutdown(Shutdown::Both).unwrap();
    // Garbage, short and long; timely's own greeting; a browser.
    for words in [&[0xff_u8; 10_000][..], &[0; 8], &1_u64.to_be_bytes(), b"GET / HTTP/1.1\r\n\r\n"] {
        is_shown_out(knock(address, words));
    }
    // Another version; a proof that proves nothing; proofs cut off.
    is_shown_out(knock(address, &greeting(2)));
    is_shown_out(knock(address, &[greeting(1), vec![3; 144]].concat()));
    let cut = knock(address, &[greeting(1), vec![3; 100]].concat());
    cut.shutdown(Shutdown::Write).unwrap();
    is_shown_out(cut);
    // More silent ones than are heard at a time.
    (0..40).map(|at| knock(address, &greeting(1)[..at % 44])).collect()
}

#[test]
fn strangers_neither_get_in_nor_in_the_way() {
    let place = Place::new();
    place.write("other", "a secret that nobody here has");
    let cluster = Cluster::new(&place, 2, 1);
    let mut first = cluster.start(0, "");
    let silent = strangers(&cluster.hosts[0]);
    let refused = |args: &str, here: &str, there: &str| {
        let stranger = cluster.start(1, args);
        hears(&first, here);
        hears(&stranger, there);
        stranger.signal("TERM");
        stranger.end_within(PATIENCE).well();
    };
    refused("--secret-file other", "it has another secret", "do both have the same secret?");
    refused("--set graph.k=3", "it has another configuration", "it has another configuration");
    refused("--state state", "it has another configuration", "it has another configuration");
    let more = Cluster { place: &place, hosts: cluster.hosts.clone(), workers: 2 };
    let stranger = more.start(1, "");
    hears(&first, "with 2 workers each");
    hears(&stranger, "with 1 workers each");
    drop(stranger);

    let second = cluster.start(1, "");
    hears(&second, "are linked");
    let still_silent = strangers(&cluster.hosts[0]);
    let late = cluster.start(1, "");
    // Its own address is taken.
    hears(&late, "cannot listen at");
    drop(late);
    first.send(&two_shoppers(5));
    first.send(&event("eve", "bread", "view", 6));
    first.until(PATIENCE, "the changes", |out| out.contains("bob") && out.contains("eve"));
    drop((silent, still_silent));
    let told = ["does not speak deltarec's protocol", "version 2 of the protocol", "it closed the connection"];
    first.end().well().said(&told);
    second.end().well().said(&[]);
}

/// A whole cluster whose addresses are knocked at all the time comes together, and ends.
#[test]
fn a_flood_does_not_keep_a_cluster_from_coming_together() {
    let place = Place::new();
    place.write("x.jsonl", two_shoppers(5));
    let cluster = Cluster::new(&place, 3, 1);
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
            codes.push(running.end_within(PATIENCE).code);
        }
        over.store(true, std::sync::atomic::Ordering::Relaxed);
        assert_eq!(codes, [Some(0); 3]);
    });
}

#[test]
fn two_processes_with_one_number_do_not_both_get_in() {
    let place = Place::new();
    place.write("x.jsonl", two_shoppers(5));
    let cluster = Cluster::new(&place, 3, 1);
    let first = cluster.start(0, "--input x.jsonl");
    let second = cluster.start(1, "");
    hears(&first, "process 1 is linked");
    // The same number at another address: a mistake in somebody's hosts.
    let mut hosts = cluster.hosts.clone();
    hosts[1] = super::free_address();
    let twin: Running = Cluster { place: &place, hosts, workers: 1 }.start(1, "");
    hears(&twin, "process 1 is linked already: is it started twice?");
    hears(&first, "process 1 is linked already: is it started twice?");
    drop(twin);
    let third = cluster.start(2, "");
    assert!(first.end_within(PATIENCE).well().out.contains("butter"));
    for running in [second, third] {
        running.end_within(PATIENCE).well();
    }
}
