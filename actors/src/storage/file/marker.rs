//! The names of markers: upload ids in hexadecimal, so that an id with slashes is one name, or several when it would
//! be too long for one.

use crate::UploadId;

/// The longest name of one path segment. A segment that goes on in the next one ends with `+`.
const SEGMENT: usize = 200;

/// The directory that holds one marker per final upload that waits for its partial ones.
pub(super) const FINALS: &str = ".wharf/finals";

/// The directory that holds one marker per upload with tentative bytes.
pub(super) const STAGED: &str = ".wharf/staged";

/// The marker of tentative bytes.
pub(super) fn staged(id: &UploadId) -> String {
    format!("{STAGED}/{}", name(id))
}

/// The marker of a final upload that waits.
pub(super) fn waiting(id: &UploadId) -> String {
    format!("{FINALS}/{}", name(id))
}

fn name(id: &UploadId) -> String {
    let mut name = String::new();
    let bytes = id.as_str().as_bytes();
    for (place, chunk) in bytes.chunks(SEGMENT / 2).enumerate() {
        if place > 0 {
            name.push_str("+/");
        }
        for byte in chunk {
            for digit in [byte >> 4, byte & 15] {
                name.push(char::from(b"0123456789abcdef"[usize::from(digit)]));
            }
        }
    }
    name
}

/// The id that a marker names; `path` is relative to the directory of its kind.
pub(super) fn id(path: &str) -> Option<UploadId> {
    let digits: Vec<u8> = path
        .replace("+/", "")
        .bytes()
        .map(|digit| char::from(digit).to_digit(16))
        .collect::<Option<Vec<_>>>()?
        .into_iter()
        .filter_map(|digit| u8::try_from(digit).ok())
        .collect();
    let (pairs, []) = digits.as_chunks::<2>() else { return None };
    let bytes: Vec<u8> = pairs.iter().map(|[high, low]| high << 4 | low).collect();
    UploadId::parse(&String::from_utf8(bytes).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_any_length_lead_back_to_their_id() {
        for text in ["a", "a/b/ü", &"x".repeat(100), &"y".repeat(101), &format!("{0}/{0}/{0}/{0}", "z".repeat(240))] {
            let id = UploadId::parse(text).unwrap();
            let name = name(&id);
            assert!(name.split('/').all(|segment| segment.len() <= SEGMENT + 1), "{name}");
            assert_eq!(super::id(&name), Some(id));
        }
        for text in ["", "6", "zz", "2f", "61/62"] {
            assert_eq!(super::id(text), None, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn every_id_has_a_marker_that_names_it_alone(
            one in "[a-z +/.%ü]{1,300}", other in "[a-z +/.%ü]{1,300}",
        ) {
            let ids = [one, other].map(|text| UploadId::parse(&text).ok());
            for id in ids.iter().flatten() {
                let name = name(id);
                proptest::prop_assert!(name.split('/').all(|segment| (1..=SEGMENT + 1).contains(&segment.len())));
                proptest::prop_assert!(name.bytes().all(|byte| byte.is_ascii_hexdigit() || b"+/".contains(&byte)));
                proptest::prop_assert_eq!(super::id(&name), Some(id.clone()));
            }
            if let [Some(one), Some(other)] = &ids {
                proptest::prop_assert_eq!(one == other, staged(one) == staged(other));
            }
        }

        /// The directory may hold anything; what names an id is one that may be.
        #[test]
        fn no_name_of_a_marker_panics(hex in "[0-9a-fA-F+/]{0,40}", any: String) {
            for name in [hex, any] {
                if let Some(id) = super::id(&name) {
                    proptest::prop_assert_eq!(UploadId::parse(id.as_str()), Ok(id.clone()));
                }
            }
        }
    }
}
