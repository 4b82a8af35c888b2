use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Checks that other users cannot read a file with a secret. `user`: the id of the user that this process runs as.
///
/// A file of another user, such as one that a container mounts, is not this user's to change: the result is whether every
/// user of the machine can read it. A pipe, such as `<(pass show deltarec)`, has no permissions that matter.
pub fn check_secret_mode(path: &Path, found: &Metadata, user: u32) -> Result<bool, String> {
    let (mode, shown) = (found.mode() & 0o777, path.display());
    if found.is_file() && found.uid() == user && mode & 0o077 != 0 {
        return Err(format!(
            "other users can read the secret in {shown} (mode {mode:04o}): run `chmod 600 {shown}`; with Kubernetes or Docker, \
             mount it with mode 0400"
        ));
    }
    Ok(found.is_file() && mode & 0o007 != 0)
}

/// The name of a file with a secret, for messages. A name without a folder that leads to no file may be the secret itself.
pub fn shown_secret_path(path: &Path) -> String {
    let is_path = path.components().count() > 1 || path.exists();
    if is_path { path.display().to_string() } else { "(name hidden: there is no such file)".into() }
}
