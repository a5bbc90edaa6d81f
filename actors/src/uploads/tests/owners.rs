//! Uploads that belong to somebody, as everybody else finds them: not there, and undisturbed.

use super::*;
use crate::Reach;

fn claimant(subject: &str, reach: Reach) -> Claimant {
    Claimant { subject: subject.into(), reach }
}

fn new(name: &str, length: Option<u64>, kind: Kind) -> NewUpload {
    NewUpload {
        id: UploadId::parse(name).unwrap(),
        length,
        metadata: std::collections::BTreeMap::new(),
        raw_metadata: None,
        kind,
        raw_concat: None,
        place: None,
        caller: None,
        max_size: None,
    }
}

/// Creates an upload: its id.
async fn created(uploads: &Uploads, new: NewUpload) -> UploadId {
    uploads.create(new).await.unwrap().snapshot.info.id
}

fn appending(offset: u64) -> Appending {
    Appending {
        offset,
        declared_length: None,
        announced: None,
        tentative: false,
        request_id: Arc::from("request-1"),
        peer: None,
        caller: None,
    }
}

const MISSING: AskFailure = AskFailure::Refused(Refusal::NotFound);

/// What each way to ask for an upload says.
async fn asked(uploads: &Uploads, id: &UploadId) -> [Option<AskFailure>; 5] {
    let joined = uploads.create(new("joined", None, Kind::Final { partials: vec![id.clone()] })).await;
    [
        uploads.inspect(id).await.err(),
        uploads.begin(id, appending(0)).await.err(),
        uploads.record(id).await.err(),
        uploads.terminate(id, None).await.err(),
        joined.err(),
    ]
}

async fn take(uploads: &Uploads, id: &UploadId, bytes: &'static [u8]) {
    let Begun::Lease { lease, .. } = uploads.begin(id, appending(0)).await.unwrap() else { panic!("complete") };
    let share = uploads.budget().try_take(bytes.len()).unwrap();
    lease.append(vec![Bytes::from_static(bytes)], share).await.unwrap();
    lease.commit().await.unwrap();
}

#[actix_rt::test]
async fn a_stranger_finds_nothing_and_disturbs_nobody() {
    let bed = Bed::new().await;
    let ann = bed.uploads.on_behalf_of(claimant("ann", Reach::Own));
    let id = created(&ann, new("a", Some(6), Kind::Partial)).await;
    let Begun::Lease { lease, .. } = ann.begin(&id, appending(0)).await.unwrap() else { panic!("complete") };
    bed.append(&lease, b"abc").await;
    for reach in [Reach::Own, Reach::OwnAndUnowned] {
        let bob = bed.uploads.on_behalf_of(claimant("bob", reach));
        assert_eq!(asked(&bob, &id).await, [const { Some(MISSING) }; 5]);
        assert_eq!(asked(&bob, &UploadId::parse("none").unwrap()).await, [const { Some(MISSING) }; 5]);
        assert_eq!(bob.expires_at_secs(&id).await, None);
    }
    // Nobody's request has ended the lease, and the upload waits for no final one.
    bed.append(&lease, b"def").await;
    assert_eq!(lease.commit().await.unwrap().offset, 6);
    let record = ann.record(&id).await.unwrap().unwrap();
    let own = record.info.own.as_ref().unwrap();
    assert_eq!((own.owner.as_deref(), own.finals.len()), (Some("ann"), 0));
    // What is published is kept from strangers as well.
    assert!(bed.uploads.directory.record(&id).is_some());
    let bob = bed.uploads.on_behalf_of(claimant("bob", Reach::Own));
    assert_eq!(asked(&bob, &id).await, [const { Some(MISSING) }; 5]);
    let all = bed.uploads.on_behalf_of(claimant("bob", Reach::All));
    assert_eq!(all.inspect(&id).await.unwrap().offset, Some(6));
    assert_eq!(bed.uploads.inspect(&id).await.unwrap().offset, Some(6));
    ann.terminate(&id, None).await.unwrap();
}

#[actix_rt::test]
async fn partial_uploads_are_joined_by_their_owner_only() {
    let bed = Bed::new().await;
    let ann = bed.uploads.on_behalf_of(claimant("ann", Reach::Own));
    let bob = bed.uploads.on_behalf_of(claimant("bob", Reach::Own));
    for (name, owner) in [("a", &ann), ("b", &bob)] {
        let id = created(owner, new(name, Some(3), Kind::Partial)).await;
        take(owner, &id, b"abc").await;
    }
    let joined = |names: [&str; 2]| Kind::Final { partials: names.map(|name| UploadId::parse(name).unwrap()).into() };
    for names in [["a", "b"], ["b", "a"]] {
        let refused = ann.create(new("f", None, joined(names))).await.err();
        assert_eq!(refused, Some(MISSING), "{names:?}");
    }
    let created = ann.create(new("f", None, joined(["a", "a"]))).await.unwrap().snapshot;
    assert_eq!(created.info.length, Some(6));
    assert_eq!(bob.inspect(&created.info.id).await.err(), Some(MISSING));
}

#[actix_rt::test]
async fn uploads_of_nobody_are_for_those_who_may() {
    let bed = Bed::new().await;
    let id = bed.create("a", Some(3)).await;
    let ann = bed.uploads.on_behalf_of(claimant("ann", Reach::Own));
    assert_eq!(asked(&ann, &id).await, [const { Some(MISSING) }; 5]);
    let ann = bed.uploads.on_behalf_of(claimant("ann", Reach::OwnAndUnowned));
    assert_eq!(ann.inspect(&id).await.unwrap().offset, Some(0));
}

#[actix_rt::test]
async fn a_limit_of_its_own_holds_for_the_length_and_for_the_bytes() {
    let bed = Bed::new().await;
    for (name, declared_length, announced, refused) in [
        ("a", Some(4), None, Some(Refusal::MaxSizeExceeded)),
        ("b", None, Some(4), Some(Refusal::SizeExceeded)),
        ("c", Some(3), None, None),
        ("d", None, None, None),
    ] {
        let limited = NewUpload { max_size: Some(3), ..new(name, None, Kind::Single) };
        let id = created(&bed.uploads, limited).await;
        let begun = bed.uploads.begin(&id, Appending { declared_length, announced, ..appending(0) }).await;
        match begun {
            Ok(Begun::Lease { lease, .. }) => assert_eq!(lease.room(), Some(3), "{name}"),
            Ok(Begun::Complete { .. }) => panic!("complete"),
            Err(failure) => assert_eq!(Some(failure), refused.map(AskFailure::Refused), "{name}"),
        }
        assert_eq!(refused.is_none(), matches!(name, "c" | "d"));
    }
    let partial = created(&bed.uploads, new("p", Some(2), Kind::Partial)).await;
    let twice = Kind::Final { partials: vec![partial.clone(), partial] };
    let limited = NewUpload { max_size: Some(3), ..new("f", None, twice) };
    assert_eq!(bed.uploads.create(limited).await.err(), Some(AskFailure::Refused(Refusal::MaxSizeExceeded)));
}
