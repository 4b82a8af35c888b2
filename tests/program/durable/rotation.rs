//! Inputs whose files are renamed, rotated or replaced between two runs: each event is read once, or the run is refused.

use std::fs;
use std::io::Write as _;
use std::process::Command;

use flate2::write::GzEncoder;

use super::super::{ProcessOutput, TestDir, event, gunzip};

const TS: u64 = 1_763_900_000_000;

/// Events `from..to` of a log whose lines have all the same length.
fn log(from: u64, to: u64) -> String {
    (from..to).map(|n| event(&format!("u{:03}", n % 50), &format!("p{:04}", n % 70), "view", TS + n * 1000)).collect()
}

fn csv(from: u64, to: u64) -> String {
    let rows = (from..to).map(|n| format!("u{},p{},view,{}\n", n % 50, n % 70, TS + n * 1000));
    std::iter::once("user,item,action,ts\n".to_owned()).chain(rows).collect()
}

fn write(dir: &TestDir, name: &str, text: &str) {
    if name.split('.').next_back() == Some("gz") {
        let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text.as_bytes()).unwrap();
        dir.write(name, encoder.finish().unwrap());
    } else {
        dir.write(name, text);
    }
}

fn text(dir: &TestDir, name: &str) -> String {
    let bytes = fs::read(dir.path(name)).unwrap();
    String::from_utf8(if name.split('.').next_back() == Some("gz") { gunzip(&bytes) } else { bytes }).unwrap()
}

/// Runs with a state, and returns how many events were read.
fn read(dir: &TestDir, inputs: &str) -> u64 {
    let done = dir.run(&format!("{inputs} --output out.jsonl --state state --set graph.audience=all"));
    let summary = done.assert_success().summary();
    assert_eq!(summary.rejected, 0);
    summary.events
}

fn refused(dir: &TestDir, inputs: &str, part: &str) {
    let before = text(dir, "out.jsonl");
    dir.run(&format!("{inputs} --output out.jsonl --state state --set graph.audience=all")).assert_failure(2, &[part]);
    assert_eq!(text(dir, "out.jsonl"), before, "a refused run writes nothing");
}

/// Runs with a state and nine events on stdin, which `input` names.
fn stdin(dir: &TestDir, input: &str) -> ProcessOutput {
    dir.run_with_stdin(&format!("--input {input} --output out.jsonl --state state"), log(0, 9).as_bytes())
}

#[test]
fn a_file_that_grows_is_continued() {
    for name in ["in.jsonl", "in.jsonl.gz"] {
        let dir = TestDir::new();
        let mut before = 0;
        // Less than a fingerprint, more than one, and many times as much.
        for to in [1, 5, 40, 41, 3000, 9000] {
            write(&dir, name, &log(0, to));
            assert_eq!(read(&dir, &format!("--input {name}")), to - before, "{name}, up to {to}");
            before = to;
        }
    }
}

#[test]
fn another_file_under_the_name_is_refused_whatever_its_length() {
    for name in ["in.jsonl", "in.jsonl.gz"] {
        for old in [2, 300, 9000] {
            let dir = TestDir::new();
            let inputs = format!("--input {name}");
            write(&dir, name, &log(0, old));
            assert_eq!(read(&dir, &inputs), old);
            for new in [1, old, 2 * old] {
                write(&dir, name, &log(10_000, 10_000 + new));
                refused(&dir, &inputs, "is not the file that was read before");
            }
            // The same start, and another end.
            if old > 100 {
                write(&dir, name, &(log(0, 50) + &log(20_000, 20_000 + 2 * old)));
                refused(&dir, &inputs, "differs from what was read");
                write(&dir, name, &log(0, old - 50));
                refused(&dir, &inputs, "ends before byte");
            }
            // As if nothing had happened.
            write(&dir, name, &log(0, old + 3));
            assert_eq!(read(&dir, &inputs), 3);
        }
    }
}

#[test]
fn rotated_files_are_read_to_their_ends_under_their_new_names() {
    for suffix in ["jsonl", "jsonl.gz", "csv"] {
        let of = |from, to| if suffix == "csv" { csv(from, to) } else { log(from, to) };
        let dir = TestDir::new();
        let name = |number: u32| format!("in.{number}.{suffix}");
        write(&dir, &name(0), &of(0, 500));
        assert_eq!(read(&dir, &format!("--input {}", name(0))), 500);
        // 100 events more, then a rotation, then 70 events.
        write(&dir, &name(1), &of(0, 600));
        write(&dir, &name(0), &of(600, 670));
        refused(&dir, &format!("--input {}", name(0)), "is not the file that was read before");
        let two = format!("--input {} --input {}", name(1), name(0));
        assert_eq!(read(&dir, &two), 170, "{suffix}");
        // And again: each file moves on.
        write(&dir, &name(2), &text(&dir, &name(1)));
        write(&dir, &name(1), &of(600, 680));
        write(&dir, &name(0), &of(680, 685));
        assert_eq!(read(&dir, &format!("--input {} {two}", name(2))), 15, "{suffix}");
        // The oldest is gone.
        write(&dir, &name(0), &of(680, 690));
        assert_eq!(read(&dir, &two), 5, "{suffix}");
    }
}

/// A program that rotates logs gives them names without a known extension, so their format must be named.
#[test]
fn rotated_files_are_known_with_options_in_their_names() {
    for input in ["in.log?format=json", "in.jsonl"] {
        let name = input.split('?').next().unwrap();
        let dir = TestDir::new();
        write(&dir, name, &log(0, 500));
        assert_eq!(read(&dir, &format!("--input {input}")), 500);
        write(&dir, "in.1", &log(0, 600));
        write(&dir, name, &log(600, 670));
        refused(&dir, &format!("--input {input}"), &format!("(--input OLD --input {input})"));
        let two = format!("--input in.1?format=json --input {input}");
        assert_eq!(read(&dir, &two), 170, "{input}");
        // And again: the oldest is compressed, and a new input has options of its own.
        write(&dir, "in.2.gz", &log(0, 600));
        write(&dir, "in.1", &log(600, 680));
        write(&dir, name, &log(680, 685));
        write(&dir, "new.dat", &csv(685, 690).replace(',', "::"));
        let four = format!("--input new.dat?delimiter=:: {two} --input in.2.gz?format=json&compression=gzip");
        assert_eq!(read(&dir, &four), 20, "{input}");
        // All but one are gone.
        write(&dir, name, &log(680, 690));
        assert_eq!(read(&dir, &format!("--input {input}")), 5, "{input}");
    }
}

#[test]
fn a_file_whose_options_are_others_is_refused_under_any_name() {
    let dir = TestDir::new();
    write(&dir, "in.log", &log(0, 500));
    assert_eq!(read(&dir, "--input in.log?format=json&action=view"), 500);
    let was = "the way the records of in.log are read was `in.log?format=json&action=view`";
    for other in ["in.log?format=json", "in.log?format=json&action=cart", "in.log?format=json&action=view&user=item"] {
        refused(&dir, &format!("--input {other}"), &format!("{was} and is `{other}`"));
    }
    fs::rename(dir.path("in.log"), dir.path("in.1")).unwrap();
    write(&dir, "in.log", &log(500, 600));
    let new = "--input in.log?format=json&action=view";
    refused(&dir, &format!("--input in.1?format=json {new}"), &format!("{was} and is `in.1?format=json`"));
    // What is the default may be named.
    assert_eq!(read(&dir, &format!("--input in.1?format=json&action=view&user=user {new}")), 100);

    let dir = TestDir::new();
    assert_eq!(stdin(&dir, "-?action=view").assert_success().summary().events, 9);
    stdin(&dir, "-?action=cart")
        .assert_failure(2, &["the records of - are read was `-?action=view` and is `-?action=cart`"]);
    assert_eq!(stdin(&dir, "-?action=view").assert_success().summary().events, 9);
}

#[test]
fn a_file_that_is_given_twice_is_known_by_its_options() {
    let dir = TestDir::new();
    let (views, carts) = ("?format=json&action=view", "?format=json&action=cart");
    write(&dir, "in", &log(0, 500));
    assert_eq!(read(&dir, &format!("--input in{views} --input in{carts}")), 1000);
    write(&dir, "in", &log(0, 510));
    assert_eq!(read(&dir, &format!("--input in{carts} --input in{views}")), 20);
    // A rotation, with new options for one of the new ones.
    write(&dir, "in.1", &log(0, 520));
    write(&dir, "in", &log(520, 530));
    let rotated = format!("--input in.1{views} --input in.1{carts}");
    assert_eq!(read(&dir, &format!("--input in{views} --input in?format=json {rotated}")), 40);
    // One is gone, and the other is known.
    write(&dir, "in.1", &log(0, 525));
    assert_eq!(read(&dir, &format!("--input in.1{carts}")), 5);
    refused(&dir, &format!("--input in.1{views}"), "the records of in.1 are read was `in.1?format=json&action=cart`");
}

#[test]
fn what_a_pipe_with_a_name_brings_after_a_restart_is_all_read() {
    let dir = TestDir::new();
    assert!(Command::new("mkfifo").arg(dir.path("pipe.jsonl")).status().unwrap().success());
    for (from, to) in [(0, 300), (300, 320), (320, 900)] {
        let path = dir.path("pipe.jsonl");
        let writer = std::thread::spawn(move || fs::write(path, log(from, to)).unwrap());
        assert_eq!(read(&dir, "--input pipe.jsonl"), to - from);
        writer.join().unwrap();
    }
}
