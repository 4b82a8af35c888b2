//! Files and pipes below the decompression of an input.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use crate::error::Explained;

/// Opens the bytes of a file, a pipe or a device.
pub(super) fn open(path: &Path) -> io::Result<Box<dyn Read + Send>> {
    let kind = path.metadata()?.file_type();
    // Opening a folder succeeds, and the first read would fail.
    if kind.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    if kind.is_fifo() {
        return Ok(Box::new(InputPipe { path: path.to_owned(), file: None }));
    }
    of_file(File::open(path)?)
}

/// The bytes of stdin.
pub(crate) fn stdin() -> io::Result<Box<dyn Read + Send>> {
    of_file(io::stdin().as_fd().try_clone_to_owned()?.into())
}

fn of_file(mut file: File) -> io::Result<Box<dyn Read + Send>> {
    if !file.metadata()?.is_file() {
        return Ok(Box::new(file));
    }
    let read = file.stream_position()?;
    Ok(Box::new(InputFile { file, read, longest: 0 }))
}

/// A regular file that is read to its end. One `fstat` for each read, which is one for 64 KiB and more, sees whether it has become
/// shorter than what was read: what follows is then not what the log had.
struct InputFile {
    file: File,
    /// Bytes before the next read.
    read: u64,
    /// The largest size seen. Files of `/proc` have none.
    longest: u64,
}

impl InputFile {
    fn check(&mut self) -> io::Result<()> {
        let length = self.file.metadata()?.len();
        self.longest = self.longest.max(length);
        if length >= self.read || self.longest < self.read {
            return Ok(());
        }
        let what = format!("the file became shorter while it was read: it has {length} bytes, {} were read", self.read);
        let advice =
            "another program has truncated it: read a copy that stays as it is (events before this point were read)";
        Err(Explained::with(what, advice).into())
    }
}

impl Read for InputFile {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.check()?;
        let bytes = self.file.read(into)?;
        self.read += bytes as u64;
        if bytes == 0 {
            self.check()?;
        }
        Ok(bytes)
    }
}

/// A named pipe. Opening it waits for a writer, so that is put off to the first read, which may wait anyway.
struct InputPipe {
    path: PathBuf,
    file: Option<File>,
}

impl Read for InputPipe {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.file.is_none() {
            self.file = Some(File::open(&self.path)?);
        }
        self.file.as_mut().expect("it was opened above").read(into)
    }
}
