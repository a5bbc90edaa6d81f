//! What a request to S3 leaves behind that failed, hung or got no answer, and what somebody else does in the bucket meanwhile:
//! no upload is stuck for that, none is lost, and nothing stays that nobody needs.

mod support;

use serde_json::Value;
use support::{Bed, Client, OFFSET_TYPE, Server, head, wait_until};
use wharf_s3_testbed::{Fault, Kind, Operation, Proxy};

const MIB: usize = 1 << 20;

/// A failure that trying again does not mend.
const DENIED: Kind = Kind::Answer(403, "AccessDenied");

/// Tries calls for a few seconds only.
const IMPATIENT: [&str; 2] = ["--set", "storage.s3.deadline_secs=3"];

fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at / 7 + at / 4099) as u8).collect()
}

/// A server with a proxy before its bed; parts have 5 MiB.
fn server(flags: &[&str]) -> (Server, Proxy) {
    let bed = Bed::start();
    let proxy = Proxy::start(&bed.endpoint());
    let endpoint = proxy.endpoint();
    (Server::start_s3(bed, Some(&endpoint), flags), proxy)
}

/// The object's name.
fn name<'a>(server: &'a Server, path: &'a str) -> &'a str {
    server.id_of(path).split('+').next().expect("a name")
}

fn info(server: &Server, name: &str) -> Value {
    serde_json::from_slice(&server.bed().objects()[&format!("{name}.info")].bytes).expect("an info")
}

/// Changes what is known of an upload while the server is down.
fn rewrite(server: &mut Server, path: &str, change: impl FnOnce(&mut Value)) {
    server.kill();
    let name = name(server, path);
    let mut info = info(server, name);
    change(&mut info);
    server.bed().put_object(&format!("{name}.info"), info.to_string().into_bytes());
    server.start_again();
}

/// Asserts that the bucket holds these uploads' objects and infos, and nothing else.
#[track_caller]
fn holds_only(server: &Server, names: &[&str]) {
    let mut expected: Vec<String> =
        names.iter().flat_map(|name| [(*name).to_owned(), format!("{name}.info")]).collect();
    expected.sort();
    assert_eq!(server.bed().objects().into_keys().collect::<Vec<_>>(), expected);
    assert!(server.bed().multipart_uploads().is_empty());
}

/// Sends the whole request, from a thread, because the server may not take all of it.
fn send_all(server: &Server, path: &str, announced: usize, bytes: Vec<u8>) -> std::thread::JoinHandle<Client> {
    let mut client = server.connect();
    let headers = [OFFSET_TYPE, ("Upload-Offset", "0"), ("Content-Length", &announced.to_string())];
    let head = head("PATCH", path, &headers);
    std::thread::spawn(move || {
        client.send(head);
        client.send(bytes);
        client
    })
}

/// An upload whose 10,000 part numbers are used up, or said to be, fails at once and alone.
#[test]
fn used_up_numbers_are_a_failure() {
    let (mut server, _proxy) = server(&["--set", "pools.uploads.arbiters=1"]);
    for number in [10_000, 65_535] {
        let path = server.create(6 * MIB as u64);
        rewrite(&mut server, &path, |info| info["Wharf"]["DroppedParts"] = vec![number].into());
        for _ in 0..2 {
            assert_eq!(server.patch(&path, 0, &bytes(6 * MIB)).status, 500);
            assert_eq!(server.offset(&path), 0);
        }
        server.unharmed();
        assert_eq!(server.delete(&path).status, 204);
    }
}

/// A tail that was stored although no answer came is longer than the one that counts: it is gone on with all the same.
#[test]
fn a_tail_that_was_put_without_an_answer_is_no_obstacle() {
    let (server, proxy) = server(&IMPATIENT);
    let bytes = bytes(9 * MIB);
    let path = server.create(bytes.len() as u64);
    server.patched(&path, 0, &bytes[..MIB]);
    proxy.script(vec![Fault::new(Operation::PutObject, Kind::ResetAfter).key_suffix(".part").always()]);
    assert_eq!(server.patch(&path, MIB as u64, &bytes[MIB..3 * MIB]).status, 500);
    proxy.calm();
    let tail = format!("{}.part", name(&server, &path));
    assert_eq!(server.bed().objects()[&tail].size, 3 * MIB as u64);
    assert_eq!(server.offset(&path), MIB as u64);
    // Shorter than what is there.
    server.patched(&path, MIB as u64, &bytes[MIB..2 * MIB]);
    server.patched(&path, 2 * MIB as u64, &bytes[2 * MIB..]);
    assert!(server.content(&path) == bytes);
    holds_only(&server, &[name(&server, &path)]);
}

/// What failed of an upload that tusd began is remembered, also when its length is declared later.
#[test]
fn dropped_parts_of_an_upload_of_tusd_stay_dropped() {
    let (mut server, proxy) = server(&[]);
    let bytes = bytes(17 * MIB);
    let path = server.create_with(&[("Upload-Defer-Length", "1")]);
    rewrite(&mut server, &path, |info| drop(info.as_object_mut().expect("an object").remove("Wharf")));
    proxy.script(vec![Fault::new(Operation::UploadPart, DENIED).part(2)]);
    assert_eq!(server.patch(&path, 0, &bytes[..16 * MIB]).status, 500);
    assert_eq!(server.offset(&path), 5 * MIB as u64);
    let length = ("Upload-Length", bytes.len().to_string());
    let response = server.patch_with(&path, 5 * MIB as u64, &[(length.0, &length.1)], &bytes[5 * MIB..12 * MIB]);
    response.appended(12 * MIB as u64);
    server.kill();
    server.start_again();
    assert_eq!(server.offset(&path), 12 * MIB as u64);
    server.patched(&path, 12 * MIB as u64, &bytes[12 * MIB..]);
    assert!(server.content(&path) == bytes);
}

/// A DELETE does not wait for parts that hang, also when somebody else waits for them already: a write that finds too many
/// under way, or the end of a request. Who asks afterwards is told at once that nothing is there.
#[test]
fn a_delete_does_not_wait_with_others_for_parts_that_hang() {
    for (announced, sent, hanging) in [(60, 40, 4), (6, 6, 1)] {
        let (server, proxy) = server(&[]);
        let path = server.create(100 * MIB as u64);
        proxy.script(vec![Fault::new(Operation::UploadPart, Kind::Hold).always()]);
        let sender = send_all(&server, &path, announced * MIB, bytes(sent * MIB));
        wait_until("the parts hang", || proxy.held() == hanging);
        assert_eq!(server.delete(&path).status, 204);
        server.head(&path).gone();
        assert_eq!(server.delete(&path).status, 404);
        assert_eq!(proxy.held(), hanging, "none has been let go");
        let status = sender.join().expect("a client").answer().status;
        assert!([400, 500].contains(&status), "{status}");
        assert!(server.bed().objects().is_empty() && server.bed().multipart_uploads().is_empty());
        proxy.calm();
        proxy.release();
        wait_until("nothing hangs any more", || proxy.held() == 0);
        server.unharmed();
    }
}

/// A multipart upload that somebody aborts is gone, also for the owner that was at work on it.
#[test]
fn an_upload_that_is_aborted_under_its_owner_is_gone() {
    let (server, _proxy) = server(&[]);
    let bytes = bytes(9 * MIB);
    let path = server.create(20 * MIB as u64);
    server.patched(&path, 0, &bytes[..MIB]);
    let aborted = server.bed().multipart_uploads().remove(0);
    assert!(server.bed().abort_upload(&aborted.upload_id));
    assert_eq!(server.patch(&path, MIB as u64, &bytes[MIB..]).status, 500);
    // Until its owner has ended it is to be asked for again.
    wait_until("its owner has ended", || server.head(&path).status != 423);
    server.head(&path).gone();
    assert_eq!(server.patch(&path, MIB as u64, &bytes[MIB..]).status, 404);
    server.unharmed();
}

/// A server that dies between completing an upload and marking it as finished does the rest after its start.
#[test]
fn what_was_completed_but_not_marked_is_finished() {
    let (mut server, proxy) = server(&[]);
    let bytes = bytes(7 * MIB);
    let path = server.create_with(&[("Upload-Concat", "partial"), ("Upload-Length", &bytes.len().to_string())]);
    server.patched(&path, 0, &bytes[..MIB]);
    proxy.script(vec![
        Fault::new(Operation::DeleteObjects, DENIED).always(),
        Fault::new(Operation::PutObject, Kind::Hold).key_suffix(".info"),
    ]);
    let sent = [OFFSET_TYPE, ("Upload-Offset", "1048576"), ("Content-Length", &(6 * MIB).to_string())];
    let mut client = server.connect();
    client.send(head("PATCH", &path, &sent));
    client.send(&bytes[MIB..]);
    wait_until("the mark is on its way", || proxy.held() == 1);
    server.kill();
    proxy.calm();
    let name = name(&server, &path).to_owned();
    assert!(server.bed().objects().contains_key(&format!("{name}.part")), "a tail is left");
    server.start_again();
    assert_eq!(server.offset(&path), bytes.len() as u64);
    assert_eq!(info(&server, &name)["Wharf"]["Finished"], true);
    holds_only(&server, &[&name]);
    assert!(server.content(&path) == bytes);

    // The same with a final one, which nobody has to ask for.
    proxy.script(vec![Fault::new(Operation::PutObject, Kind::Hold).key_suffix(".info").after(1)]);
    let mut client = server.connect();
    client.send(head("POST", &server.base, &[("Upload-Concat", &format!("final;{path}")), ("Content-Length", "0")]));
    wait_until("the mark is on its way", || proxy.held() == 1);
    server.kill();
    proxy.calm();
    let is_marker = |key: &String| key.starts_with(".wharf/finals/");
    assert_eq!(server.bed().objects().keys().filter(|key| is_marker(key)).count(), 1);
    server.start_again();
    wait_until("the marker is gone", || !server.bed().objects().keys().any(is_marker));
    let keys: Vec<String> = server.bed().objects().into_keys().collect();
    let joined = keys.iter().find(|key| !key.starts_with(&name) && !key.ends_with(".info")).expect("the final one");
    assert_eq!(info(&server, joined)["Wharf"]["Finished"], true);
    holds_only(&server, &[&name, joined]);
}

/// A tail whose bytes have gone into a part, and that was not removed before the server died, is removed later.
#[test]
fn a_stale_tail_is_removed_after_a_crash() {
    let (mut server, proxy) = server(&[]);
    let bytes = bytes(9 * MIB);
    let path = server.create(bytes.len() as u64);
    server.patched(&path, 0, &bytes[..MIB]);
    proxy.script(vec![Fault::new(Operation::DeleteObjects, DENIED).always()]);
    server.patched(&path, MIB as u64, &bytes[MIB..6 * MIB]);
    server.kill();
    proxy.calm();
    assert!(server.bed().objects().contains_key(&format!("{}.part", name(&server, &path))), "a tail is left");
    server.start_again();
    assert_eq!(server.offset(&path), 6 * MIB as u64);
    server.patched(&path, 6 * MIB as u64, &bytes[6 * MIB..]);
    assert!(server.content(&path) == bytes);
    holds_only(&server, &[name(&server, &path)]);
}

/// The marker of a final upload that was not removed when that was finished is removed at the next start.
#[test]
fn the_marker_of_a_finished_final_upload_goes() {
    let (mut server, proxy) = server(&[]);
    let partial = server.uploaded_with(&[("Upload-Concat", "partial")], b"hello");
    proxy.script(vec![Fault::new(Operation::DeleteObjects, DENIED).always()]);
    let path = server.create_with(&[("Upload-Concat", &format!("final;{partial}"))]);
    assert_eq!(server.content(&path), b"hello");
    proxy.calm();
    let has_marker = |server: &Server| server.bed().objects().keys().any(|key| key.starts_with(".wharf/finals/"));
    assert!(has_marker(&server));
    server.kill();
    server.start_again();
    wait_until("the marker is gone", || !has_marker(&server));
    assert_eq!(server.content(&path), b"hello");
}

/// An upload whose info was written without an answer leaves nothing: nobody has got it.
#[test]
fn a_creation_that_fails_leaves_nothing() {
    let (server, proxy) = server(&IMPATIENT);
    proxy.script(vec![Fault::new(Operation::PutObject, Kind::ResetAfter).key_suffix(".info").always()]);
    let response = server.post(&[("Upload-Length", "5")], b"");
    assert_eq!(response.status, 500, "{response:?}");
    wait_until("all is removed", || server.bed().objects().is_empty());
    assert!(server.bed().multipart_uploads().is_empty());
}

/// A final upload that can't be put together is given up, and another may be.
#[test]
fn a_part_that_fails_fails_the_final_upload() {
    let (server, proxy) = server(&[]);
    let (small, large) = (bytes(100), bytes(17 * MIB));
    let partial = |bytes: &[u8]| server.uploaded_with(&[("Upload-Concat", "partial")], bytes);
    let (small_path, large_path) = (partial(&small), partial(&large));
    let concat = format!("final;{small_path} {large_path}");
    proxy.script(vec![Fault::new(Operation::UploadPart, DENIED).part(1)]);
    assert_eq!(server.post(&[("Upload-Concat", &concat)], b"").status, 500);
    let path = server.create_with(&[("Upload-Concat", &concat)]);
    assert!(server.content(&path) == [small, large].concat());
    holds_only(&server, &[name(&server, &small_path), name(&server, &large_path), name(&server, &path)]);
}

/// A media type that is longer than any is none.
#[test]
fn a_media_type_without_end_is_left_out() {
    let (server, _proxy) = server(&[]);
    // `filetype` with 6,000 letters.
    let metadata = format!("filetype {}", "YWFh".repeat(2000));
    let path = server.create_with(&[("Upload-Length", "5"), ("Upload-Metadata", &metadata)]);
    server.patched(&path, 0, b"hello");
    assert_eq!(server.bed().objects()[name(&server, &path)].content_type, None);
    assert_eq!(server.head(&path).the("Upload-Metadata"), metadata);
}
