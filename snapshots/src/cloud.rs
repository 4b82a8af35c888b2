//! Object stores: the URI, and the settings in the environment.
//!
//! The clients of `object_store` panic at many a value that an HTTP header or a URL cannot have, in the middle of a run. So
//! everything that a user can write is checked here first.

use std::ffi::OsString;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path as FsPath;
use std::sync::Arc;

use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{ObjectStore, ObjectStoreScheme};
use url::Url;

use crate::StoreError;

/// A kind of store.
struct Cloud {
    schemes: &'static [&'static str],
    /// Start of the names of its variables. Others are left alone: `object_store` would also read TOKEN and ENDPOINT.
    prefix: &'static str,
    /// Variables of other names.
    more: &'static [&'static str],
    /// Variables with the URL of the store itself.
    endpoints: &'static [&'static str],
    /// Variables with other URLs.
    urls: &'static [&'static str],
    /// Variables with the path of a file with a secret.
    files: &'static [&'static str],
    /// Where a key belongs, for messages.
    keys: &'static str,
    /// The variable without which no store can be opened, if there is one, and what it is.
    required: Option<(&'static str, &'static str)>,
}

const CLOUDS: [Cloud; 3] = [
    Cloud {
        schemes: &["s3", "s3a"],
        prefix: "AWS_",
        more: &[],
        endpoints: &["AWS_ENDPOINT", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"],
        urls: &["AWS_ENDPOINT_URL_STS", "AWS_METADATA_ENDPOINT", "AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_PROXY_URL"],
        files: &["AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"],
        keys: "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        required: None,
    },
    Cloud {
        schemes: &["gs"],
        prefix: "GOOGLE_",
        more: &[],
        endpoints: &["GOOGLE_BASE_URL"],
        urls: &["GOOGLE_PROXY_URL"],
        files: &["GOOGLE_SERVICE_ACCOUNT", "GOOGLE_SERVICE_ACCOUNT_PATH", "GOOGLE_APPLICATION_CREDENTIALS"],
        keys: "GOOGLE_SERVICE_ACCOUNT, the path of its file,",
        required: None,
    },
    Cloud {
        schemes: &["az", "azure", "adl", "abfs", "abfss"],
        prefix: "AZURE_",
        more: &["IDENTITY_ENDPOINT", "MSI_ENDPOINT"],
        endpoints: &["AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"],
        urls: &[
            "AZURE_STORAGE_AUTHORITY_HOST",
            "AZURE_AUTHORITY_HOST",
            "AZURE_FABRIC_TOKEN_SERVICE_URL",
            "AZURE_PROXY_URL",
            "IDENTITY_ENDPOINT",
            "MSI_ENDPOINT",
        ],
        files: &["AZURE_FEDERATED_TOKEN_FILE"],
        keys: "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
        required: Some(("AZURE_STORAGE_ACCOUNT_NAME", "the name of the storage account")),
    },
];

/// Opens the store that a URI names, with the settings of the environment. `None`: no cloud has this scheme.
pub(crate) fn open(uri: &str, url: &Url) -> Option<Result<Arc<dyn ObjectStore>, StoreError>> {
    let cloud = CLOUDS.iter().find(|cloud| cloud.schemes.contains(&url.scheme()))?;
    Some(cloud.open(uri, url))
}

impl Cloud {
    fn open(&self, uri: &str, url: &Url) -> Result<Arc<dyn ObjectStore>, StoreError> {
        check_uri(self, url).map_err(|reason| StoreError::Uri { uri: uri.to_owned(), reason })?;
        let settings = self.settings(std::env::vars_os())?;
        // What is left after this is a matter of the settings.
        ObjectStoreScheme::parse(url)
            .map_err(|error| StoreError::Uri { uri: uri.to_owned(), reason: error.to_string() })?;
        let (files, prefix): (_, Path) = opened(url, &settings).ok_or_else(|| self.blame(url, &settings))?;
        Ok(Arc::new(PrefixStore::new(files, prefix)))
    }

    /// The setting because of which a client cannot be made: the one without which it can. Nothing was sent yet. The client's
    /// own error is not shown, because it may repeat a part of a key.
    fn blame(&self, url: &Url, settings: &[(String, String)]) -> StoreError {
        let without = |at: usize| [&settings[..at], &settings[at + 1..]].concat();
        if let Some(at) = (0..settings.len()).find(|at| opened(url, &without(*at)).is_some()) {
            let name = settings[at].0.clone();
            return StoreError::Setting { reason: format!("it is not {}", expected(&name)), name };
        }
        if let Some((name, what)) = self.required.filter(|(name, _)| !settings.iter().any(|(set, _)| set == name)) {
            return StoreError::Setting { name: name.to_owned(), reason: format!("it is not set: write {what}") };
        }
        let secrets = settings.iter().map(|(name, _)| name).filter(|name| schema::is_secret_name(name));
        let names = secrets.map(String::as_str).collect::<Vec<_>>().join(", ");
        let name = if names.is_empty() { self.keys.to_owned() } else { names };
        StoreError::Setting { name, reason: "the client of the store does not accept these settings together".into() }
    }

    /// The settings among the variables. A value is trimmed, because a secret that is mounted as a file ends with a line end;
    /// an empty one is not set.
    fn settings(
        &self,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Vec<(String, String)>, StoreError> {
        let mut settings = Vec::new();
        for (name, value) in variables {
            let Ok(name) = name.into_string() else { continue };
            if !name.starts_with(self.prefix) && !self.more.contains(&name.as_str()) {
                continue;
            }
            let wrong = |reason: &str| StoreError::Setting { name: name.clone(), reason: reason.to_owned() };
            let value = value.into_string().map_err(|_| wrong("it is not UTF-8"))?;
            let mut value = value.trim().to_owned();
            if value.is_empty() {
                continue;
            }
            if self.endpoints.contains(&name.as_str()) || self.urls.contains(&name.as_str()) {
                value = web_address(&value).ok_or_else(|| wrong("write http://HOST:PORT or https://HOST"))?;
            }
            check_value(&name, &value).map_err(wrong)?;
            if self.files.contains(&name.as_str()) {
                check_file(FsPath::new(&value)).map_err(|reason| wrong(&reason))?;
            }
            settings.push((name, value));
        }
        self.check_encryption(&settings)?;
        Ok(settings)
    }

    /// An address without TLS must be meant.
    fn check_encryption(&self, settings: &[(String, String)]) -> Result<(), StoreError> {
        let allow = format!("{}ALLOW_HTTP", self.prefix);
        let is_yes = |value: &str| matches!(value.to_ascii_lowercase().as_str(), "true" | "1" | "on" | "yes" | "y");
        let allowed = settings.iter().any(|(name, value)| *name == allow && is_yes(value));
        let plain =
            |(name, value): &&(String, String)| self.endpoints.contains(&name.as_str()) && value.starts_with("http://");
        match settings.iter().find(plain) {
            Some((name, _)) if !allowed => Err(StoreError::Setting {
                name: name.clone(),
                reason: format!("http:// is not encrypted: write https://, or set {allow}=true if that is intended"),
            }),
            _ => Ok(()),
        }
    }
}

/// Makes the client of a store, and the path in it.
fn opened(url: &Url, settings: &[(String, String)]) -> Option<(Box<dyn ObjectStore>, Path)> {
    let settings = settings.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    catch_unwind(AssertUnwindSafe(|| object_store::parse_url_opts(url, settings))).ok()?.ok()
}

/// What the value of a variable should be, with an article.
fn expected(name: &str) -> &'static str {
    match name {
        _ if name.starts_with("GOOGLE_") && (name.contains("ACCOUNT") || name.contains("CREDENTIALS")) => {
            "the key of a service account in JSON, as Google gives it out"
        }
        _ if name.contains("SAS") => "a shared access signature, NAME=VALUE&NAME=VALUE...",
        _ if name.starts_with("AZURE_") && name.contains("KEY") => "the key of a storage account in base64",
        _ if name.starts_with("AWS_") && schema::is_secret_name(name) => {
            "complete: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are set together"
        }
        _ => "a value that the client of the store accepts",
    }
}

/// Checks that a file with a secret can be read, by this user only.
fn check_file(path: &FsPath) -> Result<(), String> {
    let found = File::open(path).and_then(|file| file.metadata());
    let found = found.map_err(|error| format!("cannot read the file that it names: {error}"))?;
    if schema::check_secret_mode(path, &found, rustix::process::geteuid().as_raw())? {
        tracing::warn!(file = %path.display(), "every user of this machine can read this secret");
    }
    Ok(())
}

/// The address as URLs are written, without a slash at the end.
fn web_address(text: &str) -> Option<String> {
    let url = Url::parse(text).ok()?;
    let is_plain = matches!(url.scheme(), "http" | "https")
        && url.host_str().is_some_and(|host| !host.is_empty())
        && !text.chars().any(char::is_whitespace)
        && (url.username(), url.password(), url.query(), url.fragment()) == ("", None, None, None);
    is_plain.then(|| url.as_str().trim_end_matches('/').to_owned())
}

/// Checks a value that goes into URLs and HTTP headers. The value is never shown: it may be a secret.
fn check_value(name: &str, value: &str) -> Result<(), &'static str> {
    let is_path_or_json = name.ends_with("_FILE") || name.contains("SERVICE_ACCOUNT") || name.ends_with("CREDENTIALS");
    if is_path_or_json {
        return Ok(());
    }
    if name.ends_with("REGION") && !value.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        return Err("a region is letters, digits and dashes, as in eu-west-1");
    }
    if value.chars().any(char::is_control) {
        return Err("it contains a line break or another control character");
    }
    if schema::is_secret_name(name) && !value.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ') {
        return Err("it contains a character that is not ASCII");
    }
    Ok(())
}

/// Checks that every part of a URI is used.
fn check_uri(cloud: &Cloud, url: &Url) -> Result<(), String> {
    // abfs://CONTAINER@ACCOUNT... names a container before the `@`.
    let names_container = matches!(url.scheme(), "az" | "abfs" | "abfss") && url.password().is_none();
    if (!url.username().is_empty() || url.password().is_some()) && !names_container {
        return Err(format!("it must not contain a key: set {} in the environment", cloud.keys));
    }
    if url.port().is_some() {
        return Err(format!("a bucket has no port: set {} to the address of the store", cloud.endpoints[0]));
    }
    let is_name =
        |host: &str| !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    if !url.host_str().is_some_and(is_name) {
        return Err("the name of a bucket is letters, digits, dots, dashes and underscores".into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(variables: &[(&str, &str)]) -> Result<Vec<(String, String)>, String> {
        let variables = variables.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
        CLOUDS[0].settings(variables).map_err(|error| {
            assert!(error.is_usage());
            error.to_string()
        })
    }

    #[test]
    fn settings_are_trimmed_and_others_left_out() {
        let found = settings(&[
            ("AWS_SECRET_ACCESS_KEY", "a/b+c=\n"),
            ("AWS_ENDPOINT", " https://minio:9000/\r\n"),
            ("AWS_REGION", "eu-west-1\n"),
            ("AWS_SESSION_TOKEN", " \n"),
            ("TOKEN", "of something else"),
            ("AZURE_ENDPOINT", "nonsense"),
        ]);
        let expected =
            [("AWS_SECRET_ACCESS_KEY", "a/b+c="), ("AWS_ENDPOINT", "https://minio:9000"), ("AWS_REGION", "eu-west-1")];
        assert_eq!(found.unwrap(), expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn wrong_settings_are_named_and_not_shown() {
        for (name, value, part) in [
            ("AWS_ENDPOINT", "minio:9000", "write http://HOST:PORT"),
            ("AWS_ENDPOINT", "127.0.0.1:9000", "write http://HOST:PORT"),
            ("AWS_ENDPOINT_URL", "http://", "write http://HOST:PORT"),
            ("AWS_ENDPOINT", "ftp://minio", "write http://HOST:PORT"),
            ("AWS_ENDPOINT", "https://ann:hunter2@minio", "write http://HOST:PORT"),
            ("AWS_ENDPOINT", "https://minio/?x=hunter2", "write http://HOST:PORT"),
            ("AWS_ENDPOINT", "http://127.0.0.1:1", "AWS_ALLOW_HTTP=true"),
            ("AWS_REGION", "eu west", "as in eu-west-1"),
            ("AWS_REGION", "x/y", "as in eu-west-1"),
            ("AWS_ACCESS_KEY_ID", "hunter2\nhunter2", "line break"),
            ("AWS_SESSION_TOKEN", "hunter2\u{7f}", "control"),
            ("AWS_SECRET_ACCESS_KEY", "hunter2é", "not ASCII"),
        ] {
            let error = settings(&[(name, value)]).unwrap_err();
            assert!(error.starts_with(&format!("{name}: ")) && error.contains(part), "{name}={value}: {error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
        settings(&[("AWS_ENDPOINT", "http://127.0.0.1:1"), ("AWS_ALLOW_HTTP", "True")]).unwrap();
    }
}
