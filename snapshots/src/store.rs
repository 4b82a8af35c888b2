use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutPayload};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use schema::id64;
use tokio::runtime::{Builder, Runtime};
use xxhash_rust::xxh3::xxh3_64;

use crate::files::{self, GroupName};
use crate::manifest::NoManifest;
use crate::place::Place;
use crate::{CODECS, Codec, GroupFile, Interactions, Manifest, RunId, StoreError, codec, group_of};

/// No manifest is larger; a file that is was not written by this program.
const MOST_MANIFEST_BYTES: u64 = 64 << 20;

/// Snapshots in a folder or a cloud's object store.
///
/// All calls wait until they are done, and may be made from several threads at once; not from within an async runtime,
/// for the store has one of its own. Files appear whole or not at all: in a folder they are written beside their
/// place, brought to the disk and renamed, which costs two waits for the disk for each file.
pub struct Store {
    /// As the user named it.
    uri: String,
    pub(crate) files: Arc<dyn ObjectStore>,
    pub(crate) folder: Option<PathBuf>,
    pub(crate) runtime: Runtime,
    codec: &'static dyn Codec,
    /// Held for as long as this is the run that writes here.
    claim: Option<File>,
}

/// The file of a group that is not stored yet.
pub struct Packed {
    file: GroupFile,
    bytes: Bytes,
}

impl Store {
    /// Opens a store that is there: a folder (a path or `file://`), or with the feature `cloud` `s3://`, `gs://` and
    /// `az://` with settings from the environment. Of a cloud store nothing is asked yet.
    pub fn open(uri: &str) -> Result<Self, StoreError> {
        Self::new(uri, Place::find(uri, false)?)
    }

    /// Opens a store, and makes its folder where it is missing.
    pub fn create(uri: &str) -> Result<Self, StoreError> {
        Self::new(uri, Place::find(uri, true)?)
    }

    fn new(uri: &str, place: Place) -> Result<Self, StoreError> {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| StoreError::of_io(uri.to_owned(), "start a runtime", &error))?;
        Ok(Store {
            uri: uri.to_owned(),
            files: place.files,
            folder: place.folder,
            runtime,
            codec: CODECS[0],
            claim: None,
        })
    }

    /// Writes groups with this codec from now on. Every file is read with the codec that it was written with.
    #[must_use]
    pub fn with_codec(mut self, codec: &'static dyn Codec) -> Self {
        self.codec = codec;
        self
    }

    /// Keeps other runs out for as long as this store is held, also against a process that was paused and goes on; the
    /// end of the process, however it comes, lets them in. Only in a folder, by a lock on `lock` in it: in a cloud the
    /// second run is told when it publishes a snapshot of a number that is taken ([`StoreError::Taken`]).
    pub fn claim(&mut self) -> Result<(), StoreError> {
        let Some(folder) = &self.folder else { return Ok(()) };
        let path = folder.join("lock");
        let place = || path.display().to_string();
        let failed = |error| StoreError::of_io(place(), "open the lock", &error);
        let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => self.claim = Some(file),
            Err(Errno::WOULDBLOCK) => return Err(StoreError::InUse { place: place() }),
            // Some file systems know no locks: then it is as in a cloud.
            Err(error) => {
                tracing::warn!("{}: cannot be locked ({error}): see that no other run uses this state", place());
            }
        }
        Ok(())
    }

    /// The store as the user named it, for messages.
    pub fn name(&self) -> &str {
        &self.uri
    }

    /// Stores the rows of one group, for a manifest that is published later. Doing it again replaces the file.
    pub fn put_group(
        &self,
        sequence: u64,
        run: RunId,
        group: u8,
        rows: &Interactions,
    ) -> Result<GroupFile, StoreError> {
        self.put_packed(self.pack(sequence, run, group, rows)?)
    }

    /// The first half of [`put_group`](Self::put_group), which takes a processor and waits for nobody.
    pub fn pack(&self, sequence: u64, run: RunId, group: u8, rows: &Interactions) -> Result<Packed, StoreError> {
        let file = GroupName { sequence, run, group, codec: self.codec.name() }.to_string();
        let place = || self.place(&Path::from(file.as_str()));
        let bytes = self.codec.encode(rows).map_err(|error| StoreError::of_codec(place(), error))?;
        let (size, xxh3) = (bytes.len() as u64, xxh3_64(&bytes));
        let file = GroupFile { group, file, rows: rows.len() as u64, bytes: size, xxh3 };
        Ok(Packed { file, bytes: bytes.into() })
    }

    /// The second half, which waits for the disk or the network.
    pub fn put_packed(&self, Packed { file, bytes }: Packed) -> Result<GroupFile, StoreError> {
        self.runtime.block_on(self.put(&Path::from(file.file.as_str()), bytes, PutMode::Overwrite))?;
        Ok(file)
    }

    /// Makes a snapshot count, once all its groups are stored: that they are there, in their sizes, is seen first. Of two
    /// that have one number only the first is published.
    pub fn publish(&self, manifest: &Manifest) -> Result<(), StoreError> {
        let path = files::manifest(manifest.sequence);
        let unwritable = |what: String| StoreError::Unwritable { place: self.place(&path), what };
        manifest.check(manifest.sequence).map_err(unwritable)?;
        let file = Bytes::from(manifest.seal().map_err(|error| unwritable(error.to_string()))?);
        self.runtime.block_on(async {
            let sizes = self.sizes().await?;
            manifest.groups.iter().try_for_each(|group| self.check_size(group, &sizes))?;
            match self.put(&path, file.clone(), PutMode::Create).await {
                // A try whose answer was lost finds its own file.
                Err(StoreError::Taken { .. }) if self.get(&path, None).await? == file => Ok(()),
                done => done,
            }
        })
    }

    /// The rows of one group. Size, checksum and number of rows must be what the manifest says, and all users of the
    /// group.
    pub fn read_group(&self, group: &GroupFile) -> Result<Interactions, StoreError> {
        let bytes = self.runtime.block_on(self.fetch(group))?;
        self.decode(group, &bytes)
    }

    /// The manifest of one snapshot; it is checked, its files are not.
    pub fn manifest(&self, sequence: u64) -> Result<Manifest, StoreError> {
        self.runtime.block_on(self.read_manifest(sequence))
    }

    pub(crate) async fn read_manifest(&self, sequence: u64) -> Result<Manifest, StoreError> {
        let path = files::manifest(sequence);
        let file = self.get(&path, None).await?;
        Manifest::unseal(&file, sequence).map_err(|error| match error {
            NoManifest::Damaged(what) => StoreError::Damaged { place: self.place(&path), what },
            NoManifest::Newer(found) => StoreError::Newer { place: self.place(&path), found, known: Manifest::VERSION },
        })
    }

    /// The bytes of a group's file, as they were written.
    pub(crate) async fn fetch(&self, group: &GroupFile) -> Result<Bytes, StoreError> {
        let path = Path::from(group.file.as_str());
        let bytes = self.get(&path, Some(group.bytes)).await?;
        if xxh3_64(&bytes) != group.xxh3 {
            return Err(StoreError::Damaged { place: self.place(&path), what: "its checksum is wrong".into() });
        }
        Ok(bytes)
    }

    /// The codec that a group was written with.
    fn codec_of(&self, group: &GroupFile) -> Result<&'static dyn Codec, StoreError> {
        let place = || self.place(&Path::from(group.file.as_str()));
        let name = GroupName::parse(&group.file)
            .ok_or_else(|| StoreError::Damaged { place: place(), what: "it is not named as a group is".into() })?;
        codec(name.codec).ok_or_else(|| {
            let what = format!("this deltarec was built without the codec `{}`", name.codec);
            StoreError::Foreign { place: place(), what }
        })
    }

    /// Whether bytes whose checksum is right are for this program to read.
    pub(crate) fn recognise(&self, group: &GroupFile, bytes: &Bytes) -> Result<(), StoreError> {
        let place = || self.place(&Path::from(group.file.as_str()));
        self.codec_of(group)?.recognise(bytes).map_err(|error| StoreError::of_codec(place(), error))
    }

    /// The rows in bytes whose checksum is right.
    pub(crate) fn decode(&self, group: &GroupFile, bytes: &Bytes) -> Result<Interactions, StoreError> {
        let place = || self.place(&Path::from(group.file.as_str()));
        let damaged = |what: String| StoreError::Damaged { place: place(), what };
        let codec = self.codec_of(group)?;
        let rows = codec.decode(bytes).map_err(|error| StoreError::of_codec(place(), error))?;
        if rows.len() as u64 != group.rows {
            return Err(damaged(format!("it has {} rows instead of {}", rows.len(), group.rows)));
        }
        if let Some(user) = rows.users().find(|user| group_of(id64(user)) != group.group) {
            return Err(damaged(format!("user `{user}` is of another group")));
        }
        Ok(rows)
    }

    /// All files under a folder, with their sizes.
    pub(crate) async fn list_files(&self, folder: &str) -> Result<Vec<(Path, u64)>, StoreError> {
        let files = self.files.list(Some(&Path::from(folder))).map_ok(|file| (file.location, file.size));
        let place = || format!("{}/{folder}", self.uri.trim_end_matches('/'));
        files.try_collect().await.map_err(|error| StoreError::of_store(place(), "list the files", &error))
    }

    async fn put(&self, path: &Path, bytes: Bytes, mode: PutMode) -> Result<(), StoreError> {
        match self.files.put_opts(path, PutPayload::from_bytes(bytes), mode.clone().into()).await {
            Ok(_) => Ok(()),
            Err(object_store::Error::AlreadyExists { .. }) if mode == PutMode::Create => {
                Err(StoreError::Taken { place: self.place(path) })
            }
            Err(error) => Err(StoreError::of_store(self.place(path), "write", &error)),
        }
    }

    /// A whole file, whose size is compared before it is read.
    async fn get(&self, path: &Path, size: Option<u64>) -> Result<Bytes, StoreError> {
        let failed = |error: object_store::Error| match error {
            object_store::Error::NotFound { .. } => {
                StoreError::Damaged { place: self.place(path), what: "it is missing".into() }
            }
            error => StoreError::of_store(self.place(path), "read", &error),
        };
        let wrong_size = |found: u64| {
            let what = match size {
                Some(size) => format!("it has {found} bytes instead of {size}"),
                None => format!("it has {found} bytes, far more than a manifest"),
            };
            StoreError::Damaged { place: self.place(path), what }
        };
        let file = self.files.get(path).await.map_err(failed)?;
        let found = file.meta.size;
        if size.map_or(found > MOST_MANIFEST_BYTES, |size| found != size) {
            return Err(wrong_size(found));
        }
        let bytes = file.bytes().await.map_err(failed)?;
        // It may have changed in between.
        if bytes.len() as u64 == found { Ok(bytes) } else { Err(wrong_size(bytes.len() as u64)) }
    }

    /// A file as a message names it.
    pub(crate) fn place(&self, path: &Path) -> String {
        format!("{}/{path}", self.uri.trim_end_matches('/'))
    }
}
