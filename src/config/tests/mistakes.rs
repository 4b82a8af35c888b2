//! Each mistake is one line: place, key, valid values, given value.

use super::*;

/// The lines of the message after the first, without the folder of the file.
fn mistakes(text: &str, sets: &[&str]) -> Vec<String> {
    let message = load(text, sets).expect_err(text).to_string();
    let line = |line: &str| match line.trim_start().split_once("my.toml") {
        Some((folder, rest)) if Path::new(folder).is_absolute() => format!("my.toml{rest}"),
        _ => line.trim_start().to_owned(),
    };
    message.lines().skip(1).map(line).collect()
}

/// The only mistake of a file.
fn mistake(text: &str) -> String {
    let [only] = <[String; 1]>::try_from(mistakes(text, &[])).expect(text);
    only
}

/// The only mistake of a `--set`.
fn set_mistake(set: &str) -> String {
    let [only] = <[String; 1]>::try_from(mistakes("", &[set])).expect(set);
    only
}

#[test]
fn reports_an_unreadable_file_and_the_mistakes_of_other_layers() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("none.toml");
    let errors = Config::load(Some(&path), &["graph.k=0".into()]).unwrap_err();
    let message = errors.to_string();
    assert!(message.starts_with("2 mistakes in the configuration:\n"), "{message}");
    assert!(message.contains(&format!("  {}: cannot be read (", path.display())), "{message}");
    assert!(message.contains("\n  --set graph.k=0: graph.k must be"), "the other layers are read: {message}");
}

#[test]
fn reports_syntax_errors_with_line_and_column() {
    assert_eq!(
        mistake("[graph]\nk = 3\nretention = 30d\n"),
        "my.toml:3: not valid TOML at column 13: string values must be quoted"
    );
    assert_eq!(mistake("[levels]\n\"é\" 3\n").split(": ").next(), Some("my.toml:2"));
    assert_eq!(mistake("[graph]\nk = 3\nk = 4\n"), "my.toml:3: not valid TOML at column 1: duplicate key");
    assert_eq!(mistake("a = é = 3").split(": ").next(), Some("my.toml:1"), "the first slip of a line is enough");
    let two = mistakes("[graph]\nk = a\nhistory = b\n", &["graph.k=0"]);
    assert_eq!(two.len(), 3, "{two:?}");
    assert!(two[0].starts_with("my.toml:2: ") && two[1].starts_with("my.toml:3: "), "{two:?}");
}

#[test]
fn reports_an_unknown_key_with_a_suggestion_and_the_keys_of_its_section() {
    let keys = layers::names_in(&SECTIONS, "graph").join(", ");
    assert!(keys.starts_with("audience, ") && keys.contains(", k, ") && keys.contains(", sources, "), "{keys}");
    assert_eq!(
        mistake("[graph]\n\nneighbors = 3\n"),
        format!("my.toml:3: unknown key graph.neighbors (did you mean graph.neighbours?); [graph] has the keys {keys}")
    );
    assert_eq!(
        mistake("[graph.sources]\nroom = 1\n"),
        "my.toml:2: unknown key graph.sources.room; [graph.sources] has the keys items, users"
    );
    assert_eq!(
        mistake("[grpah]\nk = 3\nx = 3\n"),
        "my.toml:1: unknown key grpah (did you mean graph?); the top level has the keys catalogue, graph, identity, input, kafka, levels, retractions, state, trending"
    );
    assert_eq!(
        set_mistake("max_skew=3s"),
        "--set max_skew=(hidden): unknown key max_skew (did you mean input.max_skew?); the top level has the keys catalogue, graph, identity, input, kafka, levels, retractions, state, trending"
    );
    for later in ["graph.metric=cosine", "graph.rooms=30", "output.uri=x", "graph.\"a b\"=1"] {
        assert!(set_mistake(later).contains(": unknown key "), "{later}");
    }
}

#[test]
fn reports_an_unknown_key_in_every_layer_that_has_it() {
    let lines = mistakes("[graph]\nkk = 3\n", &["graph.kk=4", "graph.kk=5"]);
    assert_eq!(lines.len(), 3, "{lines:?}");
}

#[test]
fn rejects_integers_of_the_wrong_type_or_range() {
    let ranges = [
        ("graph.history", 1, 1_000),
        ("graph.neighbours", 1, 1_000),
        ("graph.k", 1, 1_000),
        ("graph.min_cooccurrence", 1, 4_294_967_295_i64),
        ("graph.shrink", 0, 4_294_967_295),
        ("graph.resolution", 1, 16),
        ("graph.sample", 1, 1_000),
        ("graph.similar_users", 1, 1_000),
        ("graph.user_resolution", 1, 16),
        ("graph.sources.items", 0, 1_000_000),
        ("graph.sources.users", 0, 1_000_000),
        ("levels.view", 1, 15),
        ("levels.bid", 1, 15),
        ("input.batch", 1, 10_000_000),
        ("trending.k", 0, 1_000),
        ("trending.buckets", 1, 16),
    ];
    for (key, least, most) in ranges {
        for right in [least, most] {
            assert!(load(&format!("{key} = {right}"), &[]).is_ok(), "{key} = {right}");
        }
        let (below, above) = ((least - 1).to_string(), (most + 1).to_string());
        for given in [&below, &above, "\"3\"", "3.0", "true", "[3]", "9999999999999999999999", "1979-05-27"] {
            assert_eq!(
                mistake(&format!("\n{key} = {given} # here")),
                format!("my.toml:2: {key} must be an integer from {least} to {most}, not {given}")
            );
        }
    }
    assert_eq!(set_mistake("graph.k=abc"), "--set graph.k=abc: graph.k must be an integer from 1 to 1000, not \"abc\"");
}

#[test]
fn rejects_an_unknown_similarity() {
    for measure in ["cosine", "jaccard", "llr", "count"] {
        assert!(load(&format!("graph.similarity = \"{measure}\""), &[&format!("graph.similarity={measure}")]).is_ok());
    }
    for given in ["\"Cosine\"", "\"\"", "1", "[\"llr\"]"] {
        let right = "\"cosine\" or \"jaccard\" or \"llr\" or \"count\"";
        assert_eq!(
            mistake(&format!("graph.similarity = {given}")),
            format!("my.toml:1: graph.similarity must be {right}, not {given}")
        );
    }
}

#[test]
fn rejects_durations_of_the_wrong_form_or_range() {
    let right = |least, most| {
        format!("a duration from \"{least}\" to \"{most}\", an integer with ms, s, m, h or d as in \"30m\"")
    };
    for given in
        ["30", "\"30\"", "\"30 d\"", "\"0s\"", "\"36501d\"", "\"99999999999999999999d\"", "\"-1s\"", "[\"30d\"]"]
    {
        assert_eq!(
            mistake(&format!("graph.retention = {given}")),
            format!("my.toml:1: graph.retention must be \"forever\" or {}, not {given}", right("1ms", "36500d"))
        );
        assert_eq!(
            mistake(&format!("graph.audience = {given}")),
            format!("my.toml:1: graph.audience must be \"all\" or {}, not {given}", right("1ms", "36500d"))
        );
    }
    assert_eq!(
        set_mistake("input.max_skew=5sec"),
        format!("--set input.max_skew=5sec: input.max_skew must be {}, not \"5sec\"", right("0ms", "3650d"))
    );
}

#[test]
fn rejects_sizes_of_the_wrong_form_or_range() {
    for given in ["1048576", "\"1MB\"", "\"0B\"", "\"1025MiB\"", "\"99999999999999MiB\""] {
        let right = "a size from \"1B\" to \"1024MiB\", an integer with B, KiB or MiB as in \"1MiB\"";
        assert_eq!(
            mistake(&format!("input.max_record = {given}")),
            format!("my.toml:1: input.max_record must be {right}, not {given}")
        );
    }
}

#[test]
fn rejects_stairs_that_do_not_rise() {
    let seventeen = format!("{:?}", (1..=17).collect::<Vec<_>>());
    for given in ["[]", "[0, 2]", "[2, 2]", "[4, 2]", "[2, \"4\"]", "[10001]", "4", &seventeen] {
        let right = "1 to 16 integers from 1 to 10000, each above the one before, as in [1, 2, 4, 24]";
        assert_eq!(
            mistake(&format!("graph.stairs = {given}")),
            format!("my.toml:1: graph.stairs must be {right}, not {given}")
        );
    }
    assert!(load("", &["graph.stairs=[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16]"]).is_ok());
}

#[test]
fn rejects_watch_steps_that_do_not_rise() {
    let given = [
        "[[\"5s\", 1], [\"5s\", 2]]",
        "[[\"5s\", 0]]",
        "[[\"5s\", 16]]",
        "[[5, 1]]",
        "[\"5s\"]",
        "[[\"5s\", 1, 2]]",
        "3",
    ];
    for given in given {
        let right = "steps of a duration and a level from 1 to 15, durations rising, as in [[\"5s\", 1], [\"30s\", 2]]";
        assert_eq!(
            mistake(&format!("levels.watch = {given}")),
            format!("my.toml:1: levels.watch must be {right}, not {given}")
        );
    }
}

#[test]
fn rejects_a_level_for_an_alias() {
    assert_eq!(
        mistake("[levels]\nview = 2\npv = 1\n"),
        "my.toml:3: levels.pv: `pv` is another spelling of `view`; set levels.view"
    );
    let lines = mistakes("[levels]\nfav = 99\n", &["levels.buy=3"]);
    assert_eq!(lines.len(), 3, "the range, and both aliases: {lines:?}");
}

#[test]
fn rejects_a_retraction_of_another_form() {
    for given in ["1", "\"like\"", "[\"like\", 1]", "true"] {
        let right = "{of = \"ACTION\", leaves = LEVEL} with an action that has a level, or \"*\" for all, and a level from 0 to 14";
        for action in ["unlike", "hide"] {
            assert_eq!(
                mistake(&format!("retractions.{action} = {given}")),
                format!("my.toml:1: retractions.{action} must be {right}, not {given}")
            );
        }
    }
    for given in ["{}", "{leaves = 1}", "{of = \"like\"}", "{leaves = \"1\", of = \"like\"}", "{leaves = 1, of = 3}"] {
        let line = mistake(&format!("retractions.unlike = {given}"));
        assert!(line.ends_with(&format!(" from 0 to 14, not {given}")), "{line}");
    }
    assert!(set_mistake("retractions.unlike.leaves=0").ends_with(", not {leaves = 0}"), "it is replaced as a whole");
    assert_eq!(
        mistake("[retractions]\nunlike = {of = \"like\", leaves = 1, leavs = 2}\n"),
        "my.toml:2: unknown key retractions.unlike.leavs (did you mean retractions.unlike.leaves?); [retractions.unlike] has the \
         keys leaves, of"
    );
    let lines =
        mistakes("[retractions]\n\"un.like\" = {of = \"like\", level = 1}\n", &["retractions.x=1", "graph.k=0"]);
    assert_eq!(lines.len(), 4, "the unknown key and the missing one, and those of later layers: {lines:?}");
    assert_eq!(
        mistake("retractions = 3"),
        "my.toml:1: retractions must be a section, [retractions] or retractions.KEY = VALUE, not 3"
    );
}

#[test]
fn rejects_a_retraction_that_does_not_fit_the_levels() {
    for (given, right) in [
        (
            "x = {of = \"lik\", leaves = 1}",
            "x: `lik` has no level; `of` is an action with a level under [levels], or \"*\" for all of them",
        ),
        (
            "x = {of = \"unlike\", leaves = 0}",
            "x: `unlike` has no level; `of` is an action with a level under [levels], or \"*\" for all of them",
        ),
        ("x = {of = \"buy\", leaves = 1}", "x: `buy` is another spelling of `purchase`; write of = \"purchase\""),
        (
            "pv = {of = \"like\", leaves = 1}",
            "pv: `pv` is another spelling of `view`; give the retraction another name",
        ),
        (
            "view = {of = \"like\", leaves = 1}",
            "view: `view` has a level: remove levels.view, or give the retraction another name",
        ),
        (
            "x = {of = \"like\", leaves = 3}",
            "x: `leaves` is an integer from 0 to 2, below the level of `like`, and not 3",
        ),
        (
            "x = {of = \"view\", leaves = -1}",
            "x: `leaves` is an integer from 0 to 0, below the level of `view`, and not -1",
        ),
        ("x = {of = \"*\", leaves = 15}", "x: `leaves` is an integer from 0 to 14, below the level of `*`, and not 15"),
        (
            "unlike = {of = \"watch\", leaves = 3}",
            "unlike: `leaves` is an integer from 0 to 2, below the level of `watch`, and not 3",
        ),
    ] {
        assert_eq!(mistake(&format!("[retractions]\n{given}\n")), format!("my.toml:2: retractions.{right}"));
    }
    let both = "my.toml:2: retractions.return: `return` has a level: remove levels.return, or give the retraction another name";
    let text = "[retractions]\nreturn = {of = \"purchase\", leaves = 1}\n";
    assert_eq!(mistakes(text, &["levels.return=3"]), [both]);
    let without = "[levels]\nwatch = []\n[retractions]\nx = {of = \"watch\", leaves = 0}\n";
    assert!(mistake(without).starts_with("my.toml:4: retractions.x: `watch` has no level; "));
    // Which levels are meant is not known.
    assert_eq!(mistakes("[retractions]\nx = {of = \"bid\", leaves = 5}\n", &["levels.bid=x"]).len(), 1);
    assert_eq!(mistakes("[retractions]\nx = {of = \"bid\", leaves = 5}\n", &["levels.bid 6"]).len(), 1);
}

#[test]
fn rejects_a_time_of_skips_beyond_the_retention() {
    assert_eq!(
        mistake("[graph]\nretention = \"2h\"\nskipped = \"3h\"\n").split(" (").next(),
        Some("my.toml:3: graph.skipped must be at most the retention, \"2h\"")
    );
    let [only] = &mistakes("graph.skipped = \"3h\"", &["graph.retention=2h"])[..] else { panic!("one mistake") };
    assert!(
        only.starts_with("--set graph.retention=2h: graph.retention must be at least graph.skipped, \"3h\" ("),
        "{only}"
    );
    assert!(mistake("graph.skipped = \"0ms\"").contains("a duration from \"1ms\""));
}

#[test]
fn rejects_an_audience_beyond_the_retention() {
    let default = |name: &str| DEFAULTS.lines().position(|line| line.starts_with(name)).unwrap() + 1;
    let (retention, audience) = (default("retention ="), default("audience ="));
    assert_eq!(
        mistake("[graph]\naudience = \"31d\"\n"),
        format!(
            "my.toml:2: graph.audience must be at most the retention, \"30d\" (built-in deltarec.toml:{retention}), not \"31d\""
        )
    );
    assert_eq!(
        mistake("[graph]\nretention = \"10m\"\n"),
        format!(
            "my.toml:2: graph.retention must be at least the audience, \"30m\" (built-in deltarec.toml:{audience}), not \"10m\""
        )
    );
    assert_eq!(
        mistake("[graph]\nretention = \"1h\"\naudience = \"2h\"\n").split(" (").next(),
        Some("my.toml:3: graph.audience must be at most the retention, \"1h\"")
    );
    let [only] = <[String; 1]>::try_from(mistakes("graph.audience = \"1h\"", &["graph.retention=59m"])).unwrap();
    assert!(
        only.starts_with("--set graph.retention=59m: graph.retention must be at least the audience, \"1h\" ("),
        "{only}"
    );
    assert!(only.ends_with("my.toml:1), not \"59m\""), "{only}");
    assert!(load("graph.audience = \"all\"\ngraph.retention = \"1ms\"", &[]).is_ok());
    assert!(load("graph.audience = \"1h\"\ngraph.retention = \"60m\"", &[]).is_ok());
}

#[test]
fn checks_the_audience_only_if_both_values_were_read() {
    assert_eq!(mistakes("[graph]\nretention = \"60\"\n", &["graph.audience=40d"]).len(), 1);
    assert_eq!(mistakes("[graph]\nretention = 60d\n", &["graph.audience=40d"]).len(), 1);
}

#[test]
fn rejects_a_value_for_a_section_and_a_section_for_a_value() {
    assert_eq!(mistake("graph = 3"), "my.toml:1: graph must be a section, [graph] or graph.KEY = VALUE, not 3");
    assert_eq!(mistake("[[input]]\nbatch = 1").split(" must").next(), Some("my.toml:1: input"));
    assert_eq!(mistake("[graph.k]\nx = 1"), "my.toml:1: graph.k must be a single value, not a table");
    assert_eq!(mistake("[levels.bid]\nx = 1"), "my.toml:1: levels.bid must be a single value, not a table");
}

#[test]
fn rejects_a_malformed_set() {
    let hint = "write KEY=VALUE, as in graph.k=20 or 'levels.watch=[[\"5s\", 1]]'";
    for (set, shown) in [
        ("graph.k", "graph.k"),
        ("=3", "=(hidden)"),
        ("graph k=3", "(hidden)=(hidden)"),
        ("graph..k=3", "graph..k=3"),
        ("# graph.k=3", "(hidden)=(hidden)"),
        ("kafka.security.password:hunter2", "kafka.security.password(hidden)"),
    ] {
        assert_eq!(set_mistake(set), format!("--set {shown}: it does not begin with a key and `=`; {hint}"));
    }
    assert!(set_mistake("graph.retention=30 days").contains("must be \"forever\" or a duration"));
    assert_eq!(set_mistake("graph.k="), format!("--set graph.k=: there is nothing after `=`; {hint}"));
    for set in
        ["graph.stairs=[1,2", "levels.watch=[[5s,1]]", "graph.k=1\ngraph.history=2", "graph.stairs=2,3", "graph.k=\"3"]
    {
        assert!(set_mistake(set).contains(": the value is not TOML ("), "{}", set_mistake(set));
    }
}

#[test]
fn reports_a_mistake_that_a_later_layer_overrides() {
    let lines = mistakes("[graph]\nk = \"many\"\n", &["graph.k=20"]);
    assert_eq!(lines, ["my.toml:2: graph.k must be an integer from 1 to 1000, not \"many\""]);
}

#[test]
fn reports_all_mistakes_in_the_order_of_layers_and_lines() {
    let text = "[graph]\nneighbors = 3\n\n[levels]\nview = 0\n\n[input]\nmax_skew = \"5\"\nbatch = 7\n";
    let message = load(text, &["graph.stairs=[4,2]", "graph.k=0"]).unwrap_err().to_string();
    assert_eq!(message.lines().next(), Some("5 mistakes in the configuration:"));
    let lines = mistakes(text, &["graph.stairs=[4,2]", "graph.k=0"]);
    let places: Vec<&str> = lines.iter().map(|line| line.split(": ").next().unwrap()).collect();
    assert_eq!(places, ["my.toml:2", "my.toml:5", "my.toml:8", "--set graph.stairs=[4,2]", "--set graph.k=0"]);
}

#[test]
fn cuts_a_long_value_in_a_message() {
    let line = mistake(&format!("graph.stairs = [\n  \"{}\",\n  3,\n]", "x".repeat(500)));
    assert!(line.starts_with("my.toml:1: graph.stairs must be ") && line.ends_with("xxx..."), "{line}");
    assert!(line.len() < 250, "{line}");
}

#[test]
fn large_configurations_are_read_in_linear_time_and_named_in_short_messages() {
    let table = |actions: usize| {
        let lines: Vec<String> = (0..actions).map(|n| format!("a{n} = 3\n")).collect();
        format!("[levels]\n{}", lines.concat())
    };
    load(&table(9_900), &[]).unwrap();
    let line = mistake(&table(200_000));
    assert!(line.contains("one of at most 10000 actions, and not of 2000"), "{line}");
    let line = mistake(&table(20_000).replace("levels", "retractions").replace("= 3", "= {of = \"like\", leaves = 0}"));
    assert!(line.contains("one of at most 10000 actions, and not of 20006"), "{line}");

    let long = "x".repeat(300_000);
    for line in [
        mistake(&format!("[graph]\n{long} = 3")),
        mistake(&format!("[levels]\n{long} = 300")),
        mistake(&format!("[levels]\n\"a\\nb{long}\" = 300")),
        mistake(&format!("[retractions]\n{long} = 300")),
        mistake(&format!("[retractions]\n{long} = {{of = \"{long}\", leaves = 0}}")),
        mistake(&format!("[retractions]\nx = {{of = \"like\", leaves = 1, {long} = 1}}")),
        mistake(&format!("graph.k = \"{long}\"")),
        mistake(&format!("graph.k = \"{}\"", "x ".repeat(200_000))),
        set_mistake(&format!("graph.{long}=3")),
        set_mistake(&format!("graph.k={long}")),
        set_mistake(&long),
        set_mistake(&format!("{}=3", vec!["a"; 60_000].join("."))),
        set_mistake(&"=".repeat(100_000)),
    ] {
        assert!(line.len() < 700 && !line.contains('\n'), "{} bytes: {}", line.len(), &line[..200]);
    }
    let wrong: Vec<String> = (0..500).map(|n| format!("a{n} = 99\n")).collect();
    let message = load(&format!("[levels]\n{}", wrong.concat()), &[]).unwrap_err().to_string();
    assert!(message.starts_with("500 mistakes") && message.ends_with("and 480 more"), "{message}");
}

#[test]
fn counts_one_mistake_in_the_singular() {
    assert!(load("graph.k = 0", &[]).unwrap_err().to_string().starts_with("1 mistake in the configuration:\n  "));
}

#[test]
fn rejects_a_trending_window_beyond_the_retention() {
    let refused = mistakes("[trending]\nk = 5\nbucket = \"1h\"\n", &["graph.retention=8h"]);
    assert_eq!(
        refused,
        ["my.toml:3: trending.bucket must be short enough that 9 of it, one more than trending.buckets, are at most \
          graph.retention, \"8h\" (--set graph.retention=8h), not \"1h\""]
    );
    // The window does not matter while trending is off.
    assert!(load("[trending]\nbucket = \"1h\"\n", &["graph.retention=8h"]).is_ok());
    assert!(load("[trending]\nk = 5\nbucket = \"1h\"\n", &["graph.retention=9h"]).is_ok());
    let [rooms] = &mistakes("[trending]\nrooms = 3\n", &[])[..] else { panic!("one mistake") };
    assert_eq!(rooms, "my.toml:2: trending.rooms must be true or false, not 3");
}

#[test]
fn rejects_sasl_without_a_mechanism_or_a_user_and_hides_secrets() {
    let lines = mistakes("[kafka.security]\nprotocol = \"sasl_ssl\"\nusername = \"\"\n", &[]);
    assert_eq!(
        lines,
        [
            "my.toml:2: kafka.security.mechanism must be PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512 with protocol sasl_*, not absent",
            "my.toml:2: kafka.security.username must be set with protocol sasl_*, not \"\"",
        ]
    );
    let [line] = &mistakes("kafka.security.password = \"hunter2\"", &[])[..] else { panic!("one mistake") };
    assert!(line.ends_with("not what was given (hidden)"), "{line}");
}
