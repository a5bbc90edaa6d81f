//! Where a server of these tests stores in S3: in a strict S3 server in this process or, with `WHARF_TEST_S3` set to its
//! URL, in a real one. Then the keys are those of `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`, the region is that of
//! `AWS_REGION` (otherwise `us-east-1`), and the bucket that of `WHARF_TEST_S3_BUCKET` (otherwise `wharf-test`).

use std::{
    env,
    hash::{BuildHasher, Hasher, RandomState},
};

use wharf_s3_testbed::{Bed, Place, Visitor};

/// A bucket, or the part of a real one below a prefix that nobody else has. What is left in that is removed at the end.
pub(crate) struct Bucket {
    visitor: Visitor,
    bed: Option<Bed>,
}

impl Bucket {
    /// An empty one.
    pub(crate) fn start() -> Bucket {
        let Ok(endpoint) = env::var("WHARF_TEST_S3") else { return Bucket::of(Bed::start(), "a/prefix/") };
        let variable = |name: &str| env::var(name).unwrap_or_else(|_| panic!("WHARF_TEST_S3 is set, {name} is not"));
        let place = Place {
            endpoint,
            region: env::var("AWS_REGION").unwrap_or_else(|_| "us-east-1".to_owned()),
            access_key: variable("AWS_ACCESS_KEY_ID"),
            secret_key: variable("AWS_SECRET_ACCESS_KEY"),
            bucket: env::var("WHARF_TEST_S3_BUCKET").unwrap_or_else(|_| "wharf-test".to_owned()),
            prefix: format!("wharf-test/{:016x}/", RandomState::new().build_hasher().finish()),
        };
        Bucket { visitor: Visitor::new(place), bed: None }
    }

    /// What lies below a prefix in this bed.
    pub(crate) fn of(bed: Bed, prefix: &str) -> Bucket {
        let place = Place { prefix: prefix.to_owned(), ..Place::of(&bed) };
        Bucket { visitor: Visitor::new(place), bed: Some(bed) }
    }

    /// The S3 server, if it is one in this process.
    pub(crate) fn bed(&self) -> Option<&Bed> {
        self.bed.as_ref()
    }

    /// Who looks into it past the server.
    pub(crate) fn visitor(&self) -> &Visitor {
        &self.visitor
    }

    /// How many bytes it has of the upload with this id.
    pub(super) fn stored(&self, id: &str) -> u64 {
        let (name, multipart) = halves(id);
        if let Some(object) = self.visitor.object(name) {
            return object.size;
        }
        let tail = self.visitor.object(&format!("{name}.part")).map_or(0, |tail| tail.size);
        tail + self.visitor.parts(name, multipart).into_iter().flatten().map(|(_, part)| part.size).sum::<u64>()
    }

    /// The bytes of the upload with this id; those in parts only in a bed.
    pub(super) fn stored_bytes(&self, id: &str) -> Vec<u8> {
        let (name, multipart) = halves(id);
        if let Some(object) = self.visitor.object(name) {
            return object.bytes.into();
        }
        let key = format!("{}{name}", self.visitor.place().prefix);
        let uploads = self.bed.as_ref().map(Bed::multipart_uploads).unwrap_or_default();
        let upload = uploads.into_iter().find(|upload| upload.key == key && upload.upload_id == multipart);
        let parts = upload.into_iter().flat_map(|upload| upload.parts.into_values()).flat_map(|part| part.bytes);
        parts.chain(self.visitor.object(&format!("{name}.part")).into_iter().flat_map(|tail| tail.bytes)).collect()
    }

    /// What makes a server store there, reached by this URL or directly.
    pub(super) fn flags(&self, endpoint: Option<&str>) -> Vec<String> {
        let place = self.visitor.place();
        [
            "storage.kind=s3".to_owned(),
            format!("storage.s3.bucket={}", place.bucket),
            format!("storage.s3.prefix={}", place.prefix),
            format!("storage.s3.region={}", place.region),
            format!("storage.s3.endpoint={}", endpoint.unwrap_or(&place.endpoint)),
            "storage.s3.path_style=true".to_owned(),
        ]
        .into_iter()
        .flat_map(|setting| ["--set".to_owned(), setting])
        .collect()
    }

    /// The keys, where a server looks for them, and the smallest parts, which a test may set by a flag.
    pub(super) fn environment(&self) -> [(&'static str, String); 3] {
        let place = self.visitor.place();
        [
            ("AWS_ACCESS_KEY_ID", place.access_key.clone()),
            ("AWS_SECRET_ACCESS_KEY", place.secret_key.clone()),
            ("WHARF__STORAGE__S3__PART_SIZE_BYTES", "5242880".to_owned()),
        ]
    }
}

/// The object's name and the multipart upload's id.
fn halves(id: &str) -> (&str, &str) {
    id.split_once('+').expect("a multipart upload's id")
}

impl Drop for Bucket {
    fn drop(&mut self) {
        if self.bed.is_none() && !std::thread::panicking() {
            self.visitor.clear();
        }
    }
}
