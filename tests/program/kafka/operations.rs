//! What an operator meets: garbage, brokers that go away, passwords, new partitions, errors in words.

use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::broker::{Broker, PATIENCE, any, assert_no_repeats, real, script};
use super::{Lists, Place, assert_same, expected, from_file, full, simulated, start, stop};

#[test]
fn garbage_goes_to_the_dead_letters_as_it_came() {
    let broker = any();
    let place = Place::new();
    let events = simulated(&place, "events=3000,users=100,items=80,seed=41");
    let expected = expected(&events);
    let input = broker.topic("events", 2, &[]);
    let (output, letters) = (broker.topic("lists", 0, &[]), broker.topic("letters", 0, &[]));
    broker.produce(&input, &events[..1500]);
    let unknown = br#"{"user":"u","item":"i","action":"bid","ts":1763900000000}"#;
    let garbage: Vec<(Option<&[u8]>, Option<&[u8]>)> = vec![
        (Some(b"k\xff"), Some(b"{\"user\":")),
        (None, Some(b"\xfe\xff\x00")),
        (Some(b"gone"), None),
        (Some(b"x"), Some(unknown)),
    ];
    broker.send_with(&input, garbage.clone(), &[("trace", b"\x01\xff"), ("shop", b"7")]);
    broker.produce(&input, &events[1500..]);
    let rejects = format!("--rejects {}", broker.uri(&letters));
    let running = start(&place, &broker, &input, &output, &rejects);
    broker.until(&output, &expected, "with garbage between");
    stop(running).said(&["4 rejected", "malformed 2", "not_utf8 1", "unknown_action 1", "partition"]);
    let letters = broker.read(&letters);
    let mut found: Vec<_> = letters.iter().map(|letter| (letter.key.as_deref(), letter.value.as_deref())).collect();
    let mut sent = garbage;
    found.sort();
    sent.sort();
    assert_eq!(found, sent, "key and value as they came");
    for letter in &letters {
        let header = |name: &str| String::from_utf8(letter.headers[name].clone()).unwrap();
        assert_eq!(header("deltarec.topic"), input);
        assert!(
            header("deltarec.partition").parse::<i32>().is_ok() && header("deltarec.offset").parse::<i64>().is_ok()
        );
        assert!(["malformed", "not_utf8", "unknown_action"].contains(&header("deltarec.reason").as_str()));
        assert!(!header("deltarec.detail").is_empty());
        assert_eq!((&letter.headers["trace"][..], &letter.headers["shop"][..]), (&b"\x01\xff"[..], &b"7"[..]));
    }
}

#[test]
fn a_broker_that_goes_away_is_waited_for() {
    if real("a_broker_that_goes_away_is_waited_for").is_none() {
        return;
    }
    let node = format!("outage-{}", std::process::id());
    let settings = script(&node, &["start"]);
    let address = settings.lines().find_map(|line| line.strip_prefix("export DELTAREC_KAFKA=")).unwrap().to_owned();
    let broker = Broker::at(address);
    let place = Place::new();
    let events = simulated(&place, "events=9000,users=300,items=200,seed=42");
    let expected = expected(&events);
    let (input, output) = (broker.topic("events", 2, &[]), broker.topic("lists", 2, &[("cleanup.policy", "compact")]));
    broker.produce(&input, &events[..3000]);
    let running = start(&place, &broker, &input, &output, "");
    running.err.until("changes are sent from now on", PATIENCE);
    broker.produce(&input, &events[3000..6000]);
    script(&node, &["stop"]);
    thread::sleep(Duration::from_secs(if full() { 30 } else { 5 }));
    script(&node, &["start"]);
    broker.produce(&input, &events[6000..]);
    let records = broker.until(&output, &expected, "after the broker was away");
    stop(running);
    assert_no_repeats(&records);
    script(&node, &["clean"]);
}

#[test]
fn partitions_that_are_added_are_read() {
    let Some(broker) = real("partitions_that_are_added_are_read") else { return };
    let place = Place::new();
    let events = simulated(&place, "events=6000,users=200,items=150,seed=43");
    let expected = expected(&events);
    let (input, output) = (broker.topic("events", 1, &[]), broker.topic("lists", 0, &[]));
    broker.produce(&input, &events[..3000]);
    let running = start(&place, &broker, &input, &output, "--set kafka.refresh=300ms --state state");
    running.err.until("changes are sent from now on", PATIENCE);
    broker.add_partitions(&input, 5);
    broker.produce(&input, &events[3000..]);
    broker.until(&output, &expected, "with new partitions");
    stop(running).said(&["new partitions [1, 2, 3, 4]"]);
    // They are part of the position.
    let running = start(&place, &broker, &input, &output, "--state state");
    running.err.until("changes are sent from now on", PATIENCE);
    stop(running).said(&["resuming from snapshot", ", 0 rejected"]);
    assert_same("new partitions", &broker.lists(&output), &expected, 100);
}

#[test]
fn memory_is_bounded_while_nobody_takes_the_changes() {
    let Some(broker) = real("memory_is_bounded_while_nobody_takes_the_changes") else { return };
    let place = Place::new();
    let repeats = if full() { 100 } else { 6 };
    let events = simulated(&place, "events=100000,users=1000,items=500,seed=44");
    let input = broker.topic("events", 4, &[]);
    for _ in 0..repeats {
        broker.produce(&input, &events);
    }
    // Its output is a pipe that nobody reads, so it stands still soon after the opening.
    let extra = super::Event { ts: events.last().unwrap().ts + 1, ..events[0].clone() };
    let mut child = Command::new(env!("CARGO_BIN_EXE_deltarec"))
        .args(["run", "--input", &broker.uri(&input), "--clock", "event", "--set", "graph.audience=all"])
        .args(["--set", "kafka.buffer=4MiB"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let memory = |id: u32| {
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap().trim().to_owned();
        line.strip_suffix(" kB").unwrap().parse::<u64>().unwrap() >> 10
    };
    // Everything is read, then the comparison fills the pipe, and then more comes than fits anywhere.
    let begun = Instant::now();
    let mut last = (0, Instant::now());
    while begun.elapsed() < PATIENCE && last.1.elapsed() < Duration::from_secs(4) {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
        let used: u64 = stat.rsplit_once(')').unwrap().1.split_whitespace().nth(11).unwrap().parse().unwrap();
        if used > last.0 + 10 {
            last = (used, Instant::now());
        }
        thread::sleep(Duration::from_millis(200));
    }
    let before = memory(child.id());
    for _ in 0..repeats {
        broker.produce(&input, &events);
    }
    broker.produce(&input, &[extra]);
    thread::sleep(Duration::from_secs(5));
    let after = memory(child.id());
    child.kill().unwrap();
    child.wait().unwrap();
    println!("peak {before} MiB before, {after} MiB with {} more records waiting", repeats * 100_000);
    assert!(after < before + 96, "{before} MiB, then {after} MiB");
}

#[test]
fn tls_and_sasl() {
    if real("tls_and_sasl").is_none() {
        return;
    }
    let var = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let names = ["DELTAREC_KAFKA_SASL", "DELTAREC_KAFKA_TLS", "DELTAREC_KAFKA_SASL_TLS", "DELTAREC_KAFKA_CA"];
    let [Some(sasl), Some(tls), Some(sasl_tls), Some(ca)] = names.map(var) else {
        println!("not run: this broker's TLS and SASL are not known ({names:?})");
        return;
    };
    let (user, password) = (var("DELTAREC_KAFKA_USER").unwrap(), var("DELTAREC_KAFKA_PASSWORD").unwrap());
    let plain = real("").unwrap();
    let place = Place::new();
    place.write("password", format!("{password}\n"));
    place.write("wrong", "let-me-in-please\n");
    let events = simulated(&place, "events=1500,users=60,items=50,seed=45");
    let expected = expected(&events);
    let sasl_with = |mechanism: &str, file: &str| {
        format!(
            "--set kafka.security.mechanism={mechanism} --set kafka.security.username={user} \
             --set kafka.security.password=file:{file}"
        )
    };
    let cases = [
        (&sasl, format!("--set kafka.security.protocol=sasl_plaintext {}", sasl_with("PLAIN", "password"))),
        (&sasl, format!("--set kafka.security.protocol=sasl_plaintext {}", sasl_with("SCRAM-SHA-256", "password"))),
        (&tls, format!("--set kafka.security.protocol=ssl --set kafka.security.ca={ca}")),
        (
            &sasl_tls,
            format!(
                "--set kafka.security.protocol=sasl_ssl --set kafka.security.ca={ca} {}",
                sasl_with("SCRAM-SHA-512", "password")
            ),
        ),
    ];
    for (address, settings) in cases {
        let broker = Broker::at(address.clone());
        let (input, output) = (plain.topic("events", 2, &[]), plain.topic("lists", 0, &[]));
        plain.produce(&input, &events);
        let running = start(&place, &broker, &input, &output, &settings);
        plain.until(&output, &expected, &settings);
        let done = stop(running);
        assert!(!done.err.contains(&password), "a password in the log:\n{}", done.err);
    }
    let topic = plain.topic("events", 1, &[]);
    let refused = |address: &str, settings: &str, parts: &[&str]| {
        let args = format!("--input kafka://{address}/{topic} {settings}");
        let done = place.run(&args).failed(1, parts);
        assert!(!done.err.contains("let-me-in-please"), "{}", done.err);
    };
    let wrong = |mechanism| format!("--set kafka.security.protocol=sasl_plaintext {}", sasl_with(mechanism, "wrong"));
    refused(&sasl, &wrong("PLAIN"), &["refused authentication", "kafka.security"]);
    refused(&sasl, &wrong("SCRAM-SHA-256"), &["refused authentication", "kafka.security"]);
    refused(&tls, "--set kafka.security.protocol=ssl", &["no TLS with the broker"]);
}

#[test]
fn errors_say_what_is_wrong_and_what_to_do() {
    let place = Place::new();
    let wrong = [
        ("--input kafka://127.0.0.1:9092", "no topic is named"),
        ("--input kafka:///events", "no broker is named"),
        ("--input kafka://ann:secret@host/t", "under [kafka.security]"),
        ("--output kafka://127.0.0.1:9092/t!", "a topic is 1 to 249 letters"),
        ("--input kafka://h:1/t --output kafka://h:1/t", "would be read as events"),
        ("--set kafka.options.acks=0", "kafka.delivery decides it"),
        ("--set kafka.options.isolation.level=read_uncommitted", "left out"),
        ("--set kafka.delivery=fast", "\"transactional\" or \"idempotent\""),
        ("--set kafka.security.protocol=sasl_ssl", "kafka.security.username"),
    ];
    for (args, part) in wrong {
        place.run(args).failed(2, &[part]);
    }
    let done = place.run("--set kafka.security.password=hunter2-hunter2").failed(2, &["env:VARIABLE", "(hidden)"]);
    assert!(!done.err.contains("hunter2"), "{}", done.err);
    let done = place.run("--set kafka.options.sasl.password=hunter2-hunter2").failed(2, &["kafka.security.password"]);
    assert!(!done.err.contains("hunter2"), "{}", done.err);
    place.run("--input kafka://127.0.0.1:1/events").failed(1, &["no broker answers", "check host and port"]);
    let Some(broker) = real("errors_say_what_is_wrong_and_what_to_do") else { return };
    let nowhere = broker.uri("nowhere");
    place.run(&format!("--input {nowhere}")).failed(1, &["there is no such topic"]);
    place
        .run(&format!("--output {nowhere} --set kafka.create=no"))
        .failed(1, &["there is no such topic", "kafka.create"]);
    place.run(&format!("--input {nowhere} --set kafka.options.no.such=1")).failed(1, &["no.such"]);
    let missing = "--set kafka.security.protocol=sasl_plaintext --set kafka.security.mechanism=PLAIN \
                   --set kafka.security.username=u --set kafka.security.password=env:DELTAREC_NO_SUCH";
    place.run(&format!("--input {nowhere} {missing}")).failed(1, &["DELTAREC_NO_SUCH"]);
}

#[test]
fn a_list_that_is_too_large_for_the_topic_is_named() {
    let Some(broker) = real("a_list_that_is_too_large_for_the_topic_is_named") else { return };
    let place = Place::new();
    let events = simulated(&place, "events=2000,users=60,items=50,seed=46");
    let _: Lists = from_file(&place);
    let input = broker.topic("events", 1, &[]);
    broker.produce(&input, &events);
    let output = broker.topic("lists", 1, &[("cleanup.policy", "compact"), ("max.message.bytes", "200")]);
    for delivery in ["transactional", "idempotent"] {
        let running = start(
            &place,
            &broker,
            &input,
            &output,
            &format!("--set kafka.delivery={delivery} --set kafka.compression=none"),
        );
        running.end_within(Duration::from_secs(60)).failed(1, &["too large", "max.message.bytes"]);
    }
}

#[test]
fn settings_of_an_output_topic_that_would_lose_lists_are_told() {
    let Some(broker) = real("settings_of_an_output_topic_that_would_lose_lists_are_told") else { return };
    let place = Place::new();
    let input = broker.topic("events", 1, &[]);
    let for_ever = [("cleanup.policy", "delete"), ("retention.ms", "-1"), ("retention.bytes", "-1")];
    let cases: [(&[(&str, &str)], Option<&str>); 4] = [
        (&[("cleanup.policy", "compact")], None),
        (&[("cleanup.policy", "delete"), ("retention.ms", "60000")], Some("with retention.ms 60000")),
        (&[("cleanup.policy", "compact,delete")], Some("lists that do not change for so long")),
        (&for_ever, Some("every change is kept for ever")),
    ];
    for (settings, warning) in cases {
        let output = broker.topic("lists", 1, settings);
        let running = start(&place, &broker, &input, &output, "");
        running.err.until("changes are sent from now on", PATIENCE);
        let done = stop(running);
        match warning {
            Some(warning) => drop(done.said(&[warning, "set cleanup.policy=compact"])),
            None => assert!(!done.err.contains("cleanup.policy"), "{}", done.err),
        }
    }
}
