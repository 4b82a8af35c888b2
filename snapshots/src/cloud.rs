//! Settings of cloud stores, from the environment.

use std::ffi::OsString;

use url::Url;

/// The variables that a store may read. Values are trimmed, as a mounted secret ends with a line end, and one that is set to
/// nothing is not set. Fails with the name of a variable and what is wrong with it.
pub(crate) fn settings(variables: impl Iterator<Item = (OsString, OsString)>) -> Result<Vec<(String, String)>, String> {
    let mut settings = Vec::new();
    for (name, value) in variables {
        let (Ok(name), Ok(value)) = (name.into_string(), value.into_string()) else { continue };
        let value = value.trim();
        if value.is_empty() {
            continue;
        }
        // A store reads a few variables without a prefix too. Other programs may have set those.
        if ["AWS_", "GOOGLE_", "AZURE_"].iter().any(|prefix| name.starts_with(prefix)) {
            check(&name, value)?;
        }
        settings.push((name, value.to_owned()));
    }
    let plain = settings.iter().find(|(name, value)| name == "AWS_ENDPOINT" && value.starts_with("http://"));
    if let Some((name, value)) = plain
        && !settings.iter().any(|(name, value)| {
            name == "AWS_ALLOW_HTTP"
                && matches!(value.to_ascii_lowercase().as_str(), "1" | "true" | "on" | "yes" | "y" | "t")
        })
    {
        return Err(format!("{name} is `{value}`: a store without TLS also needs AWS_ALLOW_HTTP=true"));
    }
    Ok(settings)
}

fn check(name: &str, value: &str) -> Result<(), String> {
    let is_endpoint = name.ends_with("_ENDPOINT") || name.ends_with("_ENDPOINT_URL");
    // AWS_USE_FIPS_ENDPOINT and the like are flags.
    if is_endpoint && !name.contains("_USE_") {
        return check_endpoint(name, value);
    }
    // The key of a service account is JSON. Anything else goes into a header of HTTP.
    if value.contains(|c: char| c.is_control()) && !name.contains("SERVICE_ACCOUNT") {
        return Err(format!("{name} has a line break or another control character in it"));
    }
    Ok(())
}

/// The port must be checked here: a client may panic over it, or connect elsewhere.
fn check_endpoint(name: &str, value: &str) -> Result<(), String> {
    let wrong = |what: &str| Err(format!("{name} is `{value}`: {what}, write http://HOST:PORT or https://HOST:PORT"));
    if value.contains(char::is_whitespace) {
        return wrong("it has blanks in it");
    }
    match Url::parse(value) {
        Ok(url) if !matches!(url.scheme(), "http" | "https") => wrong("it does not begin with http:// or https://"),
        Ok(url) if url.port() == Some(0) => wrong("a port is a number from 1 to 65535"),
        Ok(_) => Ok(()),
        Err(url::ParseError::InvalidPort) => wrong("a port is a number from 1 to 65535"),
        Err(error) => wrong(&error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(variables: &[(&str, &str)]) -> Result<Vec<(String, String)>, String> {
        settings(variables.iter().map(|(name, value)| ((*name).into(), (*value).into())))
    }

    #[test]
    fn trims_values_and_leaves_out_empty_ones() {
        let given = [("AWS_REGION", " eu-west-1\n"), ("AWS_ENDPOINT", ""), ("AWS_PROFILE", " \n"), ("PATH", "")];
        assert_eq!(parse(&given), Ok(vec![("AWS_REGION".into(), "eu-west-1".into())]));
        let given = [("AWS_ENDPOINT", "http://127.0.0.1:9000\n"), ("AWS_ALLOW_HTTP", "true")];
        assert_eq!(parse(&given).unwrap()[0].1, "http://127.0.0.1:9000");
        assert!(parse(&[("AWS_ENDPOINT", "https://s3.example.org"), ("AWS_USE_FIPS_ENDPOINT", "true")]).is_ok());
    }

    #[test]
    fn errors_name_the_variable_and_what_to_write() {
        for (name, value, part) in [
            ("AWS_ENDPOINT", "localhost:9000", "does not begin with http"),
            ("AWS_ENDPOINT", "127.0.0.1:9000", "write http://HOST:PORT"),
            ("AWS_ENDPOINT", "http://localhost:99999", "from 1 to 65535"),
            ("AWS_ENDPOINT_URL", "https://localhost:0", "from 1 to 65535"),
            ("AWS_ENDPOINT", "http://local host:9000", "blanks"),
            ("AWS_ENDPOINT", "http://local\nhost:9000", "blanks"),
            ("AWS_ENDPOINT", "http://localhost:9000", "AWS_ALLOW_HTTP=true"),
            ("AZURE_STORAGE_ENDPOINT", "https://localhost:65536", "from 1 to 65535"),
            ("AWS_ENDPOINT", "http://", "write http://HOST:PORT"),
            ("AWS_REGION", "eu\nwest", "control character"),
            ("AWS_SECRET_ACCESS_KEY", "a\u{1}b", "control character"),
        ] {
            let error = parse(&[(name, value)]).unwrap_err();
            assert!(error.starts_with(name) && error.contains(part), "{value}: {error}");
        }
    }
}
