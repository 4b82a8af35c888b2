//! Operations: rejected records, outages of a broker, TLS and SASL, new partitions, error messages, topic settings.

use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::broker::{Broker, TOPIC_TIMEOUT, assert_no_repeats, kafka_script, real_broker, real_or_mock_broker};
use super::{
    TestDir, assert_lists_eq, expected_lists, full_size, lists_from_file, simulated, start, stop, wait_for_backfill,
};
use crate::program::cluster::write_secret;

#[test]
fn rejected_records_are_copied_unchanged_to_the_dead_letter_topic() {
    let broker = real_or_mock_broker();
    let dir = TestDir::new();
    let events = simulated(&dir, "events=3000,users=100,items=80,seed=41");
    let expected = expected_lists(&events);
    let input = broker.topic("events", 2, &[]);
    let (output, dead_letters) = (broker.topic("lists", 0, &[]), broker.topic("dead-letters", 0, &[]));
    broker.produce(&input, &events[..1500]);
    let unknown = br#"{"user":"u","item":"i","action":"bid","ts":1763900000000}"#;
    let bad_records: Vec<(Option<&[u8]>, Option<&[u8]>)> = vec![
        (Some(b"k\xff"), Some(b"{\"user\":")),
        (None, Some(b"\xfe\xff\x00")),
        (Some(b"gone"), None),
        (Some(b"x"), Some(unknown)),
    ];
    broker.send_with(&input, bad_records.clone(), &[("trace", b"\x01\xff"), ("shop", b"7")]);
    broker.produce(&input, &events[1500..]);
    let rejects = format!("--rejects {}", broker.uri(&dead_letters));
    let running = start(&dir, &broker, &input, &output, &rejects);
    broker.wait_for_lists(&output, &expected, "with bad records");
    stop(running).assert_stderr(&[
        "4 rejected",
        "malformed 1",
        "no_value 1",
        "not_utf8 1",
        "unknown_action 1",
        "partition",
    ]);
    let dead_letters = broker.read(&dead_letters);
    let mut found: Vec<_> =
        dead_letters.iter().map(|record| (record.key.as_deref(), record.value.as_deref())).collect();
    let mut sent = bad_records;
    found.sort();
    sent.sort();
    assert_eq!(found, sent, "key and value are unchanged");
    for record in &dead_letters {
        let header = |name: &str| String::from_utf8(record.headers[name].clone()).unwrap();
        assert_eq!(header("deltarec.topic"), input);
        assert!(
            header("deltarec.partition").parse::<i32>().is_ok() && header("deltarec.offset").parse::<i64>().is_ok()
        );
        assert!(["malformed", "no_value", "not_utf8", "unknown_action"].contains(&header("deltarec.reason").as_str()));
        assert!(!header("deltarec.detail").is_empty());
        assert_eq!((&record.headers["trace"][..], &record.headers["shop"][..]), (&b"\x01\xff"[..], &b"7"[..]));
    }
}

#[test]
fn a_run_survives_an_outage_of_the_broker() {
    if real_broker("a_run_survives_an_outage_of_the_broker").is_none() {
        return;
    }
    let node = format!("outage-{}", std::process::id());
    let settings = kafka_script(&node, &["start"]);
    let address = settings.lines().find_map(|line| line.strip_prefix("export DELTAREC_KAFKA=")).unwrap().to_owned();
    let broker = Broker::at(address);
    let dir = TestDir::new();
    let events = simulated(&dir, "events=9000,users=300,items=200,seed=42");
    let expected = expected_lists(&events);
    let (input, output) = (broker.topic("events", 2, &[]), broker.topic("lists", 2, &[("cleanup.policy", "compact")]));
    broker.produce(&input, &events[..3000]);
    let running = start(&dir, &broker, &input, &output, "");
    wait_for_backfill(&running);
    broker.produce(&input, &events[3000..6000]);
    kafka_script(&node, &["stop"]);
    thread::sleep(Duration::from_secs(if full_size() { 30 } else { 5 }));
    kafka_script(&node, &["start"]);
    broker.produce(&input, &events[6000..]);
    let records = broker.wait_for_lists(&output, &expected, "after the outage");
    stop(running);
    assert_no_repeats(&records);
    kafka_script(&node, &["clean"]);
}

#[test]
fn new_partitions_are_read() {
    let Some(broker) = real_broker("new_partitions_are_read") else { return };
    let dir = TestDir::new();
    let events = simulated(&dir, "events=6000,users=200,items=150,seed=43");
    let expected = expected_lists(&events);
    let (input, output) = (broker.topic("events", 1, &[]), broker.topic("lists", 0, &[]));
    broker.produce(&input, &events[..3000]);
    let running = start(&dir, &broker, &input, &output, "--set kafka.refresh=300ms --state state");
    wait_for_backfill(&running);
    broker.add_partitions(&input, 5);
    broker.produce(&input, &events[3000..]);
    broker.wait_for_lists(&output, &expected, "with new partitions");
    stop(running).assert_stderr(&["new partitions [1, 2, 3, 4]"]);
    // The positions in the snapshot include the new partitions.
    let running = start(&dir, &broker, &input, &output, "--state state");
    wait_for_backfill(&running);
    stop(running).assert_stderr(&["resuming from snapshot", ", 0 rejected"]);
    assert_lists_eq("new partitions", &broker.lists(&output), &expected, 100);
}

#[test]
fn memory_is_bounded_while_the_output_is_blocked() {
    let Some(broker) = real_broker("memory_is_bounded_while_the_output_is_blocked") else { return };
    let dir = TestDir::new();
    let repeats = if full_size() { 100 } else { 6 };
    let events = simulated(&dir, "events=100000,users=1000,items=500,seed=44");
    let input = broker.topic("events", 4, &[]);
    for _ in 0..repeats {
        broker.produce(&input, &events);
    }
    // The output is a pipe that is not read, so the run blocks soon after the output gate opens.
    let extra = super::Event { ts: events.last().unwrap().ts + 1, ..events[0].clone() };
    let mut child = Command::new(env!("CARGO_BIN_EXE_deltarec"))
        .args(["run", "--input", &broker.uri(&input), "--clock", "event", "--set", "graph.audience=all"])
        .args(["--set", "kafka.buffer=4MiB"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let peak_mib = |id: u32| {
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap().trim().to_owned();
        line.strip_suffix(" kB").unwrap().parse::<u64>().unwrap() >> 10
    };
    // Once everything is read the lists fill the pipe. The run is blocked when it has used no CPU time for four seconds.
    // Then more records arrive than its buffers can hold.
    let start_of_wait = Instant::now();
    let mut last_progress = (0, Instant::now());
    while start_of_wait.elapsed() < TOPIC_TIMEOUT && last_progress.1.elapsed() < Duration::from_secs(4) {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
        let used: u64 = stat.rsplit_once(')').unwrap().1.split_whitespace().nth(11).unwrap().parse().unwrap();
        if used > last_progress.0 + 10 {
            last_progress = (used, Instant::now());
        }
        thread::sleep(Duration::from_millis(200));
    }
    let before = peak_mib(child.id());
    for _ in 0..repeats {
        broker.produce(&input, &events);
    }
    broker.produce(&input, &[extra]);
    thread::sleep(Duration::from_secs(5));
    let after = peak_mib(child.id());
    child.kill().unwrap();
    child.wait().unwrap();
    println!("peak {before} MiB before, {after} MiB with {} more records in the topic", repeats * 100_000);
    assert!(after < before + 96, "{before} MiB, then {after} MiB");
}

#[test]
fn tls_and_sasl_connect_and_wrong_passwords_are_refused() {
    if real_broker("tls_and_sasl_connect_and_wrong_passwords_are_refused").is_none() {
        return;
    }
    let var = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let names = ["DELTAREC_KAFKA_SASL", "DELTAREC_KAFKA_TLS", "DELTAREC_KAFKA_SASL_TLS", "DELTAREC_KAFKA_CA"];
    let [Some(sasl), Some(tls), Some(sasl_tls), Some(ca)] = names.map(var) else {
        println!("skipped: the variables {names:?} are not all set");
        return;
    };
    let (user, password) = (var("DELTAREC_KAFKA_USER").unwrap(), var("DELTAREC_KAFKA_PASSWORD").unwrap());
    let plain = real_broker("").unwrap();
    let dir = TestDir::new();
    write_secret(&dir, "password", &format!("{password}\n"));
    write_secret(&dir, "wrong", "let-me-in-please\n");
    let events = simulated(&dir, "events=1500,users=60,items=50,seed=45");
    let expected = expected_lists(&events);
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
        let running = start(&dir, &broker, &input, &output, &settings);
        plain.wait_for_lists(&output, &expected, &settings);
        let done = stop(running);
        assert!(!done.stderr.contains(&password), "the log contains the password:\n{}", done.stderr);
    }
    let topic = plain.topic("events", 1, &[]);
    let assert_refused = |address: &str, settings: &str, parts: &[&str]| {
        let args = format!("--input kafka://{address}/{topic} {settings}");
        let done = dir.run(&args).assert_failure(1, parts);
        assert!(!done.stderr.contains("let-me-in-please"), "{}", done.stderr);
    };
    let wrong = |mechanism| format!("--set kafka.security.protocol=sasl_plaintext {}", sasl_with(mechanism, "wrong"));
    assert_refused(&sasl, &wrong("PLAIN"), &["refused authentication", "kafka.security"]);
    assert_refused(&sasl, &wrong("SCRAM-SHA-256"), &["refused authentication", "kafka.security"]);
    assert_refused(&tls, "--set kafka.security.protocol=ssl", &["TLS with the broker failed"]);
}

#[test]
fn errors_name_the_mistake_and_the_remedy() {
    let dir = TestDir::new();
    let wrong = [
        ("--input kafka://127.0.0.1:9092", "the topic is missing"),
        ("--input kafka:///events", "a broker is missing"),
        ("--input kafka://ann:secret@host/t", "under [kafka.security]"),
        ("--output kafka://127.0.0.1:9092/t!", "a topic is 1 to 249 letters"),
        ("--input kafka://h:1/t --output kafka://h:1/t", "would be read as records"),
        ("--set kafka.options.acks=0", "kafka.delivery determines it"),
        ("--set kafka.options.isolation.level=read_uncommitted", "must be omitted"),
        ("--set kafka.delivery=fast", "\"transactional\" or \"idempotent\""),
        ("--set kafka.security.protocol=sasl_ssl", "kafka.security.username"),
    ];
    for (args, part) in wrong {
        dir.run(args).assert_failure(2, &[part]);
    }
    let done =
        dir.run("--set kafka.security.password=hunter2-hunter2").assert_failure(2, &["env:VARIABLE", "(hidden)"]);
    assert!(!done.stderr.contains("hunter2"), "{}", done.stderr);
    let done =
        dir.run("--set kafka.options.sasl.password=hunter2-hunter2").assert_failure(2, &["kafka.security.password"]);
    assert!(!done.stderr.contains("hunter2"), "{}", done.stderr);
    dir.run("--input kafka://127.0.0.1:1/events").assert_failure(1, &["no broker answers", "check host and port"]);
    let Some(broker) = real_broker("errors_name_the_mistake_and_the_remedy") else { return };
    let nowhere = broker.uri("nowhere");
    dir.run(&format!("--input {nowhere}")).assert_failure(1, &["there is no such topic"]);
    dir.run(&format!("--output {nowhere} --set kafka.create=no"))
        .assert_failure(1, &["there is no such topic", "kafka.create"]);
    dir.run(&format!("--input {nowhere} --set kafka.options.no.such=1")).assert_failure(2, &["no.such"]);
    let missing = "--set kafka.security.protocol=sasl_plaintext --set kafka.security.mechanism=PLAIN \
                   --set kafka.security.username=u --set kafka.security.password=env:DELTAREC_NO_SUCH";
    dir.run(&format!("--input {nowhere} {missing}")).assert_failure(2, &["DELTAREC_NO_SUCH"]);
}

#[test]
fn a_list_too_large_for_the_topic_fails_the_run() {
    let Some(broker) = real_broker("a_list_too_large_for_the_topic_fails_the_run") else { return };
    let dir = TestDir::new();
    let events = simulated(&dir, "events=2000,users=60,items=50,seed=46");
    // A file takes these lists.
    lists_from_file(&dir);
    let input = broker.topic("events", 1, &[]);
    broker.produce(&input, &events);
    let output = broker.topic("lists", 1, &[("cleanup.policy", "compact"), ("max.message.bytes", "200")]);
    for delivery in ["transactional", "idempotent"] {
        let running = start(
            &dir,
            &broker,
            &input,
            &output,
            &format!("--set kafka.delivery={delivery} --set kafka.compression=none"),
        );
        running
            .finish_within(Duration::from_secs(60))
            .assert_failure(1, &["too large", "(that of `", "max.message.bytes"]);
    }
}

#[test]
fn settings_of_an_output_topic_that_can_lose_lists_are_warned_about() {
    let Some(broker) = real_broker("settings_of_an_output_topic_that_can_lose_lists_are_warned_about") else { return };
    let dir = TestDir::new();
    let input = broker.topic("events", 1, &[]);
    let unlimited = [("cleanup.policy", "delete"), ("retention.ms", "-1"), ("retention.bytes", "-1")];
    let cases: [(&[(&str, &str)], Option<&str>); 4] = [
        (&[("cleanup.policy", "compact")], None),
        (&[("cleanup.policy", "delete"), ("retention.ms", "60000")], Some("with retention.ms 60000")),
        (&[("cleanup.policy", "compact,delete")], Some("records older than that are deleted")),
        (&unlimited, Some("old records are never deleted")),
    ];
    for (settings, warning) in cases {
        let output = broker.topic("lists", 1, settings);
        let running = start(&dir, &broker, &input, &output, "");
        wait_for_backfill(&running);
        let done = stop(running);
        match warning {
            Some(warning) => drop(done.assert_stderr(&[warning, "set cleanup.policy=compact"])),
            None => assert!(!done.stderr.contains("cleanup.policy"), "{}", done.stderr),
        }
    }
}
