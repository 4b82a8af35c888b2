use std::borrow::Cow;

/// Replaces what may be a secret in the URIs of a text: user and password before the host, and values of the query that are
/// named like secrets. The rest stays as it is.
///
/// ```
/// assert_eq!(schema::redact_uris("kafka://ann:pw@broker:9092/clicks: no"), "kafka://(hidden)@broker:9092/clicks: no");
/// ```
pub fn redact_uris(text: &str) -> Cow<'_, str> {
    if !text.contains(SCHEME_END) {
        return text.into();
    }
    let (mut redacted, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(at) = rest.find(SCHEME_END) {
        let (before, uri) = rest.split_at(at + SCHEME_END.len());
        let length = uri.find(ends_uri).unwrap_or(uri.len());
        let scheme = before.trim_end_matches(SCHEME_END).rsplit(|c: char| !c.is_ascii_alphanumeric()).next();
        redacted.push_str(before);
        push_redacted(&uri[..length], scheme.unwrap_or_default(), &mut redacted);
        rest = &uri[length..];
    }
    redacted.push_str(rest);
    redacted.into()
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

const SCHEME_END: &str = "://";
const HIDDEN: &str = "(hidden)";

/// Passwords may contain almost anything, so a URI ends where a word does.
fn ends_uri(c: char) -> bool {
    c.is_whitespace() || c.is_control() || matches!(c, '`' | '"' | '<' | '>')
}

/// Appends the part of a URI after the scheme.
fn push_redacted(uri: &str, scheme: &str, redacted: &mut String) {
    let mut rest = uri;
    if let Some(at) = uri.rfind('@') {
        // A password with a slash looks like a host and a port that is no number. Topics have no `@` at all.
        let authority = uri.split('/').next().unwrap_or_default();
        let is_port = |port: &str| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
        let is_plain = scheme != "kafka"
            && !uri.contains(SCHEME_END)
            && !authority.contains('@')
            && authority.rsplit_once(':').is_none_or(|(_, port)| is_port(port));
        if !is_plain {
            redacted.push_str(HIDDEN);
            rest = &uri[at..];
        }
    }
    let Some((path, query)) = rest.split_once('?') else { return redacted.push_str(rest) };
    redacted.push_str(path);
    for (n, pair) in query.split('&').enumerate() {
        redacted.push(if n == 0 { '?' } else { '&' });
        match pair.split_once('=') {
            Some((name, _)) if is_secret_name(name) => redacted.extend([name, "=", HIDDEN]),
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
            "see https://docs.rs/x `s3://b/x`: no",
            "file:///tmp/a?b=c",
        ] {
            assert_eq!(redact_uris(text), text);
        }
    }
}
