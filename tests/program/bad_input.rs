//! Damaged inputs and failing outputs: nothing is lost silently, and every message says where it happened and what to do.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::disk::Disk;
use super::{TestDir, changes, event, final_lists, now, two_shoppers};

#[test]
fn a_truncated_file_exits_with_1_and_keeps_the_output_of_the_lines_before() {
    let dir = TestDir::new();
    dir.deltarec(&["generate", "events=20000,users=500,items=300,seed=5", "--output", "x.jsonl.gz"]).assert_success();
    let whole = fs::read(dir.path("x.jsonl.gz")).unwrap();
    dir.write("cut.jsonl.gz", &whole[..whole.len() / 2]);
    let done = dir
        .run("--input cut.jsonl.gz --output out.jsonl")
        .assert_failure(1, &["deltarec: cut.jsonl.gz: line ", "truncated"]);
    let line: u64 =
        done.stderr.split_once("cut.jsonl.gz: line ").unwrap().1.split_once(',').unwrap().0.parse().unwrap();
    assert_eq!(done.summary().events, line - 1, "all complete lines before it count");
    let found = changes(&dir.read("out.jsonl"));
    assert!(found.len() > 100);
    assert_eq!(done.summary().changes, found.len() as u64);
    // The message names the cause once.
    let last = done.stderr.lines().last().unwrap();
    assert_eq!(last.matches("incomplete").count() + last.matches("unexpected end").count(), 1, "{last}");

    dir.write("damaged.jsonl.gz", [&whole[..9000], b"noise", &whole[9000..]].concat());
    dir.run("--input damaged.jsonl.gz").assert_failure(1, &["damaged.jsonl.gz: line ", "damaged"]);
    dir.write("plain.jsonl.gz", two_shoppers(5));
    dir.run("--input plain.jsonl.gz")
        .assert_failure(1, &["plain.jsonl.gz: line 1,", "not compressed as its name says"]);
    dir.write("noise.jsonl.zst", b"noise");
    dir.run("--input noise.jsonl.zst").assert_failure(1, &["noise.jsonl.zst"]);
}

/// A message shows what is there, and not more of it than fits.
#[test]
fn messages_distinguish_strings_from_numbers_and_are_short() {
    let dir = TestDir::new();
    let record = |ts: &str| format!("{{\"user\":\"u\",\"item\":\"i\",\"action\":\"view\",\"ts\":{ts}}}\n");
    let digits = format!("1{}", "0".repeat(300));
    for (ts, part) in [
        ("\"1763900000000\"", "found the string `1763900000000`; to read text, name its format, as in ts=NAME:ms"),
        ("\"noon\"", "found the string `noon`"),
        ("\"Infinity\"", "found `Infinity`"),
        ("true", "found true"),
        ("1e999", "timestamp of more than 30 digits is outside"),
        ("-1e999", "timestamp of more than 30 digits is outside"),
        (&*digits, "timestamp of more than 30 digits is outside"),
    ] {
        dir.write("in.jsonl", two_shoppers(5) + &record(ts));
        dir.run("--input in.jsonl --rejects rejects.jsonl --quiet").assert_success();
        let rejected: Value = serde_json::from_str(&dir.read("rejects.jsonl")).unwrap();
        let detail = rejected["detail"].as_str().unwrap();
        assert!(detail.contains(part) && detail.len() < 200, "{ts}: {detail}");
    }
    // In CSV everything is text.
    dir.write("in.csv", "user,item,action,ts\nu,i,view,5\nu,i,view,noon\n");
    dir.run("--input in.csv").assert_success().assert_stderr(&["milliseconds, found `noon`"]);
}

/// Bad records, each with the code of its reason and a part of its message.
const BAD: [(&[u8], &str, &str); 22] = [
    (b"{\"user\":\"\xff\",\"item\":\"a\",\"action\":\"view\",\"ts\":1}", "not_utf8", "UTF-8"),
    (b"[{\"user\":\"a\",\"item\":\"b\",\"action\":\"view\",\"ts\":1}]", "malformed", "one JSON object"),
    (b"not json", "malformed", "column 2"),
    (b"{\"user\":\"a\"", "malformed", "EOF"),
    (b"{\"user\":\"a\",\"item\":\"b\",\"action\":\"view\",\"ts\":1} x", "malformed", "trailing"),
    (b"{\"item\":\"b\",\"action\":\"view\",\"ts\":1}", "missing:user", "`user` is missing"),
    (b"{\"user\":\"\",\"item\":\"b\",\"action\":\"view\",\"ts\":1}", "missing:user", "`user` is empty"),
    (b"{\"user\":\"a\",\"item\":\"b\",\"ts\":1}", "missing:action", "`action` is missing"),
    (b"{\"user\":\"a\",\"item\":\"b\",\"action\":\"view\"}", "missing:ts", "`ts` is missing"),
    (b"{\"user\":1.5,\"item\":\"b\",\"action\":\"view\",\"ts\":1}", "wrong_type:user", "1.5"),
    (b"{\"user\":\"a\",\"item\":null,\"action\":\"view\",\"ts\":1}", "wrong_type:item", "null"),
    (b"{\"user\":\"a\",\"item\":\"b\",\"action\":1.5,\"ts\":1}", "wrong_type:action", "1.5"),
    (b"{\"user\":\"a\",\"item\":\"b\",\"action\":\"view\",\"ts\":\"1\"}", "wrong_type:ts", "milliseconds"),
    (b"{\"user\":\"a\",\"item\":\"b\",\"action\":\"view\",\"ts\":-1}", "time_out_of_range", "-1"),
    (b"{\"user\":\"a\",\"item\":\"b\",\"action\":\"view\",\"ts\":9007199254740992}", "time_out_of_range", "2^53-1"),
    (b"{\"user\":\"a\",\"item\":\"b\",\"action\":\"view\",\"ts\":1e300}", "time_out_of_range", "2^53-1"),
    (b"{\"user\":\"a\",\"item\":\"b\",\"action\":\"view\",\"ts\":9007199254740991}", "future", "in the future"),
    (b"{\"user\":\"a\",\"item\":\"b\",\"action\":\"vew\",\"ts\":1}", "unknown_action", "`vew`"),
    (b"{\"user\":\"a\",\"item\":\"b\",\"action\":\"View\",\"ts\":1}", "unknown_action", "`View`"),
    (b"{\"user\":\"a\",\"item\":\"b\",\"action\":\"watch\",\"ts\":1}", "bad_dwell", "dwell_ms"),
    (b"{\"user\":\"a\",\"item\":\"b\",\"action\":\"watch\",\"ts\":1,\"dwell_ms\":-1}", "bad_dwell", "dwell_ms"),
    (
        b"{\"user\":\"a\",\"item\":\"b\",\"action\":\"watch\",\"ts\":1,\"dwell_ms\":\"9\"}",
        "wrong_type:dwell_ms",
        "dwell_ms",
    ),
];

#[test]
fn every_bad_record_is_counted_logged_and_written_to_the_rejects_file() {
    let dir = TestDir::new();
    let good = two_shoppers(5);
    let mut input = good.clone().into_bytes();
    for (record, ..) in BAD {
        input.extend_from_slice(record);
        input.push(b'\n');
    }
    // Good records before and after them, and a blank line, which is not a record.
    input.extend_from_slice(b"\n{\"user\":7,\"item\":\"bread\",\"action\":\"pv\",\"ts\":5,\"price\":{\"eur\":[1]}}\n");
    dir.write("bad.jsonl", &input);
    let done = dir.run("--input bad.jsonl --rejects rejects.jsonl").assert_success().assert_stderr(&[]);

    let summary = done.summary();
    assert_eq!((summary.events, summary.rejected), (4, BAD.len() as u64));
    let mut codes: Vec<&str> = BAD.iter().map(|(_, code, _)| *code).collect();
    codes.sort_unstable();
    let counts: Vec<&str> = summary
        .rejected_by
        .iter()
        .flat_map(|(code, count)| std::iter::repeat_n(code.as_str(), usize::try_from(*count).unwrap()))
        .collect();
    assert_eq!(counts, codes);
    let users: Vec<String> = final_lists(&changes(&done.stdout)).into_keys().collect();
    assert_eq!(users, ["7", "bob"], "the good records before and after the bad ones count");

    let rejects = dir.read("rejects.jsonl");
    let mut rejects: Vec<Value> = rejects.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    rejects.sort_by_key(|reject| reject["line"].as_u64());
    assert_eq!(rejects.len(), BAD.len());
    let mut offset = good.len();
    let mut logged_codes = Vec::new();
    for (index, (reject, (record, code, message))) in rejects.iter().zip(BAD).enumerate() {
        let line = index + 4;
        assert_eq!(reject["reason"], code, "{reject}");
        assert_eq!(reject["line"], line, "{reject}");
        assert_eq!(reject["offset"], offset, "{reject}");
        assert_eq!(reject["source"], "bad.jsonl", "{reject}");
        assert!(reject["detail"].as_str().unwrap().contains(message), "{reject}");
        let kept = reject["record"].as_str().unwrap();
        match serde_json::from_slice::<Value>(record) {
            Ok(record) if !record.is_array() => assert_eq!(serde_json::from_str::<Value>(kept).unwrap(), record),
            _ => assert_eq!(kept, String::from_utf8_lossy(record)),
        }
        offset += record.len() + 1;
        // Only the first record of each reason is logged.
        let logged = done.stderr.contains(&format!(" WARN reader: bad.jsonl:{line}: "));
        assert_eq!(logged, !logged_codes.contains(&code), "line {line} in:\n{}", done.stderr);
        logged_codes.push(code);
    }
}

#[test]
fn bad_csv_rows_are_rejected_and_the_rows_after_them_are_read() {
    let dir = TestDir::new();
    dir.write(
        "bad.csv",
        "user,item,action,ts\nann,bread,buy,5\n,bread,view,5\nann,butter,buy,soon\nann,butter\nann,\"but\"\"ter\",buy,5\n\
         bob,bread,view,5\nann,tea,view,\"5\n",
    );
    let done = dir.run("--input bad.csv --rejects rejects.jsonl.gz").assert_success();
    let summary = done.summary();
    assert_eq!(summary.events, 3, "{}", done.stderr);
    let counts: Vec<(&str, u64)> = summary.rejected_by.iter().map(|(code, count)| (code.as_str(), *count)).collect();
    assert_eq!(counts, [("malformed", 2), ("missing:user", 1), ("wrong_type:ts", 1)]);
    assert_eq!(changes(&done.stdout)[0].entered, ["but\"ter"]);
    let rejects = super::gunzip(&fs::read(dir.path("rejects.jsonl.gz")).unwrap());
    assert_eq!(String::from_utf8(rejects).unwrap().lines().count(), 4);
}

#[test]
fn an_overlong_line_is_rejected_with_bounded_memory() {
    let dir = TestDir::new();
    let good = two_shoppers(5);
    let input = [good.as_bytes(), &vec![b'x'; 100 << 20], b"\n", event("eve", "butter", "view", 5).as_bytes()].concat();
    dir.write("long.jsonl", input);
    let done = dir
        .run("--input long.jsonl --rejects rejects.jsonl")
        .assert_success()
        .assert_stderr(&["long.jsonl:4: record longer than"]);
    let summary = done.summary();
    assert_eq!((summary.events, summary.rejected), (4, 1));
    assert!(summary.peak_mib < 100, "peak memory {} MiB", summary.peak_mib);
    let users: Vec<String> = final_lists(&changes(&done.stdout)).into_keys().collect();
    assert_eq!(users, ["bob", "eve"], "the line after it is read");
    assert!(dir.read("rejects.jsonl").len() < 8 << 10, "only a part of the record is kept");
}

#[test]
fn a_json_array_is_rejected_line_by_line() {
    let dir = TestDir::new();
    let array = format!("[\n{}\n]\n", two_shoppers(5).trim_end().replace('\n', ",\n"));
    dir.write("array.jsonl", array);
    let done = dir.run("--input array.jsonl").assert_success().assert_stderr(&["array.jsonl:1: malformed record"]);
    // The last element has no comma after it, so its line is a good record.
    assert_eq!((done.summary().events, done.summary().rejected), (1, 4));
}

#[test]
fn an_empty_input_succeeds() {
    let dir = TestDir::new();
    dir.write("empty.jsonl", "");
    dir.write("empty.csv", "");
    dir.write("blank.jsonl", "\n\n\n");
    dir.write("header.csv", "user,item,action,ts\n");
    for input in ["--input empty.jsonl", "--input empty.csv", "--input blank.jsonl", "--input header.csv", ""] {
        let done = dir.run(&format!("{input} --output out.jsonl")).assert_success();
        assert_eq!((done.summary().events, done.summary().rejected), (0, 0));
        assert_eq!(dir.read("out.jsonl"), "");
    }
    dir.run("--input empty.csv").assert_success().assert_stderr(&["empty.csv: the file is empty"]);
}

#[test]
fn an_input_or_output_that_cannot_be_opened_exits_with_1() {
    let dir = TestDir::new();
    dir.write("good.jsonl", two_shoppers(5));
    dir.write("kept.jsonl", "as before\n");
    fs::create_dir(dir.path("folder.jsonl")).unwrap();
    for (args, parts) in [
        ("--input missing.jsonl --output kept.jsonl", ["missing.jsonl: cannot open: No such file", "check the path"]),
        ("--input missing.csv.gz --output kept.jsonl", ["missing.csv.gz: cannot open: No such file", "check the path"]),
        ("--input folder.jsonl --output kept.jsonl", ["folder.jsonl: cannot open", "name a file"]),
        ("--input good.jsonl --output none/out.jsonl", ["none/out.jsonl: cannot create", "create the folder first"]),
        ("--input good.jsonl --output folder.jsonl", ["folder.jsonl: cannot create", "name a file"]),
        ("--input good.jsonl --rejects none/r.jsonl", ["none/r.jsonl: cannot create", "create the folder first"]),
    ] {
        let done = dir.run(args).assert_failure(1, &parts);
        assert!(done.stderr.matches("os error").count() <= 1, "the system error is repeated: {}", done.stderr);
        assert_eq!(dir.read("kept.jsonl"), "as before\n");
    }
}

#[test]
fn a_full_disk_exits_with_1_and_names_the_file() {
    let dir = TestDir::new();
    symlink("/dev/full", dir.path("full.jsonl")).unwrap();
    dir.write("bad.jsonl", "x\n");
    let full = ["full.jsonl: cannot ", "No space left", "free some space"];
    let done =
        dir.run("--input generate:events=20000,users=500,items=300 --output full.jsonl").assert_failure(1, &full);
    assert_eq!(done.summary().changes, 0, "changes that were not written are not counted");
    assert_eq!(done.stderr.matches("No space left").count(), 1, "{}", done.stderr);
    dir.run("--input bad.jsonl --rejects full.jsonl").assert_failure(1, &full);
    dir.deltarec(&["generate", "events=1000", "--output", "full.jsonl"]).assert_failure(1, &full);
}

#[test]
fn a_disk_that_fills_up_during_the_run_ends_it() {
    let dir = TestDir::new();
    let mount = dir.path("small");
    let Some(disk) = Disk::new(&mount, "64k") else { return };
    let done = dir.run("--input generate:events=50000,users=500,items=300 --output small/out.jsonl");
    let written = fs::read_to_string(mount.join("out.jsonl"));
    drop(disk);
    done.assert_failure(1, &["small/out.jsonl: cannot write", "No space left", "free some space"]);
    let written = written.unwrap();
    changes(&written[..=written.rfind('\n').unwrap()]);
}

/// The run must end although its input is open and idle.
#[test]
fn a_failed_output_ends_the_run_while_the_input_is_idle() {
    let dir = TestDir::new();
    symlink("/dev/full", dir.path("full.jsonl")).unwrap();
    let mut running = dir.start(&["run", "--output", "full.jsonl"]);
    running.send(&two_shoppers(5));
    running.finish_within(Duration::from_secs(60)).assert_failure(1, &["full.jsonl: cannot write", "No space left"]);
}

#[test]
fn a_closed_output_pipe_ends_the_run_with_exit_code_0() {
    let dir = TestDir::new();
    let program = env!("CARGO_BIN_EXE_deltarec");
    for command in
        ["run --input generate:events=200000,users=2000,items=500 --set input.batch=500", "generate events=2000000"]
    {
        let script = format!("{{ {program} {command}; echo code $? >&2; }} | head -1");
        let out = Command::new("sh").args(["-c", &script]).current_dir(dir.0.path()).output().unwrap();
        let err = String::from_utf8(out.stderr).unwrap();
        assert_eq!(String::from_utf8(out.stdout).unwrap().lines().count(), 1);
        assert!(err.contains("code 0\n"), "{err}");
        assert!(!err.contains("panicked") && !err.contains("roken pipe") && !err.contains("deltarec:"), "{err}");
    }
}

#[test]
fn an_event_after_the_start_of_the_run_plus_max_skew_is_rejected() {
    let dir = TestDir::new();
    let hour = now() + 3_600_000;
    dir.write("ahead.jsonl", event("a", "b", "view", now()) + &event("a", "b", "view", hour));
    let done =
        dir.run("--input ahead.jsonl").assert_success().assert_stderr(&["ahead.jsonl:2: timestamp", "in the future"]);
    assert_eq!(done.summary().rejected_by.get("future"), Some(&1));
    let done = dir.run("--input ahead.jsonl --set input.max_skew=2h").assert_success();
    assert_eq!((done.summary().events, done.summary().rejected), (2, 0));
}

#[test]
fn a_log_older_than_the_retention_is_warned_about() {
    let dir = TestDir::new();
    let done = dir.run_with_stdin("--clock wall", two_shoppers(5).as_bytes()).assert_success();
    assert!(done.stderr.contains("(3 expired on arrival)"), "{}", done.stderr);
    done.assert_stderr(&["more than half of the events were older than graph.retention", "--columns ts=NAME:s"]);
    let done = dir.run_with_stdin("", two_shoppers(5).as_bytes()).assert_success();
    assert!(!done.stderr.contains("older than graph.retention"), "{}", done.stderr);
}

#[test]
fn a_jump_of_half_a_century_takes_no_time() {
    let dir = TestDir::new();
    let input = two_shoppers(0) + &two_shoppers(now() - 1000);
    for settings in ["", "--set graph.audience=1ms --set graph.retention=1ms", "--set graph.retention=3650d"] {
        let done = dir.run_with_stdin(&format!("--set input.batch=1 {settings}"), input.as_bytes()).assert_success();
        assert_eq!(done.summary().events, 6);
        assert!(changes(&done.stdout).len() >= 2, "{}", done.stdout);
    }
}

/// Records that are valid and have no level, or a time that cannot be.
#[test]
fn records_rejected_for_level_or_time_are_kept_as_they_came() {
    let dir = TestDir::new();
    let future = now() + 3_600_000;
    let lines = [
        "{ \"user\": \"ann\", \"item\":\"bread\", \"action\":\"wave\", \"ts\":5, \"price\": {\"eur\": [1.50]} }"
            .to_owned(),
        format!("{{\"ts\":{future},\"user\":7,\"item\":\"\\u0062\",\"action\":\"view\",\"room\":\"r\"}}"),
        format!("{{\"user\":\"b\",\"item\":\"c\",\"action\":\"wave\",\"ts\":5,\"text\":\"{}\"}}", "x".repeat(300_000)),
        "{\"user\":\"b\",\"item\":\"c\",\"action\":\"wave\",\"ts\":5}\r".to_owned(),
    ];
    let good = two_shoppers(5);
    let text = format!("{good}{}\n\n{good}{}\n{}\n{}\n{}", lines[0], lines[1], lines[2], lines[3], lines[0]);
    let expected = [&lines[0], &lines[1], &lines[2][..4 << 10], lines[3].trim_end(), &lines[0]];
    let kept = |rejects: &str| -> Vec<String> {
        let records = rejects.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        records.map(|record| record["record"].as_str().unwrap().to_owned()).collect()
    };
    dir.write("x.jsonl", &text);
    dir.write("y.jsonl", event("eve", "bread", "view", 5));
    for input in
        ["--input x.jsonl", "--input y.jsonl --input x.jsonl", "--input x.jsonl --workers 2 --set input.batch=1"]
    {
        dir.run(&format!("{input} --output out.jsonl --rejects rejects.jsonl")).assert_success();
        let mut found: Vec<Value> =
            dir.read("rejects.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        found.sort_by_key(|record| record["offset"].as_u64());
        let found: Vec<&str> = found.iter().map(|record| record["record"].as_str().unwrap()).collect();
        assert_eq!(found, expected, "{input}");
    }
    // A record of several lines, an invalid byte in a column that is not read, and an array.
    let rows =
        ["ann,\"bre\"\"ad\n2\",wave,5,\"more, of\nit\"", "bob , tea,view,9007199254740991,", "eve,tea,wave,5,\u{fffd}"];
    let csv = [b"user,item,action,ts,note\n".to_vec(), rows.join("\n").into_bytes()].concat();
    let csv = String::from_utf8(csv).unwrap().replace('\u{fffd}', "\u{1}").into_bytes();
    dir.write("x.csv", csv.iter().map(|byte| if *byte == 1 { 0xff } else { *byte }).collect::<Vec<u8>>());
    dir.run("--input x.csv --output out.jsonl --rejects rejects.jsonl").assert_failure(1, &["not one of 3 records"]);
    let mut found = kept(&dir.read("rejects.jsonl"));
    found.sort();
    assert_eq!(found, rows);
    let array = "{\"user\":\"ann\",\"at\":5,\"what\":\"wave\",\"items\":[{\"id\":\"a\"},{\"id\":\"b\"}]}";
    dir.write("array.jsonl", format!("{array}\n"));
    let columns = "--columns item=items[].id,action=what,ts=at";
    dir.run(&format!("--input array.jsonl {columns} --output out.jsonl --rejects rejects.jsonl"));
    assert_eq!(kept(&dir.read("rejects.jsonl")), [array, array]);
    // Through a pipe, in pieces.
    let mut running = dir.start(&["run", "--output", "out.jsonl", "--rejects", "rejects.jsonl"]);
    let (start, end) = text.split_at(good.len() + 20);
    running.send(start);
    running.stderr.wait_for("events", Duration::from_secs(60));
    running.send(end);
    running.finish().assert_success();
    assert_eq!(kept(&dir.read("rejects.jsonl")), expected);
}

#[test]
fn an_input_that_becomes_shorter_is_a_failure() {
    let dir = TestDir::new();
    dir.deltarec(&["generate", "events=200000,users=500,items=300,seed=5", "--output", "x.jsonl"]).assert_success();
    dir.deltarec(&["generate", "events=200000,users=500,items=300,seed=5", "--output", "x.jsonl.gz"]).assert_success();
    for (input, stdin) in [("x.jsonl", ""), ("x.jsonl.gz", ""), ("-", "x.jsonl")] {
        let file = if stdin.is_empty() { input } else { stdin };
        let whole = fs::read(dir.path(file)).unwrap();
        let mut command = Command::new("bash");
        let redirected = if stdin.is_empty() { String::new() } else { format!("< {stdin}") };
        let line = format!(
            "exec {} run --input {input} --output /dev/stdout --set input.batch=100 --set graph.audience=all {redirected}",
            env!("CARGO_BIN_EXE_deltarec")
        );
        command.args(["-c", &line]).env_remove("RUST_LOG");
        let mut child = command
            .current_dir(dir.path(""))
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        // The run waits for this pipe, so it cannot have read the file to its end.
        let mut out = std::io::BufReader::new(child.stdout.take().unwrap());
        std::io::BufRead::read_line(&mut out, &mut String::new()).unwrap();
        fs::File::options().write(true).open(dir.path(file)).unwrap().set_len(1000).unwrap();
        let drained = std::thread::spawn(move || std::io::copy(&mut out, &mut std::io::sink()).unwrap());
        let done = child.wait_with_output().unwrap();
        drained.join().unwrap();
        let stderr = String::from_utf8(done.stderr).unwrap();
        let last = stderr.lines().last().unwrap();
        assert_eq!(done.status.code(), Some(1), "{stderr}");
        for part in [&format!("deltarec: {input}: line ") as &str, "byte ", "became shorter", "1000 bytes"] {
            assert!(last.contains(part), "{part}: {last}");
        }
        dir.write(file, whole);
    }
}
