//! Arguments, configuration and messages of the program.

use std::time::Duration;

use serde_json::{Value, json};

use super::{TestDir, event};

/// Each mistake gives exit code 2 and names the remedy. Existing files are unchanged.
/// A missing slash must not make a local file of a topic or a bucket.
#[test]
fn a_uri_without_its_slashes_is_a_mistake() {
    let dir = TestDir::new();
    dir.write("in.jsonl", super::two_shoppers(5));
    let run = |args: &str| dir.run(args);
    for (uri, part) in [
        ("kafka:h/t", "kafka://BROKERS/TOPIC"),
        ("kafka:/h/t", "two slashes are missing"),
        ("s3:b/x.jsonl", "./NAME"),
        ("s3://b/x.jsonl", "is not an "),
        ("http://h/x.jsonl", "is not an "),
        ("http:h.jsonl", "is not an "),
        ("file:x.jsonl", "name a file by its path alone"),
        ("file:///x.jsonl", "name a file by its path alone"),
    ] {
        run(&format!("--input {uri} --output out.jsonl")).assert_failure(2, &[uri, part]);
        run(&format!("--input in.jsonl --output {uri}")).assert_failure(2, &[uri, part]);
        run(&format!("--input in.jsonl --output out.jsonl --rejects {uri}")).assert_failure(2, &[uri, part]);
    }
    for (state, part) in [
        ("s3:bucket/x", "s3: needs two slashes"),
        ("s3:/bucket/x", "s3: needs two slashes"),
        ("file:x", "file: needs two slashes"),
        ("http://h/x", "http:// is not supported"),
        ("kafka:h/t", "kafka: needs two slashes"),
    ] {
        run(&format!("--input in.jsonl --output out.jsonl --state {state}"))
            .assert_failure(2, &[state, part, "name a folder"]);
        dir.deltarec(&["snapshot", "list", "--state", state]).assert_failure(2, &[state, part]);
    }
    for empty in ["", " "] {
        dir.deltarec(&["run", "--input", "in.jsonl", "--output", "out.jsonl", "--state", empty])
            .assert_failure(2, &["--state is empty", "leave it out"]);
    }
    // Such a file can be named all the same.
    dir.write("s3:in.jsonl", super::two_shoppers(5));
    run("--input ./s3:in.jsonl --output ./kafka:out.jsonl --state ./s3:state").assert_success();
    let mut names: Vec<String> = std::fs::read_dir(dir.path(""))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["in.jsonl", "kafka:out.jsonl", "s3:in.jsonl", "s3:state"]);
}

/// Options of librdkafka are checked before anything is opened.
#[cfg(feature = "kafka")]
#[test]
fn wrong_options_of_librdkafka_are_mistakes_of_the_configuration() {
    let dir = TestDir::new();
    dir.write("in.jsonl", super::two_shoppers(5));
    for (set, parts) in [
        ("socket.timeout=3", ["kafka.options.\"socket.timeout\"", "an option that librdkafka knows"]),
        ("socket.timeout.ms=soon", ["socket.timeout.ms", "a value that librdkafka accepts"]),
        ("socket.timeout.ms=-7", ["socket.timeout.ms", "a value that librdkafka accepts"]),
    ] {
        let set = format!("--set kafka.options.{set}");
        dir.run(&format!("{set} --input in.jsonl --output out.jsonl --state state")).assert_failure(2, &parts);
    }
    // Options that do not fit together, and secrets that are not there.
    for (set, part) in [
        (
            "kafka.options.message.max.bytes=1000000000 kafka.options.receive.message.max.bytes=1000",
            "receive.message.max.bytes",
        ),
        (
            "kafka.security.protocol=sasl_plaintext kafka.security.mechanism=PLAIN kafka.security.username=u \
          kafka.security.password=env:NO_SUCH_VARIABLE",
            "NO_SUCH_VARIABLE",
        ),
        ("kafka.security.protocol=ssl kafka.security.ca=/nowhere.pem", "deltarec: [kafka]: "),
    ] {
        let sets: Vec<&str> = set.split_whitespace().flat_map(|set| ["--set", set]).collect();
        let sets = sets.join(" ");
        dir.run(&format!("--input in.jsonl --output kafka://127.0.0.1:9/t --state state {sets}"))
            .assert_failure(2, &[part]);
    }
    assert!(!dir.path("state").exists() && !dir.path("out.jsonl").exists(), "nothing was opened");
    dir.run("--input in.jsonl --output out.jsonl --set kafka.options.socket.timeout.ms=5000")
        .assert_success()
        .assert_stderr(&["[kafka.options] has no effect"]);
}

#[test]
fn usage_errors_exit_with_2_and_name_the_remedy() {
    let dir = TestDir::new();
    dir.write("good.csv", "user,item,action,ts\nu,i,view,5\n");
    dir.write("bare.csv", "a,b\n1,2\n");
    dir.write("twice.csv", "user,item,action,ts,user\nu,i,view,5,u\n");
    dir.write("kept.jsonl", "as before\n");
    let cases: &[(&[&str], &[&str])] = &[
        (&["run", "--inptu", "good.csv"], &["--inptu", "'--input'"]),
        (&["frobnicate"], &["frobnicate"]),
        (&[], &["Usage: deltarec", "run", "generate", "demo"]),
        (&["run", "--clock", "sun"], &["sun", "event, wall"]),
        (&["run", "--workers", "0"], &["--workers", "1..=1024"]),
        (&["run", "--workers", "many"], &["--workers", "many"]),
        (&["run", "--config", "none.toml"], &["none.toml", "--config"]),
        (&["run", "--set", "graph.neighbors=3"], &["unknown key graph.neighbors", "did you mean graph.neighbours?"]),
        (&["run", "--set", "graph.k"], &["--set graph.k", "="]),
        (&["run", "--set", "graph.audience=40d"], &["graph.audience must be at most the retention", "30d", "40d"]),
        (&["run", "--columns", "who"], &["--columns who", "user=user_id,item=item_id"]),
        (
            &["run", "--columns", "person=a,user=,ts=t:sec"],
            &["`person` is not a target", "user has no column", "sec", "ts"],
        ),
        (&["run", "--input", "bare.csv"], &["bare.csv", "`user`, `item`, `action`, `ts`", "`a`, `b`", "--columns"]),
        (&["run", "--input", "twice.csv"], &["twice.csv", "`user` twice"]),
        (&["run", "--input", "good.csv", "--where", "quantity>0"], &["good.csv", "no column `quantity`"]),
        (&["run", "--input", "good.csv", "--action", "view"], &["--action view", "`action`", "omit one"]),
        (&["run", "--where", "quantity"], &["--where quantity", "no comparison", "quantity>0"]),
        (&["run", "--where", "a>>3"], &["--where a>>3", "two comparisons"]),
        (&["run", "--input", "events.avro"], &["events.avro", "unknown extension", "?format=csv", ".parquet"]),
        (&["run", "--input", "s3://bucket/a.csv"], &["s3://bucket/a.csv", "PATH.jsonl"]),
        (&["run", "--input", "kept.jsonl", "--output", "kept.jsonl"], &["--output kept.jsonl", "input 1"]),
        (&["run", "--input", "kept.jsonl", "--output", "./kept.jsonl"], &["./kept.jsonl", "input 1"]),
        (&["run", "--input", "kept.jsonl", "--rejects", "./kept.jsonl"], &["--rejects", "input 1"]),
        (&["run", "--input", "good.csv", "--output", "new.jsonl", "--rejects", "./new.jsonl"], &["--rejects", "same"]),
        (&["run", "--input", "good.csv", "--rejects", "-"], &["--rejects", "--output", "different"]),
        (&["run", "--input", "good.csv", "--output", "lists.csv"], &["lists.csv", ".jsonl"]),
        (&["run", "--input", "good.csv", "--output", "generate:"], &["generate:", "input only"]),
        (&["run", "--input", "-", "--input", "-"], &["stdin", "one"]),
        (&["run", "--input", "generate:evnts=5"], &["deltarec: generate: unknown option `evnts`", "events, users"]),
        (
            &["generate", "evnts=5,users=0,seed"],
            &["unknown option `evnts`", "generate: users=0: expected 1 to", "found `seed`"],
        ),
        (
            &["generate", "seed=1", "--users", "0", "--seed", "2"],
            &["generate: users=0: expected 1 to", "`seed` is given twice"],
        ),
        (&["generate", "--events", "5", "--output", "x.txt"], &["`x.txt`", "PATH.jsonl"]),
    ];
    for (args, parts) in cases {
        let mut args = args.to_vec();
        if args.first() == Some(&"run") && !args.contains(&"--output") && !args.contains(&"--rejects") {
            args.extend(["--output", "kept.jsonl"]);
            if !args.contains(&"--input") {
                args.extend(["--input", "good.csv"]);
            }
        }
        println!("deltarec {}", args.join(" "));
        let done = dir.deltarec(&args).assert_failure(2, parts);
        println!("{}", done.stderr);
        assert_eq!(done.stdout, "");
        assert!(!done.stderr.contains("generate: generate:"), "{}", done.stderr);
        assert_eq!(dir.read("kept.jsonl"), "as before\n");
    }
    assert!(!dir.path("new.jsonl").exists() && !dir.path("x.txt").exists());
}

#[test]
fn reports_all_configuration_errors_at_once() {
    let dir = TestDir::new();
    dir.write("shop.toml", "[graph]\nneighbors = 3\n\n[levels]\nlike = 16\nbuy = 3\n");
    let args = ["run", "--config", "shop.toml", "--set", "graph.k=0", "--set", "graph.retention=30", "--set", "foo=1"];
    dir.deltarec(&args).assert_failure(
        2,
        &[
            "6 mistakes in the configuration",
            "shop.toml:2: unknown key graph.neighbors (did you mean graph.neighbours?)",
            "shop.toml:5: levels.like",
            "shop.toml:6: levels.buy",
            "--set graph.k=0: graph.k must be an integer from 1 to 1000",
            "graph.retention must be \"forever\" or a duration",
            "unknown key (hidden)",
        ],
    );
}

#[test]
fn set_overrides_the_configuration_file() {
    let dir = TestDir::new();
    dir.write("shop.toml", "[levels]\nbid = 5\n\n[graph]\nk = 1\n");
    let events: String = ["a", "b", "c", "d"].iter().map(|item| event("u", item, "bid", 5)).collect();
    let input = events + &event("v", "a", "bid", 5);
    let items = |args: &str| {
        let done = dir.run_with_stdin(&format!("--config shop.toml {args}"), input.as_bytes()).assert_success();
        super::changes(&done.stdout).last().unwrap().items.len()
    };
    assert_eq!(items(""), 1);
    assert_eq!(items("--set graph.k=1 --set graph.k=2"), 2);
}

#[test]
fn replaces_an_existing_output() {
    let dir = TestDir::new();
    dir.write("out.jsonl", "as before\n".repeat(1000));
    dir.run_with_stdin("--output out.jsonl", super::two_shoppers(5).as_bytes()).assert_success();
    assert_eq!(super::changes(&dir.read("out.jsonl")).len(), 1);
}

#[test]
fn help_and_version_exit_with_0_and_show_examples() {
    let dir = TestDir::new();
    for (args, parts) in [
        (&["--help"][..], &["run", "generate", "demo"][..]),
        (&["run", "--help"], &["Examples:", "deltarec run --input events.jsonl.gz", "--clock wall", "Exit codes: 0"]),
        (&["generate", "--help"], &["Examples:", "deltarec generate --events 100000 --seed 7 --output", "--rate"]),
        (&["demo", "--help"], &["Example", "deltarec demo --events"]),
    ] {
        let done = dir.deltarec(args).assert_success();
        for part in parts {
            assert!(done.stdout.contains(part), "{part:?} is missing in:\n{}", done.stdout);
        }
        assert!(!done.stdout.contains("[OPTIONS] [OPTIONS]"), "{}", done.stdout);
        // An example that is wrapped cannot be copied.
        assert!(done.stdout.lines().all(|line| line.trim() != "\\"), "{}", done.stdout);
        assert_eq!(done.stderr, "");
    }
    let version = dir.deltarec(&["--version"]).assert_success().stdout;
    assert_eq!(version, format!("deltarec {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn quiet_prints_nothing_and_the_demo_prints_lists() {
    let dir = TestDir::new();
    dir.write("good.csv", "user,item,action,ts\nu,i,view,5\n");
    assert_eq!(dir.run("--input good.csv --quiet").assert_success().stderr, "");
    let demo = dir.deltarec(&["demo", "--events", "20000"]).assert_success();
    assert!(demo.stdout.lines().count() > 10, "{}", demo.stdout);
}

/// With `--log-format json` every line on stderr is a JSON record: warnings, the shutdown message, and the summary.
#[test]
fn json_logs_are_one_record_a_line() {
    let dir = TestDir::new();
    let mut running = dir.start(&["run", "--log-format", "json"]);
    running.send(&format!("nonsense\n{}", super::two_shoppers(5)));
    running.wait_for_output(Duration::from_secs(60), "the change", |out| out.contains("butter"));
    running.signal("TERM");
    let done = running.finish_within(Duration::from_secs(60)).assert_success();
    let records: Vec<serde_json::Value> = done.stderr.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let find = |part: &str| {
        let has_message =
            |record: &&serde_json::Value| record["message"].as_str().is_some_and(|text| text.contains(part));
        records.iter().find(has_message).unwrap_or_else(|| panic!("no record with {part:?} in:\n{}", done.stderr))
    };
    let rejected = records.iter().find(|record| record["reason"] == "malformed").unwrap();
    assert_eq!((&rejected["level"], &rejected["span"]["name"]), (&json!("WARN"), &json!("reader")));
    let place = ["source", "line", "byte", "record"].map(|field| rejected[field].clone());
    assert_eq!(place, [json!("-"), json!(1), json!(0), json!("nonsense")]);
    find("shutting down");
    let summary = find("run finished");
    assert_eq!((&summary["events"], &summary["rejected"], &summary["changes"]), (&json!(3), &json!(1), &json!(1)));
    assert_eq!(summary["rejected_by"], "malformed 1");

    let failed = dir.deltarec(&["--log-format", "json", "run", "--input", "none.jsonl"]);
    let record: serde_json::Value = serde_json::from_str(failed.stderr.lines().last().unwrap()).unwrap();
    assert_eq!(record["level"], "ERROR");
    assert!(failed.code != Some(0) && record["message"].as_str().unwrap().contains("none.jsonl"), "{record}");
}

/// The records on stderr, each of which must be one JSON object a line.
fn records(stderr: &str) -> Vec<Value> {
    let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    let records: Vec<Value> = stderr.lines().map(parse).collect();
    assert!(records.iter().all(|record| record["level"].is_string() && record["message"].is_string()), "{stderr}");
    records
}

/// Messages of all commands, and of arguments that cannot be parsed, are records too.
#[test]
fn every_message_is_a_record_with_json_logs() {
    let dir = TestDir::new();
    // One record is malformed, one too long for the log, and most are older than the retention.
    let long = format!("7,i,view,{}", "x".repeat(1_000));
    dir.write(
        "old.csv",
        format!("user,item,action,ts\nu,i,view\n{long}\nu,i,view,5\nu,j,view,6\nu,k,view,9000000000\n"),
    );
    let args =
        ["run", "--input", "old.csv", "--set", "trending.k=5", "--set", "trending.rooms=yes", "--log-format=json"];
    let found = records(&dir.deltarec(&args).assert_success().stderr);
    let rejected: Vec<&Value> = found.iter().filter(|record| !record["reason"].is_null()).collect();
    assert_eq!(rejected.len(), 2, "{found:?}");
    for (record, (reason, line, byte)) in rejected.iter().zip([("malformed", 2, 20), ("wrong_type:ts", 3, 29)]) {
        assert_eq!(record["reason"], reason, "{record}");
        let place = ["source", "line", "byte", "partition"].map(|field| record[field].clone());
        assert_eq!(place, [json!("old.csv"), json!(line), json!(byte), Value::Null]);
    }
    let text = rejected[1]["record"].as_str().unwrap();
    assert!(text.len() < 300 && text.starts_with("7,i,view,xxx") && text.ends_with("..."), "{text}");
    let warned = |part: &str| found.iter().any(|record| record["message"].as_str().unwrap().contains(part));
    assert!(warned("is an old spelling") && warned("run finished"), "{found:?}");

    for args in [&["--log-format", "json", "run", "--inptu", "x"][..], &["frobnicate", "--log-format=json"]] {
        let failed = dir.deltarec(args).assert_failure(2, &[]);
        let found = records(&failed.stderr);
        assert_eq!((found.len(), &found[0]["level"]), (1, &json!("ERROR")), "{found:?}");
    }
    let args =
        "--log-format json bench latency --users 200 --items 50 --preload 100 --rates 50 --seconds 2 --audience all";
    let bench = dir.deltarec(&args.split(' ').collect::<Vec<_>>()).assert_success();
    let found = records(&bench.stderr);
    let of_child = |record: &Value| record["message"].as_str().unwrap().contains("50 events/s: p50");
    assert!(found.iter().any(of_child), "{found:?}");
}

/// The flags of a help text by heading, in order.
fn flags(help: &str) -> Vec<(String, Vec<String>)> {
    let mut headings: Vec<(String, Vec<String>)> = Vec::new();
    for line in help.lines() {
        let is_heading = line.ends_with(':') && !line.starts_with(' ');
        if is_heading {
            headings.push((line.trim_end_matches(':').into(), Vec::new()));
        } else if let Some((_, flag)) = line.split_once("  --").filter(|(before, _)| before.trim().is_empty()) {
            let name = flag.split([' ', ',']).next().unwrap();
            headings.last_mut().unwrap().1.push(name.into());
        }
    }
    // An example can go on in a second line.
    headings.retain(|(heading, flags)| heading != "Examples" && !flags.is_empty());
    headings
}

/// The options of a command come first, then those of all benchmarks; the simulation has a heading of its own.
#[test]
fn every_flag_of_generate_and_bench_is_under_its_heading() {
    let dir = TestDir::new();
    let simulation = "users items rooms rate seed start";
    let all = format!("events {simulation}");
    let cases = [
        ("generate", "output catalogue", all.as_str()),
        (
            "bench latency",
            "preload rates seconds interactions snapshots audience workers picture config set json",
            simulation,
        ),
        ("bench batches", "preload events seconds audience workers config set json", simulation),
        ("bench throughput", "batch audience workers processes config set json", &all),
        ("bench growth", "scale events workers config set json", "rooms rate seed start"),
        ("bench toggles", "preload hottest together seconds audience workers config set json", simulation),
        ("bench recovery", "interactions codec audience workers config set json", simulation),
        #[cfg(feature = "kafka")]
        ("bench kafka", "broker rates seconds warm-up audience preload replay workers config set json", simulation),
    ];
    for (command, options, simulation) in cases {
        let args: Vec<&str> = command.split(' ').chain(["--help"]).collect();
        let help = dir.deltarec(&args).assert_success().stdout;
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let expected = [
            ("Options".to_owned(), words(&format!("{options} log-format"))),
            ("Simulation (docs/generator.md)".to_owned(), words(simulation)),
        ];
        assert_eq!(flags(&help), expected, "deltarec {command} --help:\n{help}");
        let lines = help.lines().filter(|line| line.starts_with("  deltarec "));
        assert!(lines.clone().count() > 0 && lines.clone().all(|line| line.chars().count() <= 100), "{help}");
    }
}

#[test]
fn the_older_form_of_the_simulation_has_the_same_effect() {
    let dir = TestDir::new();
    let generated = |args: &str| {
        let args: Vec<&str> = ["generate"].into_iter().chain(args.split(' ')).collect();
        dir.deltarec(&args).assert_success().stdout
    };
    let expected = generated("--events 50 --users 9 --seed 3");
    assert_eq!(expected.lines().count(), 50);
    for args in ["events=50,users=9,seed=3", "events=50,seed=3 --users 9", "users=9 --events 50 --seed 3"] {
        assert_eq!(generated(args), expected, "{args}");
    }
    for args in [&["generate", "events=5", "--events", "6"][..], &["bench", "throughput", "events=5", "--events=6"]] {
        dir.deltarec(args).assert_failure(2, &["`events` is given twice"]);
    }
}
