//! A disk that can be full.

use std::fs;
use std::path::Path;
use std::process::Command;

/// A small file system of its own, if this user may mount one.
pub(super) struct Disk<'p>(&'p Path);

impl<'p> Disk<'p> {
    pub(super) fn new(path: &'p Path, size: &str) -> Option<Self> {
        fs::create_dir(path).unwrap();
        let mount =
            Command::new("mount").args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]).arg(path).output();
        let mounted = mount.is_ok_and(|done| done.status.success());
        if !mounted {
            println!("skipped: a full disk needs the right to mount a file system");
        }
        mounted.then_some(Disk(path))
    }

    pub(super) fn grow(&self, size: &str) {
        let mount = Command::new("mount").args(["-o", &format!("remount,size={size}")]).arg(self.0).status();
        assert!(mount.unwrap().success());
    }
}

impl Drop for Disk<'_> {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("-l").arg(self.0).status();
        println!("unmounted: {unmounted:?}");
    }
}
