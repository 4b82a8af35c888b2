use std::borrow::Cow;

use crate::scheme::scheme_without_slashes;

/// Replaces what may be a secret in the URIs and addresses of a text: user and password before a host, text where a port
/// belongs, and values of the query that are named like secrets. The rest stays as it is. A typo must not bring a secret to
/// light, so a URI may lack its slashes or be encoded, and in doubt more is hidden than necessary.
///
/// ```
/// assert_eq!(schema::redact_uris("kafka://ann:pw@broker:9092/clicks: no"), "kafka://(hidden)@broker:9092/clicks: no");
/// assert_eq!(schema::redact_uris("kafka:ann:pw@broker/clicks"), "(hidden)@broker/clicks");
/// assert_eq!(schema::redact_uris("kafka://broker:pw/clicks"), "kafka://broker:(hidden)");
/// ```
pub fn redact_uris(text: &str) -> Cow<'_, str> {
    if !text.contains([':', '=', '%']) {
        return text.into();
    }
    let (mut redacted, mut rest) = (String::with_capacity(text.len()), text);
    while !rest.is_empty() {
        let length = rest.find(ends_word).unwrap_or(rest.len());
        push_word(&rest[..length], &mut redacted);
        let next = rest[length..].chars().next().map_or(0, char::len_utf8);
        redacted.push_str(&rest[length..length + next]);
        rest = &rest[length + next..];
    }
    redacted.into()
}

/// The address of a host, `HOST:PORT`, without what may be a secret.
///
/// ```
/// assert_eq!(schema::redact_address("broker:pw"), "broker:(hidden)");
/// assert_eq!(schema::redact_address("ann:pw@broker:1"), "(hidden)@broker:1");
/// ```
pub fn redact_address(address: &str) -> String {
    let mut redacted = String::new();
    push_uri(address, "kafka", &mut redacted);
    redacted
}

/// Whether a setting of this name may have a secret as its value.
pub fn is_secret_name(name: &str) -> bool {
    const WORDS: [&str; 13] = [
        "secret",
        "passw",
        "passphrase",
        "pwd",
        "token",
        "key",
        "sig",
        "credential",
        "jaas",
        "oauth",
        "pem",
        "auth",
        "sas",
    ];
    let name = name.to_ascii_lowercase();
    WORDS.iter().any(|word| name.contains(word))
}

/// Whether a setting of this name is meant for a secret, wherever it is written.
fn is_password_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let is_place = name.ends_with("_file") || name.ends_with("-file");
    !is_place
        && ["secret", "password", "passwd", "passphrase", "token", "credential"].iter().any(|word| name.contains(word))
}

const SCHEME_END: &str = "://";
const HIDDEN: &str = "(hidden)";
/// How a text begins that was hidden before. A closing bracket may be cut off.
const SHOWN: &str = "(hidden";

/// What may follow a URI in a sentence, and end a string in JSON.
const ENDS: [char; 7] = [':', '.', ';', ')', ']', '\'', '\\'];

/// Passwords may contain almost anything, so a URI ends where a word does.
fn ends_word(c: char) -> bool {
    c.is_whitespace() || c.is_control() || matches!(c, '`' | '"' | '<' | '>')
}

/// Appends a word, which may contain a URI or an address.
fn push_word(word: &str, redacted: &mut String) {
    if let Some(at) = word.find(SCHEME_END) {
        let (scheme, rest) = word.split_at(at);
        redacted.extend([scheme, SCHEME_END]);
        let scheme = scheme.rsplit(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default();
        return push_uri(&rest[SCHEME_END.len()..], scheme, redacted);
    }
    // A user with a password before a host, with or without the name of a scheme.
    if let Some(at) = last_at(word)
        && [":", "%3A", "%3a"].iter().any(|colon| word[..at].contains(colon))
    {
        redacted.push_str(HIDDEN);
        return push_pairs(&word[at..], redacted);
    }
    if let Some((before, value)) = word.split_once('=')
        && let Some(name) = before.rsplit(|c: char| !(c.is_ascii_alphanumeric() || "_-.".contains(c))).next()
        && is_password_name(name)
        && !["env:", "file:", SHOWN].iter().any(|place| value.starts_with(place))
    {
        return redacted.extend([before, "=", HIDDEN, &value[value.trim_end_matches(ENDS).len()..]]);
    }
    // The URI may be the value of an option.
    let start = word.find('=').filter(|at| !word[..*at].contains(':')).map_or(0, |at| at + 1);
    // Messages put it in quotes.
    let start = word.len() - word[start..].trim_start_matches(['\'', '(']).len();
    match scheme_without_slashes(&word[start..]) {
        Some(scheme) => {
            let (before, rest) = word.split_at(start + scheme.len() + 1);
            redacted.push_str(before);
            push_uri(rest, scheme, redacted);
        }
        None => redacted.push_str(word),
    }
}

/// Appends the part of a URI after the scheme.
fn push_uri(uri: &str, scheme: &str, redacted: &mut String) {
    let authority = uri.trim_start_matches('/').split(['/', '?', '#']).next().unwrap_or_default();
    let authority = if scheme == "file" { "" } else { authority };
    let secret = authority.split(',').find_map(|address| {
        let (start, port) = port(address)?;
        let port = port.trim_end_matches(ENDS);
        let port = port.strip_prefix('-').unwrap_or(port);
        // `PORT` is in advice on what to write.
        let is_port = (port.len() <= 5 && port.bytes().all(|byte| byte.is_ascii_digit())) || port.starts_with("PORT");
        (!is_port && !port.starts_with(SHOWN)).then(|| address.as_ptr().addr() - uri.as_ptr().addr() + start)
    });
    if let Some(at) = last_at(uri) {
        // A password with a slash looks like a host and a port that is no number. Topics have no `@` at all.
        let is_plain =
            scheme != "kafka" && !uri.contains(SCHEME_END) && last_at(authority).is_none() && secret.is_none();
        if !is_plain {
            redacted.push_str(HIDDEN);
            return push_pairs(&uri[at..], redacted);
        }
    }
    match secret {
        // Where the secret ends is not known.
        Some(start) => {
            redacted.extend([&uri[..start], HIDDEN, &uri[uri.trim_end_matches(ENDS).len()..]]);
        }
        None => push_pairs(uri, redacted),
    }
}

/// The last `@`, also in the encoding of URLs.
fn last_at(text: &str) -> Option<usize> {
    text.rfind('@').max(text.rfind("%40"))
}

/// The text after the first colon of an address, and where it begins. Only addresses in brackets have other colons.
fn port(address: &str) -> Option<(usize, &str)> {
    let host = address.rfind(']').map_or(0, |end| end + 1);
    let find = |colon: &str| address[host..].find(colon).map(|at| host + at + colon.len());
    let start = [":", "%3A", "%3a"].into_iter().filter_map(find).min()?;
    Some((start, &address[start..]))
}

/// Appends the path of a URI, and its query without values that are named like secrets. A misspelt query may begin with any
/// of its separators.
fn push_pairs(text: &str, redacted: &mut String) {
    const SEPARATORS: [char; 4] = ['?', '&', '#', ';'];
    for (n, pair) in text.split_inclusive(SEPARATORS).enumerate() {
        let value = pair.trim_end_matches(SEPARATORS);
        match value.split_once(['=', ':']) {
            Some((name, _)) if n > 0 && is_secret_name(name) => {
                redacted.extend([&pair[..=name.len()], HIDDEN, &pair[value.len()..]]);
            }
            _ => redacted.push_str(pair),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hides_users_passwords_and_signatures() {
        for (given, right) in [
            ("kafka://ann:pw@broker:9092/clicks", "kafka://(hidden)@broker:9092/clicks"),
            ("kafka://ann:p/w@broker:9092/clicks", "kafka://(hidden)@broker:9092/clicks"),
            ("kafka://ann:1/2@broker:9092/clicks", "kafka://(hidden)@broker:9092/clicks"),
            ("kafka://ann:p@w@broker:9092/clicks", "kafka://(hidden)@broker:9092/clicks"),
            ("kafka://ann:pw@a:1,bob:pv@b:2/t", "kafka://(hidden)@b:2/t"),
            ("s3://AKIA:abc/def+g@bucket/x: no", "s3://(hidden)@bucket/x: no"),
            ("--state=s3://AKIA:abc@bucket and s3://b/x", "--state=s3://(hidden)@bucket and s3://b/x"),
            ("az://c/p?sv=2&sig=a%2Fb&se=3", "az://c/p?sv=2&sig=(hidden)&se=3"),
            ("(https://a:b@h/?password=x)", "(https://(hidden)@h/?password=(hidden)"),
            // Typos.
            ("kafka:ann:pw@broker/t", "(hidden)@broker/t"),
            ("`a:pw@broker:1` is not an address", "`(hidden)@broker:1` is not an address"),
            ("a:pw@broker:1,b:2", "(hidden)@broker:1,b:2"),
            ("kafka://broker:pw/t: no", "kafka://broker:(hidden): no"),
            ("kafka://a:1,broker:pw/t", "kafka://a:1,broker:(hidden)"),
            ("kafka:broker:pw/t", "kafka:broker:(hidden)"),
            ("kafka:/broker:pw/t", "kafka:/broker:(hidden)"),
            ("--state=s3:bucket:pw/t", "--state=s3:bucket:(hidden)"),
            ("kafka://broker:123456/t", "kafka://broker:(hidden)"),
            ("kafka://ann%3Apw%40broker:1/t", "kafka://(hidden)%40broker:1/t"),
            ("host: ann%3Apw%40broker:9/bootstrap: no", "host: (hidden)%40broker:9/bootstrap: no"),
            ("kafka://ann%3apw/t", "kafka://ann%3a(hidden)"),
            ("s3://ann%3Apw%40bucket/t", "s3://(hidden)%40bucket/t"),
            ("s3://b/x&sig=pw", "s3://b/x&sig=(hidden)"),
            ("'s3:b/x?sig=pw' found", "'s3:b/x?sig=(hidden) found"),
            ("s3://b/x&sig:pw", "s3://b/x&sig:(hidden)"),
            ("s3://b/x#token=pw&x=1", "s3://b/x#token=(hidden)&x=1"),
            ("az:c/x?sig=pw", "az:c/x?sig=(hidden)"),
            ("--state=az:c/x?sig=pw", "--state=az:c/x?sig=(hidden)"),
            ("argument 'kafka.security.password=pw' found", "argument 'kafka.security.password=(hidden)' found"),
            (r#"{"a":"\"kafka://h:pw\""}"#, r#"{"a":"\"kafka://h:(hidden)\""}"#),
        ] {
            assert_eq!(redact_uris(given), right);
            assert_eq!(redact_uris(right), right, "twice");
        }
    }

    #[test]
    fn leaves_everything_else() {
        for text in [
            "",
            "://",
            "a@b",
            "kafka://a:9092,b:9093/t",
            "s3://bucket/a@b/c",
            "http://host:9000/a@b",
            "x.csv?key=1",
            "file:///a:b/c",
            "see https://docs.rs/x `s3://b/x`: no",
            "kafka://[::1]:9092,[::2]/t:3: no",
            "kafka: localhost:9/bootstrap: Connect to ipv4#127.0.0.1:9 failed",
            "sasl_ssl://kafka:9092/bootstrap: no, kafka:9092/1: no, sasl_ssl://GroupCoordinator: no",
            "(http://127.0.0.1:9000/b?list-type=2), http://127.0.0.1:9000: http://127.0.0.1:9000.",
            "kafka:9092,kafka:9093",
            "write http://HOST:PORT or https://HOST; write kafka://HOST:PORT[,HOST:PORT...]/TOPIC",
            "a@b:3",
            "password=env:PW secret_file=/run/x",
            r#"{"a":"\"kafka://h:9092\""}"#,
            "2026-11-30T03:36:01Z x.jsonl:3: src::y: 12:30:00",
            "file:///tmp/a?b=c",
        ] {
            assert_eq!(redact_uris(text), text);
        }
    }
}
