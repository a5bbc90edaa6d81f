//! The checksum extension: `Upload-Checksum` in the head or in the trailer, and the digests it may ask for.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use md5::Md5;
use sha1::{Digest as _, Sha1};
use sha2::{Sha256, Sha512};

use super::{Fields, Refusal, Rules};

/// A way to compute a digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are the algorithms' own")]
pub enum Algorithm {
    Sha1,
    Sha256,
    Sha512,
    Md5,
    /// CRC-32 as in IEEE 802.3, written as four bytes, the highest first.
    Crc32,
}

/// Every algorithm, by its name in `Upload-Checksum` and with the length of its digest in bytes.
pub const ALGORITHMS: [(Algorithm, &str, usize); 5] = [
    (Algorithm::Sha1, "sha1", 20),
    (Algorithm::Sha256, "sha256", 32),
    (Algorithm::Sha512, "sha512", 64),
    (Algorithm::Md5, "md5", 16),
    (Algorithm::Crc32, "crc32", 4),
];

/// The value of `Tus-Checksum-Algorithm`.
#[must_use]
pub fn algorithms_header() -> String {
    ALGORITHMS.map(|(_, name, _)| name).join(",")
}

/// The digest that a body must have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// How it is computed.
    pub algorithm: Algorithm,
    /// Its bytes, as many as the algorithm makes.
    pub digest: Vec<u8>,
}

/// What a request's head says of its body's checksum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChecksumRequest {
    /// The body must have this digest.
    Given(Expected),
    /// The digest follows the body, in the trailer.
    Trailer,
}

/// Reads the value of `Upload-Checksum`: an algorithm's name, one space, and the digest in padded Base64.
///
/// # Errors
/// [`Refusal::InvalidChecksum`] for an unknown algorithm, and for what can't be one of its digests.
pub fn parse_checksum(value: &[u8]) -> Result<Expected, Refusal> {
    let space = value.iter().position(|byte| *byte == b' ').ok_or(Refusal::InvalidChecksum)?;
    let (name, encoded) = (&value[..space], &value[space + 1..]);
    let (algorithm, _, length) =
        ALGORITHMS.into_iter().find(|(_, known, _)| known.as_bytes() == name).ok_or(Refusal::InvalidChecksum)?;
    let digest = STANDARD.decode(encoded).map_err(|_| Refusal::InvalidChecksum)?;
    if digest.len() == length { Ok(Expected { algorithm, digest }) } else { Err(Refusal::InvalidChecksum) }
}

/// What the head of a request with a body says of its checksum; nothing while the extension is off. A digest in the
/// head counts before one that the trailer may bring.
///
/// # Errors
/// [`Refusal::InvalidChecksum`], also for two digests, of which one would have to be ignored.
pub(super) fn requested(fields: &dyn Fields, rules: &Rules) -> Result<Option<ChecksumRequest>, Refusal> {
    if !rules.extensions.checksum {
        return Ok(None);
    }
    match (fields.count("upload-checksum"), fields.first("upload-checksum")) {
        (1, Some(value)) => parse_checksum(value).map(|expected| Some(ChecksumRequest::Given(expected))),
        (0, _) if rules.extensions.checksum_trailer && is_announced(fields) => Ok(Some(ChecksumRequest::Trailer)),
        (0, _) => Ok(None),
        _ => Err(Refusal::InvalidChecksum),
    }
}

/// Whether `Trailer` names `Upload-Checksum`.
fn is_announced(fields: &dyn Fields) -> bool {
    let lines = fields.lines("trailer");
    let mut names = lines.iter().flat_map(|line| line.split(|byte| *byte == b','));
    names.any(|name| name.trim_ascii().eq_ignore_ascii_case(b"upload-checksum"))
}

/// Digests of a body that comes in pieces.
pub struct Hasher {
    running: Vec<Running>,
}

enum Running {
    Sha1(Sha1),
    Sha256(Sha256),
    Sha512(Sha512),
    Md5(Md5),
    Crc32(crc32fast::Hasher),
}

impl Hasher {
    /// Computes one digest.
    #[must_use]
    pub fn new(algorithm: Algorithm) -> Self {
        Self { running: vec![Running::new(algorithm)] }
    }

    /// Computes every digest there is, for a body whose trailer will say which one counts. The bytes are not read
    /// twice, but each is hashed by every algorithm, so it costs their times added up: several times that of SHA-1
    /// alone.
    #[must_use]
    pub fn all() -> Self {
        Self { running: ALGORITHMS.into_iter().map(|(algorithm, ..)| Running::new(algorithm)).collect() }
    }

    /// A hasher for what a request's head says.
    #[must_use]
    pub fn for_request(request: &ChecksumRequest) -> Self {
        match request {
            ChecksumRequest::Given(expected) => Self::new(expected.algorithm),
            ChecksumRequest::Trailer => Self::all(),
        }
    }

    /// Takes the next bytes of the body.
    pub fn update(&mut self, bytes: &[u8]) {
        for running in &mut self.running {
            match running {
                Running::Sha1(hasher) => hasher.update(bytes),
                Running::Sha256(hasher) => hasher.update(bytes),
                Running::Sha512(hasher) => hasher.update(bytes),
                Running::Md5(hasher) => hasher.update(bytes),
                Running::Crc32(hasher) => hasher.update(bytes),
            }
        }
    }

    /// Compares the digest of all bytes with the expected one.
    ///
    /// # Errors
    /// [`Refusal::ChecksumMismatch`], also when the expected digest's algorithm wasn't computed.
    pub fn verify(self, expected: &Expected) -> Result<(), Refusal> {
        let mut digests = self.running.into_iter().map(Running::finish);
        let is_met = digests.any(|(algorithm, digest)| algorithm == expected.algorithm && digest == expected.digest);
        if is_met { Ok(()) } else { Err(Refusal::ChecksumMismatch) }
    }
}

impl Running {
    fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Sha1 => Self::Sha1(Sha1::new()),
            Algorithm::Sha256 => Self::Sha256(Sha256::new()),
            Algorithm::Sha512 => Self::Sha512(Sha512::new()),
            Algorithm::Md5 => Self::Md5(Md5::new()),
            Algorithm::Crc32 => Self::Crc32(crc32fast::Hasher::new()),
        }
    }

    fn finish(self) -> (Algorithm, Vec<u8>) {
        match self {
            Self::Sha1(hasher) => (Algorithm::Sha1, hasher.finalize().to_vec()),
            Self::Sha256(hasher) => (Algorithm::Sha256, hasher.finalize().to_vec()),
            Self::Sha512(hasher) => (Algorithm::Sha512, hasher.finalize().to_vec()),
            Self::Md5(hasher) => (Algorithm::Md5, hasher.finalize().to_vec()),
            Self::Crc32(hasher) => (Algorithm::Crc32, hasher.finalize().to_be_bytes().to_vec()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{
        Extensions,
        testing::{fields, rules},
    };

    /// The digests of "hello world".
    const HELLO: [&str; 5] = [
        "sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=",
        "sha256 uU0nuZNNPgilLlLX2n2r+sSE7+N6U4DukIj3rOLvzek=",
        "sha512 MJ7MSJwS1utMxA9QyQLytNDtd+5RGnx6m808qG1M2G+YndNbxf9JlnDaNCVbRbDP2DDoH2Bdz33FVC6TrpzXbw==",
        "md5 XrY7u+Ae7tCTyyK7j1rNww==",
        "crc32 DUoRhQ==",
    ];

    #[test]
    fn all_algorithms_are_announced_in_lower_case() {
        assert_eq!(algorithms_header(), "sha1,sha256,sha512,md5,crc32");
    }

    #[test]
    fn every_digest_is_computed_over_pieces() {
        for text in HELLO {
            let expected = parse_checksum(text.as_bytes()).unwrap();
            for mut hasher in [Hasher::new(expected.algorithm), Hasher::all()] {
                for piece in ["hel", "", "lo world"] {
                    hasher.update(piece.as_bytes());
                }
                assert_eq!(hasher.verify(&expected), Ok(()), "{text}");
            }
            for mut hasher in [Hasher::new(expected.algorithm), Hasher::all()] {
                hasher.update(b"hello world!");
                assert_eq!(hasher.verify(&expected), Err(Refusal::ChecksumMismatch), "{text}");
            }
        }
        let expected = parse_checksum(HELLO[0].as_bytes()).unwrap();
        assert_eq!(Hasher::new(Algorithm::Md5).verify(&expected), Err(Refusal::ChecksumMismatch));
    }

    #[test]
    fn what_is_no_digest_is_refused() {
        for text in [
            "",
            " ",
            "sha1",
            "sha1 ",
            " Kq5sNclPz7QV2+lfQIuc6R7oRu0=",
            "sha1  Kq5sNclPz7QV2+lfQIuc6R7oRu0=",
            "sha1\tKq5sNclPz7QV2+lfQIuc6R7oRu0=",
            "sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0= ",
            "SHA1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=",
            "sha-1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=",
            "sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0",
            "sha1 Kq5sNclPz7QV2-lfQIuc6R7oRu0=",
            "sha256 Kq5sNclPz7QV2+lfQIuc6R7oRu0=",
            "md5 5eb63bbbe01eeed093cb22bb8f5acdc3",
            "crc32 DUoRhQ==, md5 XrY7u+Ae7tCTyyK7j1rNww==",
        ] {
            assert_eq!(parse_checksum(text.as_bytes()), Err(Refusal::InvalidChecksum), "{text:?}");
        }
    }

    #[test]
    fn a_checksum_stands_in_the_head_or_is_announced() {
        let given = Some(ChecksumRequest::Given(parse_checksum(HELLO[4].as_bytes()).unwrap()));
        let trailer = Some(ChecksumRequest::Trailer);
        for (lines, expected) in [
            (vec![], Ok(None)),
            (vec![("upload-checksum", HELLO[4])], Ok(given.clone())),
            (vec![("trailer", "X-Other, UPLOAD-checksum ")], Ok(trailer.clone())),
            (vec![("trailer", "X-Other"), ("trailer", "Upload-Checksum")], Ok(trailer)),
            (vec![("trailer", "Upload-Checksum-Not")], Ok(None)),
            (vec![("upload-checksum", HELLO[4]), ("trailer", "Upload-Checksum")], Ok(given)),
            (vec![("upload-checksum", HELLO[4]), ("upload-checksum", HELLO[4])], Err(Refusal::InvalidChecksum)),
            (vec![("upload-checksum", "")], Err(Refusal::InvalidChecksum)),
        ] {
            assert_eq!(requested(&fields(&lines), &rules()), expected, "{lines:?}");
        }
    }

    #[test]
    fn an_extension_that_is_off_is_not_heard() {
        let (checksum, trailer) = (fields(&[("upload-checksum", "x")]), fields(&[("trailer", "Upload-Checksum")]));
        let off = |checksum, checksum_trailer| Rules {
            extensions: Extensions { checksum, checksum_trailer, ..Extensions::all() },
            ..rules()
        };
        assert_eq!(requested(&checksum, &off(false, true)), Ok(None));
        assert_eq!(requested(&trailer, &off(false, true)), Ok(None));
        assert_eq!(requested(&trailer, &off(true, false)), Ok(None));
    }

    proptest::proptest! {
        #[test]
        fn no_checksum_panics(value: Vec<u8>, digest: Vec<u8>) {
            let _ = parse_checksum(&value);
            for (_, name, length) in ALGORITHMS {
                let text = format!("{name} {}", STANDARD.encode(&digest));
                proptest::prop_assert_eq!(parse_checksum(text.as_bytes()).is_ok(), digest.len() == length);
            }
        }

        #[test]
        fn an_accepted_checksum_is_the_one_that_was_written(digest: [u8; 20]) {
            let text = format!("sha1 {}", STANDARD.encode(digest));
            let expected = Expected { algorithm: Algorithm::Sha1, digest: digest.to_vec() };
            proptest::prop_assert_eq!(parse_checksum(text.as_bytes()), Ok(expected));
        }

        #[test]
        fn pieces_don_t_change_a_digest(body: Vec<u8>, cut: proptest::sample::Index) {
            let cut = cut.index(body.len() + 1);
            for (algorithm, ..) in ALGORITHMS {
                let mut whole = Running::new(algorithm);
                let mut hasher = Hasher { running: vec![whole] };
                hasher.update(&body);
                whole = hasher.running.remove(0);
                let expected = Expected { algorithm, digest: whole.finish().1 };
                let mut pieces = Hasher::all();
                pieces.update(&body[..cut]);
                pieces.update(&body[cut..]);
                proptest::prop_assert_eq!(pieces.verify(&expected), Ok(()));
            }
        }
    }
}
