//! The keys of tokens: from the files that the settings name, at the start and whenever settings are read, and from the URL.

use std::sync::Arc;

use slog::{Logger, error};
use tokio::sync::watch;

use crate::{
    auth::{Auth, FileKeys, Jwt, KeyFiles, Kind, Often, Remote, Rules},
    reload::Contents,
    settings::{self, Mistakes, Settings},
};

/// All keys of tokens, to be renewed while tokens are checked.
#[derive(Clone)]
pub(super) struct Keyring {
    files: Arc<watch::Sender<FileKeys>>,
    remote: Arc<watch::Sender<Option<Remote>>>,
}

fn read(settings: &Settings) -> Result<FileKeys, Mistakes> {
    let files = settings.auth.jwt.as_ref().map_or_else(KeyFiles::default, |jwt| KeyFiles {
        secret: jwt.secret_file.clone(),
        public_key: jwt.public_key_file.clone(),
        jwks: jwt.jwks_file.clone(),
    });
    FileKeys::read(&files).map_err(|wrong| wrong.into_iter().map(|(kind, what)| (key_of(kind), what)).collect())
}

/// The setting that names a file of this kind.
fn key_of(kind: Kind) -> String {
    let name = match kind {
        Kind::Secret => "secret_file",
        Kind::PublicKey => "public_key_file",
        Kind::Jwks => "jwks_file",
    };
    format!("auth.jwt.{name}")
}

impl Keyring {
    /// Reads the files.
    ///
    /// # Errors
    /// With the keys that name files that can't be used.
    pub(super) fn load(settings: &Settings) -> Result<Self, Mistakes> {
        let files = read(settings)?;
        Ok(Self { files: Arc::new(watch::Sender::new(files)), remote: Arc::new(watch::Sender::new(None)) })
    }

    /// Reads the files again, or others. Nothing changes yet.
    ///
    /// # Errors
    /// With the keys that name files that can't be used.
    pub(super) fn read(&self, settings: &Settings) -> Result<Contents, Mistakes> {
        let fresh = read(settings)?;
        let changed = fresh.news(&self.files.borrow()).into_iter().map(key_of).collect();
        let files = Arc::clone(&self.files);
        Ok(Contents { changed, adopt: Box::new(move || drop(files.send_replace(fresh))) })
    }

    /// What is asked of requests, with the keys as they are now. Keys at a URL that is set already go on being fetched. Must
    /// be called within an actix system.
    pub(super) fn auth(&self, settings: &settings::Auth, logger: &Logger) -> Auth {
        let jwt = settings.jwt.as_ref().map(|jwt| Jwt {
            rules: rules(jwt, settings.unowned),
            keys: self.files.borrow().keys(),
            remote: self.remote(jwt, logger),
        });
        if jwt.is_none() {
            self.remote.send_replace(None);
        }
        Auth::new(settings.token.as_ref().map(settings::Secret::reveal), jwt)
    }

    fn remote(&self, jwt: &settings::Jwt, logger: &Logger) -> Option<Remote> {
        let url = jwt.jwks_url.as_ref().and_then(|url| match url.parse() {
            Ok(url) => Some(url),
            Err(wrong) => {
                error!(logger, "keys can't be fetched"; "url" => url, "error" => %wrong);
                None
            }
        });
        let often = Often { every: jwt.jwks_refresh, pause: jwt.jwks_pause };
        let known = self.remote.borrow().clone().filter(|known| Some(known.url()) == url.as_ref());
        let remote = known.or_else(|| url.map(|url| Remote::start(url, often, logger.clone())));
        remote.iter().for_each(|remote| remote.set(often));
        self.remote.send_replace(remote.clone());
        remote
    }
}

fn rules(jwt: &settings::Jwt, unowned: bool) -> Rules {
    Rules {
        issuers: jwt.issuer.clone(),
        audiences: jwt.audience.clone(),
        claims: jwt.required_claims.clone(),
        subject: jwt.subject_claim.clone(),
        superuser: jwt.superuser_claim.clone(),
        leeway_secs: jwt.leeway.as_secs(),
        max_bytes: jwt.token_max_bytes,
        unowned,
    }
}
