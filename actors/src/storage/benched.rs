//! What benches/ measures by itself of the stores: `.info`, written and read. In builds for benches only.

use super::info_json::{self, Places};
use crate::{Info, UploadId};

/// The document of an upload on disk.
///
/// # Panics
/// When it can't be written, which is not what a bench is about.
#[must_use]
pub fn encode(info: &Info, path: &str, info_path: &str) -> Vec<u8> {
    info_json::encode(info, &Places::file(path, info_path)).expect("an .info that can be written")
}

/// The upload of a document.
///
/// # Panics
/// When it can't be read, which is not what a bench is about.
#[must_use]
pub fn decode(json: &[u8], id: &UploadId) -> Info {
    info_json::decode(json, id).expect("an .info that can be read")
}
