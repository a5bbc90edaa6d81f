//! Who is let in, and what and how much is taken of them: sections of their own.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use super::Secret;

/// `[auth]`
#[derive(Debug, Clone)]
pub struct Auth {
    /// What must be shown; `None` for nothing.
    pub token: Option<Secret>,
    /// Whether uploads of nobody's are everybody's.
    pub unowned: bool,
    /// Signed tokens; `None` where there are no keys.
    pub jwt: Option<Jwt>,
}

/// `[auth.jwt]`
#[derive(Debug, Clone)]
pub struct Jwt {
    /// The file with a secret.
    pub secret_file: Option<PathBuf>,
    /// The file with public keys.
    pub public_key_file: Option<PathBuf>,
    /// The file with a set of keys.
    pub jwks_file: Option<PathBuf>,
    /// The URL of a set of keys.
    pub jwks_url: Option<String>,
    /// How often it is fetched.
    pub jwks_refresh: Duration,
    /// How often at most, when tokens ask for it.
    pub jwks_pause: Duration,
    /// Who must have issued a token.
    pub issuer: Vec<String>,
    /// Whom it must be meant for.
    pub audience: Vec<String>,
    /// Claims and their values.
    pub required_claims: Vec<(String, String)>,
    /// The claim that says whose it is.
    pub subject_claim: String,
    /// The claim of those who may use all uploads.
    pub superuser_claim: Option<(String, String)>,
    /// How far clocks may be apart.
    pub leeway: Duration,
    /// The longest token.
    pub token_max_bytes: usize,
}

impl Jwt {
    /// Every file that it names.
    pub(super) fn files(&self) -> impl Iterator<Item = &Path> {
        [&self.secret_file, &self.public_key_file, &self.jwks_file].into_iter().flatten().map(PathBuf::as_path)
    }
}

/// `[checks]`
#[derive(Debug, Clone)]
pub struct Checks {
    /// Keys that must be there.
    pub required_metadata: Vec<String>,
    /// Types, or kinds of them.
    pub allowed_types: Vec<String>,
    /// Endings of names, in small letters and without the dot.
    pub allowed_extensions: Vec<String>,
    /// The most bytes by type.
    pub max_size_by_type: Vec<(String, u64)>,
}

/// `[limits]`, where 0 is no limit.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Unfinished uploads of one owner.
    pub open_per_owner: u32,
    /// Unfinished uploads from one address.
    pub open_per_address: u32,
    /// New uploads of one owner in a minute.
    pub creations_per_minute_per_owner: u32,
    /// New uploads from one address in a minute.
    pub creations_per_minute_per_address: u32,
    /// Bytes of one upload in a second.
    pub bytes_per_sec_per_upload: u64,
    /// Bytes in a second.
    pub bytes_per_sec_in_all: u64,
}
