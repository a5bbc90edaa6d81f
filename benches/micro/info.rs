//! `.info` of an upload on disk, written and read.

use std::{collections::BTreeMap, hint::black_box};

use criterion::Criterion;
use wharf_actors::{
    Info, Kind, Own, UploadId,
    storage::benched::{decode, encode},
};

const ID: &str = "4bfcc937b14e2676ae1e763a74b9ad77";
const PATH: &str = "/var/lib/wharf/4bfcc937b14e2676ae1e763a74b9ad77";
const INFO_PATH: &str = "/var/lib/wharf/4bfcc937b14e2676ae1e763a74b9ad77.info";
const RAW_METADATA: &str = "filename aG9saWRheXMtaW4tbm9yd2F5LTIwMjYubXA0,filetype dmlkZW8vbXA0";

fn info(id: &UploadId) -> Info {
    let metadata = [("filename", "holidays-in-norway-2026.mp4"), ("filetype", "video/mp4")];
    let metadata: BTreeMap<String, String> =
        metadata.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let own = Own { raw_metadata: Some(RAW_METADATA.to_owned()), finished: true, ..Own::default() };
    Info { id: id.clone(), length: Some(16 * 1024), metadata, kind: Kind::Single, place: None, own: Some(own) }
}

pub(crate) fn run(criterion: &mut Criterion) {
    let id = UploadId::parse(ID).expect("an id");
    let info = info(&id);
    let json = encode(&info, PATH, INFO_PATH);
    assert_eq!(decode(&json, &id).metadata, info.metadata);
    let mut group = criterion.benchmark_group(".info");
    group.bench_function("encode", |bench| bench.iter(|| encode(black_box(&info), PATH, INFO_PATH)));
    group.bench_function("decode", |bench| bench.iter(|| decode(black_box(&json), &id)));
    group.finish();
}
