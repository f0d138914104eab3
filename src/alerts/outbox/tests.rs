//! Disks that are full, slow or broken.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Instant;

use redb::backends::FileBackend;
use redb::{Database, DatabaseError, StorageBackend};

use super::*;

/// A folder that vanishes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("outbox-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let folder = std::env::temp_dir().join(name);
        let _ = fs::remove_dir_all(&folder);
        Self(folder)
    }

    fn files(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(&self.0)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A disk whose faults a test switches on and off.
#[derive(Debug, Default)]
struct Faults {
    full: std::sync::atomic::AtomicBool,
    /// How long a sync takes, in milliseconds.
    sync_millis: AtomicU64,
}

#[derive(Debug)]
struct FaultyDisk {
    file: FileBackend,
    faults: Arc<Faults>,
}

impl FaultyDisk {
    fn room(&self) -> io::Result<()> {
        if self.faults.full.load(Ordering::Relaxed) { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }
}

impl StorageBackend for FaultyDisk {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }

    // A file grows on a full disk, too: what it lacks is room for what is written.
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        std::thread::sleep(Duration::from_millis(self.faults.sync_millis.load(Ordering::Relaxed)));
        self.room()?;
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.room()?;
        self.file.write(offset, data)
    }
}

fn faulty() -> (store::Opener, Arc<Faults>) {
    let faults = Arc::new(Faults::default());
    let shared = Arc::clone(&faults);
    let opener = store::Opener::new(move |path, create| {
        let file = fs::File::options().read(true).write(true).create(create).truncate(false).open(path)?;
        let disk = FaultyDisk { file: FileBackend::new(file)?, faults: Arc::clone(&shared) };
        Database::builder().set_check_integrity_on_open(true).create_with_backend(disk)
    });
    (opener, faults)
}

fn put(outbox: &Outbox, key: &str, value: &str) -> Ticket {
    let mut batch = outbox.begin();
    batch.put(Table::Unsent, key, value.into());
    batch.ticket()
}

async fn wait(outbox: &Outbox, ticket: Ticket) {
    let reached = outbox.committed();
    let mut reached = reached;
    tokio::time::timeout(Duration::from_secs(30), reached.wait_for(|done| *done >= ticket))
        .await
        .unwrap()
        .unwrap();
}

fn unsent(contents: &Contents) -> Vec<(String, String)> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    contents.of(Table::Unsent).map(|(key, value)| (key.to_owned(), text(value))).collect()
}

fn pair(key: &str, value: &str) -> (String, String) {
    (key.to_owned(), value.to_owned())
}

#[tokio::test]
async fn what_was_put_is_there_after_a_restart_and_what_was_removed_is_not() {
    let folder = Folder::new();
    let (outbox, opened) = Outbox::open(&folder.0.join("risk.redb"));
    assert!(opened.contents.is_empty());
    put(&outbox, "a", "1");
    put(&outbox, "b", "2");
    outbox.begin().put(Table::Incidents, "drawdown", vec![7]);
    outbox.begin().remove(Table::Unsent, "a");
    assert!(outbox.close(Duration::from_secs(10)).await);
    let (_outbox, opened) = Outbox::open(&folder.0.join("risk.redb"));
    assert_eq!(unsent(&opened.contents), [pair("b", "2")]);
    assert_eq!(opened.contents.of(Table::Incidents).collect::<Vec<_>>(), [("drawdown", &[7_u8][..])]);
    assert_eq!(opened.file, Some(folder.0.join("risk.redb")));
}

#[tokio::test]
async fn a_full_disk_is_told_and_everything_is_written_once_there_is_space() {
    let folder = Folder::new();
    let (disk, faults) = faulty();
    let (outbox, _) = Outbox::open_with(disk, &folder.0.join("risk.redb"), Duration::from_millis(20));
    let before = put(&outbox, "before", "1");
    wait(&outbox, before).await;
    faults.full.store(true, Ordering::Relaxed);
    let during = put(&outbox, "during", "2");
    outbox.begin().remove(Table::Unsent, "before");
    wait(&outbox, during).await;
    let mut health = outbox.health();
    let sick = |health: &Health| matches!(health, Health::InMemory(_));
    tokio::time::timeout(Duration::from_secs(30), health.wait_for(sick)).await.unwrap().unwrap();

    faults.full.store(false, Ordering::Relaxed);
    let well = |health: &Health| *health == Health::Stored;
    tokio::time::timeout(Duration::from_secs(30), health.wait_for(well)).await.unwrap().unwrap();
    assert!(outbox.close(Duration::from_secs(10)).await);
    let (_outbox, opened) = Outbox::open(&folder.0.join("risk.redb"));
    assert_eq!(unsent(&opened.contents), [pair("during", "2")]);
}

#[tokio::test]
async fn a_disk_that_is_full_from_the_start_is_not_filled_with_files_that_could_not_be_made() {
    let folder = Folder::new();
    let (disk, faults) = faulty();
    faults.full.store(true, Ordering::Relaxed);
    let (outbox, opened) = Outbox::open_with(disk, &folder.0.join("risk.redb"), Duration::from_millis(10));
    assert_eq!((opened.file, opened.set_aside), (None, Vec::new()));
    put(&outbox, "slack/1", "urgent");
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(folder.files().iter().all(|file| file == "risk.redb"), "{:?}", folder.files());
    faults.full.store(false, Ordering::Relaxed);
    let mut health = outbox.health();
    tokio::time::timeout(Duration::from_secs(30), health.wait_for(|health| *health == Health::Stored))
        .await
        .unwrap()
        .unwrap();
    assert!(outbox.close(Duration::from_secs(10)).await);
    let (_outbox, opened) = Outbox::open(&folder.0.join("risk.redb"));
    assert_eq!(unsent(&opened.contents), [pair("slack/1", "urgent")]);
    assert_eq!(folder.files(), ["risk.redb"]);
}

#[tokio::test]
async fn what_an_unwritable_file_holds_is_kept_for_the_next_start() {
    let folder = Folder::new();
    let (outbox, _) = Outbox::open(&folder.0.join("risk.redb"));
    put(&outbox, "old", "1");
    assert!(outbox.close(Duration::from_secs(10)).await);

    let (disk, faults) = faulty();
    faults.full.store(true, Ordering::Relaxed);
    let (outbox, opened) = Outbox::open_with(disk, &folder.0.join("risk.redb"), Duration::from_millis(20));
    assert_eq!(opened.file, None);
    assert!(matches!(*outbox.health().borrow(), Health::InMemory(_)));
    let new = put(&outbox, "new", "2");
    wait(&outbox, new).await;
    faults.full.store(false, Ordering::Relaxed);
    let mut health = outbox.health();
    let well = |health: &Health| *health == Health::Stored;
    tokio::time::timeout(Duration::from_secs(30), health.wait_for(well)).await.unwrap().unwrap();
    assert!(outbox.close(Duration::from_secs(10)).await);
    let (_outbox, opened) = Outbox::open(&folder.0.join("risk.redb"));
    assert_eq!(unsent(&opened.contents), [pair("new", "2"), pair("old", "1")]);
}

#[tokio::test]
async fn a_file_that_may_not_be_read_or_written_leaves_the_outbox_in_memory() {
    let folder = Folder::new();
    fs::create_dir_all(&folder.0).unwrap();
    // A folder where the file should be, and a file where the folder should be.
    fs::create_dir(folder.0.join("risk.redb")).unwrap();
    fs::write(folder.0.join("file"), "").unwrap();
    let denied = store::Opener::new(|_, _| {
        Err(DatabaseError::from(io::Error::from(io::ErrorKind::ReadOnlyFilesystem)))
    });
    for (outbox, opened) in [
        Outbox::open(&folder.0.join("risk.redb")),
        Outbox::open(&folder.0.join("file/risk.redb")),
        Outbox::open_with(denied, &folder.0.join("other.redb"), RETRY),
    ] {
        assert_eq!(opened.file, None);
        assert_eq!(opened.set_aside, Vec::<PathBuf>::new(), "what is not damaged is not renamed");
        let ticket = put(&outbox, "a", "1");
        wait(&outbox, ticket).await;
        assert!(matches!(&*outbox.health().borrow(), Health::InMemory(why) if !why.is_empty()));
        assert_eq!(unsent(&outbox.contents()), [pair("a", "1")]);
    }
}

#[tokio::test]
async fn a_damaged_file_is_set_aside_and_never_trusted() {
    let folder = Folder::new();
    let (outbox, _) = Outbox::open(&folder.0.join("risk.redb"));
    for number in 0..200 {
        put(&outbox, &format!("key {number:03}"), &"value".repeat(50));
    }
    assert!(outbox.close(Duration::from_secs(10)).await);
    let path = folder.0.join("risk.redb");
    let sound = fs::read(&path).unwrap();
    let expected = {
        let (_outbox, opened) = Outbox::open(&folder.0.join("risk.redb"));
        opened.contents
    };
    let mut damages: Vec<Vec<u8>> = vec![b"not a database".to_vec(), vec![0xff; 9000], sound[..100].to_vec()];
    damages.extend((1..8).map(|eighth| sound[..sound.len() * eighth / 8].to_vec()));
    // A bit here and there: in the header, in the trees, in free space.
    damages.extend((0..40).map(|place| {
        let mut bytes = sound.clone();
        let at = (place * sound.len() / 40 + place * 13) % sound.len();
        bytes[at] ^= 0x5a;
        bytes
    }));
    let mut set_aside = 0;
    for (number, bytes) in damages.into_iter().enumerate() {
        let service = format!("risk{number}");
        fs::write(folder.0.join(format!("{service}.redb")), &bytes).unwrap();
        let (outbox, opened) = Outbox::open(&folder.0.join(format!("{service}.redb")));
        assert!(opened.file.is_some(), "a new file is begun");
        if let [kept] = opened.set_aside.as_slice() {
            assert!(opened.contents.is_empty());
            assert_eq!(
                fs::read(kept).unwrap().len(),
                bytes.len(),
                "kept as it was, but for what a repair tried"
            );
            set_aside += 1;
        } else {
            assert_eq!(opened.contents, expected, "damage {number} was neither found nor harmless");
        }
        let ticket = put(&outbox, "new", "1");
        wait(&outbox, ticket).await;
        assert_eq!(*outbox.health().borrow(), Health::Stored);
    }
    assert!(set_aside >= 10, "{set_aside} of 50 damages were found");
}

/// As SIGKILL leaves it, what is damaged could pass for a commit that was broken off.
#[tokio::test]
async fn a_damaged_file_of_a_killed_process_never_goes_back_to_an_older_state() {
    let folder = Folder::new();
    let (outbox, _) = Outbox::open(&folder.0.join("risk.redb"));
    for number in 0..3 {
        let ticket = put(&outbox, &format!("slack/{number}"), "value");
        wait(&outbox, ticket).await;
    }
    let killed = fs::read(folder.0.join("risk.redb")).unwrap();
    let expected = outbox.contents();
    let mut set_aside = 0;
    for place in 0..100 {
        let mut bytes = killed.clone();
        let at = (place * killed.len() / 100 + place * 13) % killed.len();
        bytes[at] ^= 0x5a;
        let service = format!("killed{place}");
        fs::write(folder.0.join(format!("{service}.redb")), &bytes).unwrap();
        let (_outbox, opened) = Outbox::open(&folder.0.join(format!("{service}.redb")));
        if opened.set_aside.is_empty() {
            assert_eq!(opened.contents, expected, "damage at {at} was neither found nor harmless");
        } else {
            set_aside += 1;
        }
    }
    assert!(set_aside >= 5, "{set_aside} of 100 damages were found");
}

#[tokio::test]
async fn a_second_process_has_a_file_of_its_own_and_the_next_start_takes_it_over() {
    let folder = Folder::new();
    let (first, _) = Outbox::open(&folder.0.join("risk.redb"));
    let (second, opened) = Outbox::open(&folder.0.join("risk.redb"));
    let name = format!("risk.{}.redb", std::process::id());
    assert_eq!(opened.file, Some(folder.0.join(&name)));
    put(&first, "first", "1");
    put(&second, "second", "2");
    // Another service's file, whose name begins the same, is none of ours.
    let (other, _) = Outbox::open(&folder.0.join("risk-manager.redb"));
    put(&other, "other", "3");
    assert!(other.close(Duration::from_secs(10)).await);
    assert!(first.close(Duration::from_secs(10)).await);

    let (third, opened) = Outbox::open(&folder.0.join("risk.redb"));
    assert_eq!(unsent(&opened.contents), [pair("first", "1")], "who lives is left alone");
    assert!(second.close(Duration::from_secs(10)).await);
    assert!(third.close(Duration::from_secs(10)).await);

    let (_fourth, opened) = Outbox::open(&folder.0.join("risk.redb"));
    assert_eq!(unsent(&opened.contents), [pair("first", "1"), pair("second", "2")]);
    assert_eq!(opened.taken_over, [folder.0.join(name)]);
    assert_eq!(folder.files(), ["risk-manager.redb", "risk.redb"]);
}

#[tokio::test]
async fn a_dropped_outbox_writes_and_closes_its_file() {
    let folder = Folder::new();
    let (outbox, _) = Outbox::open(&folder.0.join("risk.redb"));
    put(&outbox, "a", "1");
    drop(outbox);
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let (again, opened) = Outbox::open(&folder.0.join("risk.redb"));
        if opened.file == Some(folder.0.join("risk.redb")) {
            assert_eq!(unsent(&opened.contents), [pair("a", "1")]);
            return;
        }
        assert!(Instant::now() < deadline, "the file stays locked");
        assert!(again.close(Duration::from_secs(10)).await);
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[tokio::test]
async fn batches_cost_no_wait_while_the_disk_is_slow() {
    let folder = Folder::new();
    let (disk, faults) = faulty();
    let (outbox, _) = Outbox::open_with(disk, &folder.0.join("risk.redb"), RETRY);
    faults.sync_millis.store(3_000, Ordering::Relaxed);
    let first = put(&outbox, "first", "1");
    std::thread::sleep(Duration::from_millis(50));
    let began = Instant::now();
    let mut last = 0;
    for number in 0..1000 {
        last = put(&outbox, &format!("key {number}"), "value");
    }
    assert!(began.elapsed() < Duration::from_millis(2_500), "{:?}", began.elapsed());
    assert!(*outbox.committed().borrow() < first);
    faults.sync_millis.store(0, Ordering::Relaxed);
    wait(&outbox, last).await;
}

/// Where the rest of delivery meets the disk.
mod delivery {
    use super::*;
    use crate::alerts::channels::{Channel, Outcome, Sending};
    use crate::alerts::delivery::{Delivery, DeliverySettings, Pace};
    use crate::alerts::event::{AlertSeverity, Event, EventKind};
    use crate::alerts::message::Notice;
    use crate::clock::SystemClock;

    #[derive(Debug, Default)]
    struct Recorder(Mutex<Vec<(Instant, String)>>);

    impl Channel for Recorder {
        fn name(&self) -> &'static str {
            "slack"
        }

        fn pace(&self) -> Pace {
            Pace::new(1000, Duration::from_millis(1))
        }

        fn send<'a>(&'a self, notice: &'a Notice) -> Sending<'a> {
            self.0.lock().unwrap().push((Instant::now(), notice.event.title.clone()));
            Box::pin(std::future::ready(Outcome::Accepted))
        }
    }

    impl Recorder {
        fn titles(&self) -> Vec<String> {
            self.0.lock().unwrap().iter().map(|(_, title)| title.clone()).collect()
        }
    }

    fn event(severity: AlertSeverity, title: &str) -> Event {
        let at = jiff::Timestamp::now();
        Event { title: title.into(), ..Event::new(title, EventKind::Direct, severity, at) }
    }

    fn start(outbox: &Outbox, opened: &Opened, channel: &Arc<Recorder>) -> Delivery {
        let settings =
            DeliverySettings { disk_patience: Duration::from_secs(2), ..DeliverySettings::default() };
        let channels = vec![Arc::clone(channel) as Arc<dyn Channel>];
        Delivery::start(settings, channels, outbox.clone(), opened, Arc::new(SystemClock::new()))
    }

    #[tokio::test]
    async fn a_critical_message_is_posted_while_its_record_is_being_committed() {
        let folder = Folder::new();
        let (disk, faults) = faulty();
        let (outbox, opened) = Outbox::open_with(disk, &folder.0.join("risk.redb"), RETRY);
        let channel = Arc::new(Recorder::default());
        let delivery = start(&outbox, &opened, &channel);
        faults.sync_millis.store(1500, Ordering::Relaxed);
        delivery.submit(event(AlertSeverity::Warning, "warning"));
        delivery.submit(event(AlertSeverity::Critical, "urgent"));
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert_eq!(channel.titles(), ["urgent"], "a warning waits for the disk, a critical message does not");
        faults.sync_millis.store(0, Ordering::Relaxed);
        let deadline = Instant::now() + Duration::from_secs(30);
        while channel.titles().len() < 2 {
            assert!(Instant::now() < deadline);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(channel.titles(), ["urgent", "warning"]);
    }

    #[tokio::test]
    async fn a_disk_that_hangs_stops_nothing() {
        let folder = Folder::new();
        let (disk, faults) = faulty();
        let (outbox, opened) = Outbox::open_with(disk, &folder.0.join("risk.redb"), RETRY);
        let channel = Arc::new(Recorder::default());
        let delivery = start(&outbox, &opened, &channel);
        faults.sync_millis.store(8_000, Ordering::Relaxed);
        delivery.submit(event(AlertSeverity::Warning, "warning"));
        let began = Instant::now();
        while channel.titles().is_empty() {
            assert!(began.elapsed() < Duration::from_secs(7), "it waits for the disk");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        faults.sync_millis.store(0, Ordering::Relaxed);
    }

    #[tokio::test]
    async fn an_outbox_in_memory_is_an_alert_of_its_own() {
        let folder = Folder::new();
        let (disk, faults) = faulty();
        let (outbox, opened) =
            Outbox::open_with(disk, &folder.0.join("risk.redb"), Duration::from_millis(20));
        let channel = Arc::new(Recorder::default());
        let delivery = start(&outbox, &opened, &channel);
        faults.full.store(true, Ordering::Relaxed);
        delivery.submit(event(AlertSeverity::Critical, "urgent"));
        let deadline = Instant::now() + Duration::from_secs(30);
        while !channel.titles().contains(&"Alert outbox not writable".to_owned()) {
            assert!(Instant::now() < deadline, "{:?}", channel.titles());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(channel.titles()[0], "urgent", "a full disk delays nothing");
        faults.full.store(false, Ordering::Relaxed);
        while channel.titles().iter().filter(|title| *title == "Alert outbox not writable").count() < 2 {
            assert!(Instant::now() < deadline, "{:?}", channel.titles());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

#[tokio::test]
async fn a_folder_that_could_not_be_made_at_the_start_is_made_by_a_later_try() {
    let folder = Folder::new();
    fs::create_dir_all(&folder.0).unwrap();
    let in_the_way = folder.0.join("state");
    fs::write(&in_the_way, "").unwrap();
    let file = in_the_way.join("risk.redb");
    let how = store::Opener::default();
    let (outbox, opened) = Outbox::open_with(how, &file, Duration::from_millis(20));
    assert_eq!(opened.file, None);
    put(&outbox, "a", "1");
    fs::remove_file(&in_the_way).unwrap();
    let mut health = outbox.health();
    let healed = health.wait_for(|health| *health == Health::Stored);
    tokio::time::timeout(Duration::from_secs(30), healed).await.unwrap().unwrap();
    assert!(outbox.close(Duration::from_secs(10)).await);
    assert_eq!(unsent(&Outbox::open(&file).1.contents), [pair("a", "1")]);
}

#[tokio::test]
async fn a_folder_that_is_deleted_is_made_again_with_everything_in_it() {
    let folder = Folder::new();
    let file = folder.0.join("state/risk.redb");
    let (outbox, _) = Outbox::open(&file);
    let ticket = put(&outbox, "a", "1");
    wait(&outbox, ticket).await;
    fs::remove_dir_all(folder.0.join("state")).unwrap();
    put(&outbox, "b", "2");
    assert!(outbox.close(Duration::from_secs(10)).await);
    assert_eq!(unsent(&Outbox::open(&file).1.contents), [pair("a", "1"), pair("b", "2")]);
}

#[tokio::test]
async fn a_file_has_the_name_that_it_was_given() {
    for name in ["my-own-name.db", "outbox"] {
        let folder = Folder::new();
        let file = folder.0.join(name);
        let (first, opened) = Outbox::open(&file);
        assert_eq!(opened.file.as_ref(), Some(&file));
        let (second, opened) = Outbox::open(&file);
        let other = opened.file.unwrap();
        let process = std::process::id().to_string();
        assert!(other != file && other.display().to_string().contains(&process), "{}", other.display());
        put(&second, "a", "1");
        assert!(first.close(Duration::from_secs(10)).await && second.close(Duration::from_secs(10)).await);
        let (_next, opened) = Outbox::open(&file);
        assert_eq!(unsent(&opened.contents), [pair("a", "1")]);
        assert_eq!(opened.taken_over, [other]);
        assert_eq!(folder.files(), [name]);
    }
}
