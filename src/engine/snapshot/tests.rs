//! The coordinator with its threads and a store, and the test in place of the workers.

use std::time::Instant;

use schema::{Control, Effect, FieldValue, IdKey, ItemField, Statement, catalogue_group, id64, key_group};
use snapshots::{Depth, Store};

use super::catalogue::read_catalogue;
use super::*;
use crate::engine::Clock;
use crate::engine::names::Names;
use crate::engine::supervisor::Supervisor;
use crate::stop::Stop;

const FIRST: Time = 1 << 30;

/// A run with one worker.
struct Run {
    snapshots: Snapshots,
    store: Arc<Store>,
    fields: FieldNames,
    _folder: tempfile::TempDir,
    _supervisor: Supervisor,
}

impl Run {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::create(folder.path().to_str().unwrap()).unwrap());
        let settings = SnapshotSettings {
            store: Arc::clone(&store),
            newest: 0,
            interval: Interval::never(),
            keep: 1,
            compatibility: Map::default(),
            catalogue: Vec::new(),
            controls: Vec::new(),
            inputs: Vec::new(),
        };
        let supervisor = Supervisor::new(Stop::default(), 0);
        let names = Names::new(u64::MAX);
        names.defer_removals();
        for item in ["bread", "tea"] {
            names.items().claim(id64(item), item).unwrap().hold(1, 5);
        }
        names.users().claim(id64("ann"), "ann").unwrap().hold(1, 5);
        let shared = Shared {
            clock: Clock::Event,
            stop: Stop::default(),
            ids: IdKey::default(),
            names: Arc::new(names),
            progress: Arc::default(),
            ending: supervisor.ending.clone(),
            reporter: supervisor.reporter.clone(),
        };
        let fields = FieldNames::new(&["visual".to_owned()]);
        let snapshots = start(settings, None, 1, Some(fields.clone()), true, &shared, Waker::default());
        Run { snapshots, store, fields, _folder: folder, _supervisor: supervisor }
    }

    fn send(&self, message: SnapshotMessage) {
        self.snapshots.link.requests.send((None, message)).unwrap();
    }

    /// Takes a snapshot of these chunks, and returns its manifest. `controls`: of ann, if they have changed.
    fn take(
        &mut self,
        number: u64,
        events: &[Event],
        records: &[(u8, Vec<ItemRecord>)],
        controls: Option<&[ControlRecord]>,
    ) -> Manifest {
        let time = FIRST + number;
        self.snapshots.output.set(time);
        self.send(SnapshotMessage::Begin(Snapshot { number, time, positions: Vec::new(), is_last: true }));
        let users = key_group(id64("ann"));
        let shard = |kind| move |group| Shard { kind, group };
        let changed = events.first().map(|_| users).into_iter().map(shard(Kind::Interactions)).collect();
        self.send(SnapshotMessage::Changed { snapshot: number, shards: changed });
        let changed = records.iter().map(|(group, _)| *group).map(shard(Kind::Catalogue)).collect();
        self.send(SnapshotMessage::Changed { snapshot: number, shards: changed });
        let changed = controls.map(|_| users).into_iter().map(shard(Kind::Controls)).collect();
        self.send(SnapshotMessage::Changed { snapshot: number, shards: changed });
        let timeout = Duration::from_secs(60);
        let (_, reply) = self.snapshots.link.replies.recv_timeout(timeout).unwrap();
        assert!(matches!(reply, SnapshotMessage::Wanted { snapshot, .. } if snapshot == number), "{reply:?}");
        for (group, records) in records {
            // Each record in a chunk of its own, and an empty one at the end.
            let chunks = records.iter().map(|record| vec![record.clone()]).chain([Vec::new()]);
            for (n, rows) in chunks.enumerate() {
                let last = n == records.len();
                self.send(SnapshotMessage::Catalogue(SnapshotChunk { snapshot: number, group: *group, rows, last }));
            }
        }
        if let Some(controls) = controls {
            let chunk = SnapshotChunk { snapshot: number, group: users, rows: controls.to_vec(), last: true };
            self.send(SnapshotMessage::Controls(chunk));
        }
        if !events.is_empty() {
            let chunk = SnapshotChunk { snapshot: number, group: users, rows: events.to_vec(), last: true };
            self.send(SnapshotMessage::Interactions(chunk));
        }
        let deadline = Instant::now() + timeout;
        loop {
            if let Ok(manifest) = self.store.manifest(number) {
                return manifest;
            }
            assert!(Instant::now() < deadline, "no manifest");
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

#[test]
fn a_snapshot_with_a_catalogue_names_what_did_not_change_again() {
    let mut run = Run::start();
    let [bread, tea] = ["bread", "tea"].map(id64);
    let [bread_group, tea_group] = [bread, tea].map(catalogue_group);
    assert_ne!(bread_group, tea_group);
    let event = Event { user: id64("ann"), item: tea, ts: 5, effect: Effect::Counts(3), scope: None };
    let title = |text: &str| (ItemField::Title, Some(FieldValue::Text(text.into())));
    let record = |item, ts, fields| ItemRecord { item, ts, statement: Statement::Fields(fields) };
    let of_bread = vec![record(bread, 1, vec![]), record(bread, 3, vec![title("Rye"), (ItemField::Brand, None)])];
    let of_tea = vec![record(tea, 2, vec![title("Green")])];
    let records = [(bread_group, of_bread.clone()), (tea_group, of_tea)];
    let first = run.take(1, &[event], &records, None);
    assert_eq!((first.rows, first.groups.len(), first.statements(), first.catalogue.len()), (1, 1, 4, 2));
    assert_eq!(first.version, Manifest::VERSION_WITHOUT_CONTROLS);

    // Of the items only tea has changed, and it is gone.
    let second =
        run.take(2, &[], &[(tea_group, vec![ItemRecord { item: tea, ts: 4, statement: Statement::Deleted }])], None);
    assert_eq!(second.groups, first.groups);
    assert!(run.store.inspect(2, Depth::Rows).unwrap().is_sound());
    let file = |manifest: &Manifest, group| manifest.catalogue.iter().find(|file| file.group == group).cloned();
    assert_eq!(file(&second, bread_group), file(&first, bread_group));
    let read = read_catalogue(&run.store, &second, IdKey::default(), &run.fields);
    let mut read: Vec<_> = read.flat_map(Result::unwrap).collect();
    read.sort_by_key(|(_, record)| record.ts);
    let deleted = ItemRecord { item: tea, ts: 4, statement: Statement::Deleted };
    let expected = of_bread.into_iter().map(|record| ("bread".into(), record)).chain([("tea".into(), deleted)]);
    assert_eq!(read, expected.collect::<Vec<_>>());

    // A group without records has no file.
    let third = run.take(3, &[], &[(bread_group, vec![record(bread, 1, vec![])]), (tea_group, vec![])], None);
    assert_eq!((third.catalogue.len(), third.statements()), (1, 1));
}

#[test]
fn a_snapshot_with_controls_has_the_names_of_their_users() {
    let mut run = Run::start();
    let record = |ts, control: Control| {
        let item = control.item().map(id64);
        ControlRecord { user: id64("ann"), ts, control, item }
    };
    // That a control names an item holds no name: the names do not know this one.
    let given = [record(5, Control::Forget { item: Some("scarf".into()) }), record(6, Control::Pause)];
    let first = run.take(1, &[], &[], Some(&given));
    assert_eq!((first.version, first.control_count(), first.controls.len()), (Manifest::VERSION, 2, 1));
    assert!(run.store.inspect(1, Depth::Rows).unwrap().is_sound());
    let read: Vec<NamedControl> =
        read_controls(&run.store, &first, IdKey::default()).flat_map(Result::unwrap).collect();
    assert_eq!(read, given.map(|record| ("ann".into(), record)));
    let files = files_of(&first).unwrap();
    assert_eq!(files.keys().map(|shard| shard.kind).collect::<Vec<_>>(), [Kind::Controls]);

    // A group that has not changed keeps its file, and one without controls has none.
    assert_eq!(run.take(2, &[], &[], None).controls, first.controls);
    let third = run.take(3, &[], &[], Some(&[]));
    assert_eq!((third.version, third.controls.len()), (Manifest::VERSION_WITHOUT_CONTROLS, 0));
}
