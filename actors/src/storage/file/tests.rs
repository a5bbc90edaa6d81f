use std::{cell::Cell, fs};

use tempfile::TempDir;

use super::*;
use crate::storage::conformance;

fn config(dir: &Path, durability: Durability) -> Config {
    Config { dir: dir.to_owned(), durability, file_mode: 0o664, dir_mode: 0o775, roots: Vec::new(), scan_entries: 3 }
}

fn store(dir: &Path) -> FileStore {
    FileStore::open(config(dir, Durability::Complete), Disk::start(2, 4).unwrap()).unwrap()
}

#[actix_rt::test]
async fn disk_keeps_the_promises_with_every_durability() {
    for durability in [Durability::None, Durability::Complete, Durability::Always] {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::start(2, 4).unwrap();
        let count = Cell::new(0);
        conformance::run(|| {
            count.set(count.get() + 1);
            let dir = dir.path().join(count.get().to_string());
            Arc::new(FileStore::open(config(&dir, durability), Arc::clone(&disk)).unwrap())
        })
        .await;
        assert_eq!(count.get(), 13);
    }
}
