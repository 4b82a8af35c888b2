//! Output files of commands.

use std::path::{Path, PathBuf};

use anyhow::Context;
use connectors::{Lines, OpenError, SinkError, Uri, open_lines};

use crate::commands::same::Place;
use crate::failure::Failure;
use crate::stdio::check_stdout;

/// Checks before a long run that its output files can be written.
pub(crate) fn check_writable<'p>(paths: impl IntoIterator<Item = &'p Option<PathBuf>>) -> Result<(), Failure> {
    for path in paths.into_iter().flatten() {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if !folder.is_dir() || path.is_dir() {
            let path = path.display();
            return Err(Failure::Usage(anyhow::anyhow!(
                "{path} cannot be written: give a file in a folder that exists"
            )));
        }
    }
    Ok(())
}

/// Checks that no output file is an input or another output, whatever it is called.
pub(crate) fn check_distinct<'p>(
    inputs: &[Uri],
    outputs: impl IntoIterator<Item = &'p Option<PathBuf>>,
) -> Result<(), Failure> {
    let mut places: Vec<(String, Place)> =
        inputs.iter().map(|input| (format!("input {input}"), Place::of_input(input))).collect();
    for path in outputs.into_iter().flatten() {
        let place = Place::of_path(path);
        if let Some((other, _)) = places.iter().find(|(_, other)| place.is_same(other)) {
            let path = path.display();
            return Err(Failure::Usage(anyhow::anyhow!("{path} is also {other}: name another file")));
        }
        places.push((format!("output {}", path.display()), place));
    }
    Ok(())
}

pub(crate) fn write(path: &Path, text: &str) -> Result<(), Failure> {
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display())).map_err(Failure::Running)
}

/// Parses an output of lines.
pub(crate) fn output_uri(text: &str) -> Result<Uri, Failure> {
    Ok(Uri::of_lines(text).map_err(OpenError::from)?)
}

/// Opens an output of lines.
pub(crate) fn open_output(uri: &Uri) -> Result<Lines, Failure> {
    if *uri == Uri::Stdio {
        check_stdout()?;
    }
    Ok(open_lines(uri)?)
}

/// Whether the output is a pipe that its reader has closed, which is not a failure.
pub(crate) fn is_closed(written: Result<(), SinkError>) -> Result<bool, Failure> {
    match written {
        Err(SinkError { closed: true, .. }) => Ok(true),
        written => written.map(|()| false).map_err(|error| Failure::Running(error.into())),
    }
}
