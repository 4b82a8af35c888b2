//! The store: writing and reading the files of snapshots.

use std::fs::File;
use std::future::Future;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutPayload};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use schema::IdKey;
use tokio::runtime::{Builder, Runtime};
use xxhash_rust::xxh3::xxh3_64;

use crate::files::{self, GroupName, LOCK};
use crate::listing::open_plain;
use crate::location::{Location, private};
use crate::manifest::ManifestError;
use crate::parquet::{self, Parquet, StatementFormat};
use crate::{
    CODECS, Codec, CodecError, GroupFile, Interactions, Kind, Manifest, RunId, StatementRows, StoreError, codec,
};

/// Limit of the size of a manifest: this program never writes a larger one.
const MAX_MANIFEST_BYTES: u64 = 64 << 20;

/// Snapshots in a folder or in a cloud's object store.
///
/// All calls block. They may be made from several threads at once, but not from within an async runtime: the store has
/// its own. Files appear completely or not at all: in a folder they are written under a temporary name, synced and
/// renamed, which waits for the disk twice per file.
///
/// ```
/// use schema::{Effect, id64, key_group};
/// use snapshots::{GraphTime, Interactions, Manifest, RunId, Store};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let folder = tempfile::tempdir()?;
/// let store = Store::open(folder.path().to_str().ok_or("not UTF-8")?)?;
///
/// // The rows of one group of users, stored as one file.
/// let (user, item) = (id64("ann"), id64("bread"));
/// let mut rows = Interactions::default();
/// rows.push((user, "ann"), (item, "bread"), 1_763_900_000_000, Effect::Counts(6));
/// let run = RunId::random();
/// let file = store.put_group(1, run, key_group(user), &rows)?;
///
/// // The manifest makes it a snapshot.
/// let manifest = Manifest {
///     version: Manifest::VERSION_WITHOUT_CONTROLS,
///     deltarec: "0.1.0".into(),
///     sequence: 1,
///     run,
///     taken: "2026-11-24T04:00:00Z".parse()?,
///     time: GraphTime { ms: 1_763_900_000_000, sequence: 0 },
///     compatibility: serde_json::Map::new(),
///     inputs: Vec::new(),
///     output: None,
///     workers: 1,
///     rows: file.rows,
///     groups: vec![file],
///     catalogue: Vec::new(),
///     catalogue_inputs: Vec::new(),
///     controls: Vec::new(),
///     control_inputs: Vec::new(),
/// };
/// store.publish(&manifest)?;
///
/// let newest = store.newest()?;
/// assert_eq!(newest.manifest.as_ref(), Some(&manifest));
/// let read = store.read_group(&manifest.groups[0])?;
/// assert_eq!(read.iter().map(|row| (row.user, row.item, row.effect)).collect::<Vec<_>>(), [("ann", "bread",
/// Effect::Counts(6))]);
/// # Ok(())
/// # }
/// ```
pub struct Store {
    /// The URI, as the user gave it.
    uri: String,
    pub(crate) files: Arc<dyn ObjectStore>,
    pub(crate) folder: Option<PathBuf>,
    runtime: Runtime,
    codec: &'static dyn Codec,
    /// Key by which users and items are checked to belong to their group; `None`: they are not checked.
    pub(crate) ids: Option<IdKey>,
    /// The lock of the store, held from [`Store::claim`] on.
    lock: Option<File>,
}

/// The file of a group, encoded and not stored yet.
pub struct EncodedGroup {
    file: GroupFile,
    bytes: Bytes,
}

impl Store {
    /// Opens an existing store: a folder (a path or `file://`), or with the feature `cloud` an `s3://`, `gs://` or `az://`
    /// URI with settings from the environment. A cloud store is not contacted yet.
    pub fn open(uri: &str) -> Result<Self, StoreError> {
        Self::new(uri, Location::resolve(uri, false)?)
    }

    /// Opens a store, and creates its folder if it is missing.
    pub fn create(uri: &str) -> Result<Self, StoreError> {
        Self::new(uri, Location::resolve(uri, true)?)
    }

    fn new(uri: &str, location: Location) -> Result<Self, StoreError> {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| StoreError::of_io(uri.to_owned(), "start a runtime", &error))?;
        Ok(Store {
            uri: uri.to_owned(),
            files: location.files,
            folder: location.folder,
            runtime,
            codec: CODECS[0],
            ids: Some(IdKey::default()),
            lock: None,
        })
    }

    /// Sets the codec for new files. Each file is read with the codec that wrote it.
    #[must_use]
    pub fn with_codec(mut self, codec: &'static dyn Codec) -> Self {
        self.codec = codec;
        self
    }

    /// Sets the key of the ids. Until then it is none, and the groups of users and items are those of ids without a
    /// key.
    #[must_use]
    pub fn with_ids(self, ids: IdKey) -> Self {
        Store { ids: Some(ids), ..self }
    }

    /// Reads files whatever the key of their ids: users and items are not checked to belong to their group.
    #[must_use]
    pub fn with_any_ids(self) -> Self {
        Store { ids: None, ..self }
    }

    /// Keeps other runs out until this store is dropped or the process ends, however it ends. Works in folders, by locking
    /// the file `lock`, and holds while the process is paused. In a cloud store a second run fails when it publishes a
    /// number that exists ([`StoreError::Taken`]); here it is checked that the store can tell.
    pub fn claim(&mut self) -> Result<(), StoreError> {
        let Some(folder) = &self.folder else { return self.block_on(self.probe()) };
        let path = folder.join(LOCK);
        let place = || path.display().to_string();
        let failed = |error| StoreError::of_io(place(), "open the lock", &error);
        let mut options = File::options();
        options.create(true).truncate(false).write(true).mode(private::FILE);
        let file = open_plain(&path, &mut options).map_err(failed)?;
        private::tighten(&path);
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => self.lock = Some(file),
            Err(Errno::WOULDBLOCK) => return Err(StoreError::InUse { place: place() }),
            // Some file systems have no locks. Then the store behaves like one in a cloud.
            Err(error) => {
                tracing::warn!(lock = place(), %error, "cannot lock the state: make sure that no other run uses it");
            }
        }
        Ok(())
    }

    /// The URI as the user gave it, for messages.
    pub fn name(&self) -> &str {
        &self.uri
    }

    /// Stores the rows of one group, for a manifest that is published later. Storing a group again replaces its file.
    pub fn put_group(
        &self,
        sequence: u64,
        run: RunId,
        group: u8,
        rows: &Interactions,
    ) -> Result<GroupFile, StoreError> {
        self.put_encoded(self.encode_group(sequence, run, group, rows)?)
    }

    /// The first half of [`put_group`](Self::put_group): computes and does not wait.
    pub fn encode_group(
        &self,
        sequence: u64,
        run: RunId,
        group: u8,
        rows: &Interactions,
    ) -> Result<EncodedGroup, StoreError> {
        let name = GroupName { kind: Kind::Interactions, sequence, run, group, codec: self.codec.name() };
        self.encoded(name, rows.len(), self.codec.encode(rows))
    }

    /// The second half of [`put_group`](Self::put_group): waits for the disk or the network.
    pub fn put_encoded(&self, EncodedGroup { file, bytes }: EncodedGroup) -> Result<GroupFile, StoreError> {
        self.block_on(self.put(&Path::from(file.file.as_str()), bytes, PutMode::Overwrite))?;
        Ok(file)
    }

    /// Stores the statements of one group of the catalogue, as [`put_group`](Self::put_group). Always in Parquet.
    pub fn put_catalogue(
        &self,
        sequence: u64,
        run: RunId,
        group: u8,
        rows: &StatementRows,
    ) -> Result<GroupFile, StoreError> {
        self.put_encoded(self.encode_catalogue(sequence, run, group, rows)?)
    }

    /// The first half of [`put_catalogue`](Self::put_catalogue): computes and does not wait.
    pub fn encode_catalogue(
        &self,
        sequence: u64,
        run: RunId,
        group: u8,
        rows: &StatementRows,
    ) -> Result<EncodedGroup, StoreError> {
        self.encode_statements(&parquet::CATALOGUE, sequence, run, group, rows)
    }

    /// Stores the controls of one group of users, as [`put_group`](Self::put_group). Always in Parquet.
    pub fn put_controls(
        &self,
        sequence: u64,
        run: RunId,
        group: u8,
        rows: &StatementRows,
    ) -> Result<GroupFile, StoreError> {
        self.put_encoded(self.encode_controls(sequence, run, group, rows)?)
    }

    /// The first half of [`put_controls`](Self::put_controls): computes and does not wait.
    pub fn encode_controls(
        &self,
        sequence: u64,
        run: RunId,
        group: u8,
        rows: &StatementRows,
    ) -> Result<EncodedGroup, StoreError> {
        self.encode_statements(&parquet::CONTROLS, sequence, run, group, rows)
    }

    fn encode_statements(
        &self,
        format: &StatementFormat,
        sequence: u64,
        run: RunId,
        group: u8,
        rows: &StatementRows,
    ) -> Result<EncodedGroup, StoreError> {
        let name = GroupName { kind: format.kind, sequence, run, group, codec: Parquet.name() };
        self.encoded(name, rows.len(), format.encode(rows))
    }

    fn encoded(
        &self,
        name: GroupName<'_>,
        rows: usize,
        bytes: Result<Vec<u8>, CodecError>,
    ) -> Result<EncodedGroup, StoreError> {
        let file = name.to_string();
        let bytes = bytes.map_err(|error| StoreError::of_codec(self.place(&Path::from(file.as_str())), error))?;
        let (size, xxh3) = (bytes.len() as u64, xxh3_64(&bytes));
        let file = GroupFile { group: name.group, file, rows: rows as u64, bytes: size, xxh3 };
        Ok(EncodedGroup { file, bytes: bytes.into() })
    }

    /// Publishes a snapshot: writes its manifest, after checking that all its files exist and have the right size. A number
    /// can be published once; after that it is [`StoreError::Taken`].
    pub fn publish(&self, manifest: &Manifest) -> Result<(), StoreError> {
        let path = files::manifest(manifest.sequence);
        let unwritable = |reason: String| StoreError::Unwritable { place: self.place(&path), reason };
        manifest.check(manifest.sequence).map_err(unwritable)?;
        let file = Bytes::from(manifest.seal().map_err(|error| unwritable(error.to_string()))?);
        self.block_on(async {
            let files = self.groups().await?;
            manifest.files().try_for_each(|group| self.check_size(group, &files))?;
            match self.put(&path, file.clone(), PutMode::Create).await {
                // A retry after a lost response finds its own file.
                Err(StoreError::Taken { .. }) if self.get(&path, None).await? == file => Ok(()),
                done => done,
            }
        })?;
        self.record(manifest.sequence);
        Ok(())
    }

    /// Notes in the lock that a snapshot was published, so that a start notices when its manifest is gone. A failure is
    /// ignored: the snapshot does not depend on it.
    fn record(&self, sequence: u64) {
        if let Some(lock) = &self.lock {
            let text = format!("{sequence:010}\n");
            // Cut afterwards: at no moment is there no number.
            drop(lock.write_all_at(text.as_bytes(), 0).and_then(|()| lock.set_len(text.len() as u64)));
        }
    }

    /// Runs to the end. A panic in the client of a store is an error of that store.
    pub(crate) fn block_on<T>(&self, work: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        catch_unwind(AssertUnwindSafe(|| self.runtime.block_on(work))).unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
            Err(StoreError::Client { place: self.uri.clone(), reason: text.to_owned() })
        })
    }

    /// Reads the rows of one group. Size, checksum and number of rows must match the manifest, and all users must belong
    /// to the group.
    pub fn read_group(&self, group: &GroupFile) -> Result<Interactions, StoreError> {
        let bytes = self.block_on(self.fetch(group))?;
        self.decode(group, &bytes, self.ids)
    }

    /// Reads the statements of one group of the catalogue. Size, checksum and number of rows must match the manifest,
    /// and all items must belong to the group.
    pub fn read_catalogue(&self, group: &GroupFile) -> Result<StatementRows, StoreError> {
        let bytes = self.block_on(self.fetch(group))?;
        self.decode_statements(&parquet::CATALOGUE, group, &bytes, self.ids)
    }

    /// Reads the controls of one group of users, as [`read_catalogue`](Self::read_catalogue).
    pub fn read_controls(&self, group: &GroupFile) -> Result<StatementRows, StoreError> {
        let bytes = self.block_on(self.fetch(group))?;
        self.decode_statements(&parquet::CONTROLS, group, &bytes, self.ids)
    }

    /// Reads the manifest of one snapshot. Its files are not checked.
    pub fn manifest(&self, sequence: u64) -> Result<Manifest, StoreError> {
        self.block_on(self.read_manifest(sequence))
    }

    pub(crate) async fn read_manifest(&self, sequence: u64) -> Result<Manifest, StoreError> {
        let path = files::manifest(sequence);
        let file = self.get(&path, None).await?;
        Manifest::unseal(&file, sequence).map_err(|error| match error {
            ManifestError::Damaged(reason) => StoreError::Damaged { place: self.place(&path), reason },
            ManifestError::Newer(found) => {
                StoreError::Newer { place: self.place(&path), found, known: Manifest::VERSION }
            }
        })
    }

    /// Reads the file of a group and verifies size and checksum.
    pub(crate) async fn fetch(&self, group: &GroupFile) -> Result<Bytes, StoreError> {
        let path = Path::from(group.file.as_str());
        let bytes = self.get(&path, Some(group.bytes)).await?;
        if xxh3_64(&bytes) != group.xxh3 {
            return Err(StoreError::Damaged { place: self.place(&path), reason: "its checksum is wrong".into() });
        }
        Ok(bytes)
    }

    fn name_of<'g>(&self, group: &'g GroupFile) -> Result<GroupName<'g>, StoreError> {
        GroupName::parse(&group.file).ok_or_else(|| StoreError::Damaged {
            place: self.place_of(group),
            reason: "its name is not that of a group file".into(),
        })
    }

    /// The codec that wrote a file. A file of statements is always in Parquet.
    fn codec_of(&self, group: &GroupFile) -> Result<&'static dyn Codec, StoreError> {
        let name = self.name_of(group)?;
        let known = codec(name.codec).filter(|codec| name.kind == Kind::Interactions || codec.name() == Parquet.name());
        known.ok_or_else(|| {
            let reason = format!("this deltarec was built without the codec `{}`", name.codec);
            StoreError::Foreign { place: self.place_of(group), reason }
        })
    }

    /// Checks that this program can read a file, given its verified bytes.
    pub(crate) fn recognise(&self, group: &GroupFile, bytes: &Bytes) -> Result<(), StoreError> {
        self.codec_of(group)?.recognise(bytes).map_err(|error| StoreError::of_codec(self.place_of(group), error))
    }

    /// Checks the rows of a file of any kind, given its verified bytes. `ids`: key by which users and items are
    /// checked.
    pub(crate) fn check_rows(&self, group: &GroupFile, bytes: &Bytes, ids: Option<IdKey>) -> Result<(), StoreError> {
        match self.name_of(group)?.kind {
            Kind::Interactions => self.decode(group, bytes, ids).map(|_| ()),
            Kind::Catalogue => self.decode_statements(&parquet::CATALOGUE, group, bytes, ids).map(|_| ()),
            Kind::Controls => self.decode_statements(&parquet::CONTROLS, group, bytes, ids).map(|_| ()),
        }
    }

    /// Decodes a file, given its verified bytes. `ids`: key by which users are checked.
    fn decode(&self, group: &GroupFile, bytes: &Bytes, ids: Option<IdKey>) -> Result<Interactions, StoreError> {
        let rows = self.codec_of(group)?.decode(bytes);
        let rows = rows.map_err(|error| StoreError::of_codec(self.place_of(group), error))?;
        self.check_decoded(Kind::Interactions, group, rows.len(), rows.users(), ids)?;
        Ok(rows)
    }

    /// [`decode`](Self::decode) for statements, of which owners are checked.
    fn decode_statements(
        &self,
        format: &StatementFormat,
        group: &GroupFile,
        bytes: &Bytes,
        ids: Option<IdKey>,
    ) -> Result<StatementRows, StoreError> {
        self.codec_of(group)?;
        let rows = format.decode(bytes).map_err(|error| StoreError::of_codec(self.place_of(group), error))?;
        self.check_decoded(format.kind, group, rows.len(), rows.owners(), ids)?;
        Ok(rows)
    }

    /// Checks decoded rows against the manifest. `names`: of users or items, by which groups are made.
    fn check_decoded<'n>(
        &self,
        kind: Kind,
        group: &GroupFile,
        rows: usize,
        names: impl Iterator<Item = &'n str>,
        ids: Option<IdKey>,
    ) -> Result<(), StoreError> {
        let damaged = |reason| StoreError::Damaged { place: self.place_of(group), reason };
        if rows as u64 != group.rows {
            return Err(damaged(format!("it has {rows} rows instead of {}", group.rows)));
        }
        ids.map_or(Ok(()), |ids| kind.check_group(group.group, ids, names)).map_err(damaged)
    }

    /// The name of the file of a group in messages.
    pub fn place_of(&self, group: &GroupFile) -> String {
        self.place(&Path::from(group.file.as_str()))
    }

    /// Checks that the store refuses to create a file twice. Servers that do not know the condition ignore it.
    async fn probe(&self) -> Result<(), StoreError> {
        let path = Path::from(format!("probe/{}", RunId::random()));
        let create = |text: &'static str| self.files.put_opts(&path, text.into(), PutMode::Create.into());
        let unconditional =
            |reason: &str| StoreError::Unconditional { place: self.uri.clone(), reason: reason.to_owned() };
        match create("first").await {
            // A retry after a lost response finds its own file.
            Ok(_) | Err(object_store::Error::AlreadyExists { .. }) => {}
            Err(object_store::Error::NotImplemented { .. }) => return Err(unconditional("they are switched off")),
            Err(error) => return Err(StoreError::of_store(self.place(&path), "write", &error)),
        }
        let second = create("second").await;
        let deleted = self.delete(&path).await;
        match second {
            Err(object_store::Error::AlreadyExists { .. }) => deleted,
            Ok(_) => Err(unconditional("it overwrote a file that must not exist")),
            Err(error) => Err(StoreError::of_store(self.place(&path), "write", &error)),
        }
    }

    async fn put(&self, path: &Path, bytes: Bytes, mode: PutMode) -> Result<(), StoreError> {
        match self.files.put_opts(path, PutPayload::from_bytes(bytes), mode.clone().into()).await {
            Ok(_) => {
                // Until here the folder kept others out.
                if let Some(folder) = &self.folder {
                    private::tighten(&folder.join(path.as_ref()));
                }
                Ok(())
            }
            Err(object_store::Error::AlreadyExists { .. }) if mode == PutMode::Create => {
                Err(StoreError::Taken { place: self.place(path) })
            }
            Err(error) => Err(StoreError::of_store(self.place(path), "write", &error)),
        }
    }

    /// Reads a whole file. Its size is checked before it is read.
    async fn get(&self, path: &Path, size: Option<u64>) -> Result<Bytes, StoreError> {
        let failed = |error: object_store::Error| match error {
            object_store::Error::NotFound { .. } => {
                StoreError::Damaged { place: self.place(path), reason: "it is missing".into() }
            }
            error => StoreError::of_store(self.place(path), "read", &error),
        };
        let wrong_size = |found: u64| {
            let reason = match size {
                Some(size) => format!("it has {found} bytes instead of {size}"),
                None => format!("it has {found} bytes, too many for a manifest"),
            };
            StoreError::Damaged { place: self.place(path), reason }
        };
        let file = self.files.get(path).await.map_err(failed)?;
        let found = file.meta.size;
        if size.map_or(found > MAX_MANIFEST_BYTES, |size| found != size) {
            return Err(wrong_size(found));
        }
        let bytes = file.bytes().await.map_err(failed)?;
        // The file may have changed in between.
        if bytes.len() as u64 == found { Ok(bytes) } else { Err(wrong_size(bytes.len() as u64)) }
    }

    /// The name of a file in messages.
    pub(crate) fn place(&self, path: &Path) -> String {
        format!("{}/{path}", self.uri.trim_end_matches('/'))
    }
}
