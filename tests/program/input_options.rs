//! Logs as people have them are read with documented options, and a log of which nothing can be read is a failure.

use std::fs::File;
use std::io::Write;
use std::process::Command;
use std::time::Duration;

use flate2::write::GzEncoder;

use super::{TestDir, two_shoppers};

/// Rows of a log: user, item, number, and seconds since 1970.
fn rows() -> impl Iterator<Item = (u32, u32, u32, u64)> {
    (0..14).map(|n| (97 + n / 3, 1 + n * 7 % 4, 1 + n % 5, 1_398_000_000 + u64::from(n)))
}

/// Lines of a text file, one for each row.
fn lines(header: &str, row: impl Fn((u32, u32, u32, u64)) -> String) -> String {
    let header = if header.is_empty() { String::new() } else { format!("{header}\n") };
    rows().fold(header, |text, fields| text + &row(fields) + "\n")
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

/// The commands of the table in docs/input.md, and others.
#[test]
fn logs_are_read_with_documented_options() {
    let csv = |delimiter: &str| {
        lines(&["user", "item", "action", "ts"].join(delimiter), |(user, item, _, ts)| {
            [user.to_string(), item.to_string(), "click".into(), format!("{ts}000")].join(delimiter)
        })
    };
    let retail = lines("timestamp,visitorid,event,itemid,transactionid\r", |(user, item, number, ts)| {
        format!("{ts}117,{user},{},{item},\r", ["view", "addtocart", "transaction"][number as usize % 3])
    });
    let clicks = lines("", |(user, item, _, ts)| format!("{user},2014-04-20T13:20:{:02}.277Z,{item},0", ts % 60));
    let reviews = lines("", |(user, item, number, ts)| {
        format!("{{\"reviewerID\":\"A{user}\",\"asin\":\"B{item}\",\"overall\":{number}.0,\"unixReviewTime\":{ts}}}")
    });
    let logstash = lines("", |(user, item, _, ts)| {
        format!(
            "{{\"user.id\":\"{user}\",\"product\":{{\"id\":{item}}},\"event.action\":\"click\",\"@timestamp\":{ts}}}"
        )
    });
    let orders = lines("", |(user, item, number, ts)| {
        format!("{{\"user\":{user}.0,\"ts\":{ts}e3,\"products\":[{{\"id\":{item}}},{{\"id\":{number}}}],\"tax\":NaN}}")
    });
    let ratings = |delimiter: &str| {
        lines("", |(user, item, number, ts)| format!("{user},{item},{number},{ts}").replace(',', delimiter))
    };
    let cases: Vec<(&str, Vec<u8>, Vec<&str>, u64)> = vec![
        (
            "events.csv",
            retail.into(),
            "--columns user=visitorid,item=itemid,action=event,ts=timestamp --set levels.addtocart=5 --set \
             levels.transaction=6"
                .split(' ')
                .collect(),
            14,
        ),
        ("clicks.dat?header=no&columns=user=1,item=3,ts=2:iso&action=click", clicks.into(), vec![], 14),
        ("ratings.dat?delimiter=::&header=no&user=1&item=2&action=like&ts=4:s", ratings("::").into(), vec![], 14),
        (
            "ratings.txt",
            ratings("|").into(),
            "--delimiter | --header no --columns user=1,item=2,ts=4:s --action like".split(' ').collect(),
            14,
        ),
        ("u.data?format=tsv&header=no&columns=user=1,item=2,ts=4:s&action=like", ratings("\t").into(), vec![], 14),
        (
            "reviews.json.gz",
            gzip(&reviews),
            "--columns user=reviewerID,item=asin,ts=unixReviewTime:s --action comment".split(' ').collect(),
            14,
        ),
        ("semicolon.csv?delimiter=semicolon", csv(";").into(), vec![], 14),
        ("tab.tsv", csv("\t").into(), vec![], 14),
        ("log.unknown", csv(",").into(), vec!["--format", "csv"], 14),
        ("sep.csv", format!("sep=;\n{}", csv(";")).into(), vec![], 14),
        ("spaces.csv", csv(" , ").into(), vec![], 14),
        ("what?.csv", csv(",").into(), vec![], 14),
        ("plain.ndjson?columns=item=products[].id&action=purchase", orders.into(), vec![], 28),
        (
            "dotted.jsonl",
            logstash.into(),
            vec!["--columns", "user=user.id,item=product.id,action=event.action,ts=@timestamp:s"],
            14,
        ),
        ("really-gz.jsonl", gzip(&two_shoppers(5)), vec![], 3),
        (
            "numbers.jsonl",
            lines("", |(user, item, number, ts)| {
                format!("{{\"user\":{user},\"item\":{item},\"action\":{number},\"ts\":{ts}000}}")
            })
            .into(),
            "--set levels.1=1 --set levels.2=2 --set levels.3=3 --set levels.4=4 --set levels.5=5".split(' ').collect(),
            14,
        ),
    ];
    let dir = TestDir::new();
    for (input, content, more, events) in cases {
        let name = if input == "what?.csv" { input } else { input.split('?').next().unwrap() };
        dir.write(name, content);
        let args =
            [&["run", "--input", input, "--output", "out.jsonl", "--set", "graph.audience=all"], &more[..]].concat();
        let done = dir.deltarec(&args).assert_success();
        assert_eq!((done.summary().events, done.summary().rejected), (events, 0), "{input}: {}", done.stderr);
    }
}

#[test]
fn inputs_of_several_formats_are_merged() {
    let dir = TestDir::new();
    dir.write("a.csv", "u;i;t\nx;p;1000\n");
    dir.write("b.jsonl", "{\"who\":\"x\",\"what\":\"q\",\"at\":2}\n");
    let done = dir.run(
        "--input a.csv?delimiter=;&columns=user=u,item=i,ts=t --input b.jsonl?columns=user=who,item=what,ts=at:s \
         --action view --output out.jsonl",
    );
    assert_eq!((done.assert_success().summary().events), 2);
}

#[test]
fn csv_is_read_from_stdin_and_from_pipes() {
    let csv = lines("user,item,action,ts", |(user, item, _, ts)| format!("{user},{item},click,{ts}000"));
    let dir = TestDir::new();
    for args in
        ["--format csv", "--input -?format=csv", "--input /dev/stdin?format=csv", "--input /dev/fd/0 --format csv"]
    {
        let done = dir.run_with_stdin(&format!("{args} --output out.jsonl"), csv.as_bytes()).assert_success();
        assert_eq!((done.summary().events, done.summary().rejected), (14, 0), "{args}");
    }
    dir.run_with_stdin("--input - --input /dev/stdin", b"").assert_failure(2, &["only one of the inputs"]);
    // Compressed data on stdin is recognised.
    let done = dir.run_with_stdin("--output out.jsonl", &gzip(&two_shoppers(5))).assert_success();
    assert_eq!(done.summary().events, 3);
    dir.write("log.csv", &csv);
    let script =
        format!("{} run --input <(cat log.csv)'?format=csv' --output out.jsonl", env!("CARGO_BIN_EXE_deltarec"));
    let mut bash = Command::new("bash");
    bash.args(["-c", &script]);
    let done = dir.spawn(bash).finish().assert_success();
    assert_eq!(done.summary().events, 14);
    // A named pipe.
    assert!(Command::new("mkfifo").arg(dir.path("fifo")).status().unwrap().success());
    let running = dir.start(&["run", "--input", "fifo?format=csv", "--output", "out.jsonl"]);
    File::options().write(true).open(dir.path("fifo")).unwrap().write_all(csv.as_bytes()).unwrap();
    assert_eq!(running.finish_within(Duration::from_secs(60)).assert_success().summary().events, 14);
}

#[test]
fn a_log_without_one_event_exits_with_1() {
    let dir = TestDir::new();
    let unknown = two_shoppers(5).replace("view", "wave").replace("purchase", "wink");
    for (name, content, parts) in [
        ("bad.jsonl", b"x\ny\n".to_vec(), vec!["not one of 2 records was an event", "malformed 2"]),
        (
            "unknown.jsonl",
            unknown.into_bytes(),
            vec!["not one of 3 records", "unknown actions: ", "`wave` 1", "`wink` 2"],
        ),
        ("utf16.csv", b"\xff\xfeu\0s\0e\0r\0".to_vec(), vec!["UTF-16", "iconv"]),
        ("cr.csv", b"user,item,action,ts\ra,b,view,1\r".to_vec(), vec!["CR alone", "tr "]),
        ("cr.jsonl", b"{\"user\":1}\r{\"user\":2}\r".to_vec(), vec!["CR alone"]),
        ("log.zip.csv", b"PK\x03\x04....".to_vec(), vec!["zip archive"]),
    ] {
        dir.write(name, content);
        dir.run(&format!("--input {name} --output out.jsonl")).assert_failure(1, &parts);
    }
    dir.write("good.jsonl", two_shoppers(5));
    dir.run("--input good.jsonl --where ts>10000").assert_failure(1, &["filtered:ts>10000 3"]);
    // One event is enough.
    dir.write("one.jsonl", format!("x\n{}", two_shoppers(5)));
    dir.run("--input one.jsonl").assert_success();
}

#[test]
fn mistakes_in_options_are_usage_errors_and_touch_nothing() {
    let dir = TestDir::new();
    dir.write("kept.jsonl", "as before\n");
    dir.write("log.csv", "user;item;action;ts\na;b;view;1\n");
    dir.write("no-header.csv", "97,2014-04-07T10:50:09.277Z,21453671,0\n");
    for (args, parts) in [
        ("--input log.csv", ["looks separated by `;`", "add delimiter=semicolon"]),
        ("--input no-header.csv", ["looks like a record", "header=no"]),
        ("--input log.csv?delimeter=;", ["`delimeter` is not an option", "delimiter"]),
        ("--input log.xyz", ["unknown extension", "?format=csv"]),
        ("--delimiter ; --input log.csv --columns action=x --action buyy", ["--action buyy", "is unknown"]),
        ("--header maybe", ["--header: header=maybe", "yes or no"]),
        ("--input log.csv?action=buyy&delimiter=;", ["--action buyy", "purchase"]),
    ] {
        dir.run(&format!("{args} --output kept.jsonl")).assert_failure(2, &parts);
        assert_eq!(dir.read("kept.jsonl"), "as before\n");
    }
}

#[test]
fn timestamps_that_are_probably_wrong_are_warned_about() {
    let dir = TestDir::new();
    let at = 1_700_000_000_000_u64;
    let event = |n: u64, ts: u64| super::event(&format!("u{}", n % 5), &format!("p{}", n % 7), "click", ts);
    let log: String = (0..60).map(|n| event(n, at + n * 1000 + if n == 20 { 400 * 86_400_000 } else { 0 })).collect();
    dir.write("jump.jsonl", &log);
    dir.run("--input jump.jsonl")
        .assert_success()
        .assert_stderr(&["jump.jsonl:21: time jumps from 2023-11-14T22:13:39Z to 2024-12-18", "graph.retention"]);
    let steady = log.split_inclusive('\n').filter(|line| !line.contains("1734")).collect::<String>();
    let done = dir.run_with_stdin("", steady.as_bytes()).assert_success();
    assert!(!done.stderr.contains("time jumps"), "{}", done.stderr);

    let seconds: String = (0..20).map(|n| event(n, at / 1000 + n * 86_400)).collect();
    let done = dir.run_with_stdin("", seconds.as_bytes()).assert_success();
    done.assert_stderr(&["all events lie in 1970", "ts=NAME:s"]);
    let done = dir.run_with_stdin("--clock wall", seconds.as_bytes());
    done.assert_failure(1, &["time_in_seconds 20", "looks like seconds"]);
    for (factor, unit) in [(1000, "microseconds, use ts=NAME:us"), (1_000_000, "nanoseconds, use ts=NAME:ns")] {
        let log: String = (0..3).map(|n| event(n, at * factor)).collect();
        dir.run_with_stdin("", log.as_bytes()).assert_failure(1, &[unit]);
        let suffix = &unit[unit.len() - 2..];
        let read = dir.run_with_stdin(&format!("--columns ts=ts:{suffix}"), log.as_bytes()).assert_success();
        assert_eq!(read.summary().events, 3);
    }
}
