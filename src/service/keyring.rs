//! The keys of tokens: from the files that the settings name, at the start and whenever settings are read, and from the URL.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use slog::{Logger, error};
use tokio::sync::watch;

use crate::{
    auth::{Auth, Jwt, KeySet, Often, Remote, Rules, Secrets},
    reload::Contents,
    settings::{self, Mistakes, Settings},
};

/// What files with keys held when they were read, and what was made of it.
#[derive(Default, Clone)]
struct Current {
    material: Vec<(&'static str, PathBuf, Vec<u8>)>,
    keys: KeySet,
}

/// All keys of tokens, to be renewed while tokens are checked.
#[derive(Clone)]
pub(super) struct Keyring {
    current: Arc<watch::Sender<Current>>,
    remote: Arc<watch::Sender<Option<Remote>>>,
}

/// Makes keys of what a file holds.
type Make = fn(&[u8]) -> Result<KeySet, String>;

impl Current {
    fn read(settings: &Settings) -> Result<Self, Mistakes> {
        let Some(jwt) = &settings.auth.jwt else { return Ok(Self::default()) };
        let of_jwks: Make = |json| KeySet::of_jwks(json, Secrets::Taken);
        let named: [(&str, &Option<PathBuf>, Make); 3] = [
            ("auth.jwt.secret_file", &jwt.secret_file, KeySet::of_secret),
            ("auth.jwt.public_key_file", &jwt.public_key_file, KeySet::of_pem),
            ("auth.jwt.jwks_file", &jwt.jwks_file, of_jwks),
        ];
        let (mut current, mut mistakes) = (Self::default(), Mistakes::new());
        for (key, path, make) in named {
            let Some(path) = path else { continue };
            match read(path, make) {
                Ok((bytes, keys)) => {
                    current.keys = current.keys.and(&keys);
                    current.material.push((key, path.clone(), bytes));
                }
                Err(mistake) => mistakes.push((key.to_owned(), mistake)),
            }
        }
        if mistakes.is_empty() { Ok(current) } else { Err(mistakes) }
    }
}

fn read(path: &Path, make: Make) -> Result<(Vec<u8>, KeySet), String> {
    let bytes = fs::read(path).map_err(|error| format!("{} can't be read: {error}", path.display()))?;
    let keys = make(&bytes).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok((bytes, keys))
}

impl Keyring {
    /// Reads the files.
    ///
    /// # Errors
    /// With the keys that name files that can't be used.
    pub(super) fn load(settings: &Settings) -> Result<Self, Mistakes> {
        let current = Current::read(settings)?;
        Ok(Self { current: Arc::new(watch::Sender::new(current)), remote: Arc::new(watch::Sender::new(None)) })
    }

    /// Reads the files again, or others. Nothing changes yet.
    ///
    /// # Errors
    /// With the keys that name files that can't be used.
    pub(super) fn read(&self, settings: &Settings) -> Result<Contents, Mistakes> {
        let fresh = Current::read(settings)?;
        let changed = {
            let current = self.current.borrow();
            let is_new = fresh.material.iter().filter(|one| !current.material.contains(one));
            is_new.map(|(key, _, _)| (*key).to_owned()).collect()
        };
        let current = Arc::clone(&self.current);
        Ok(Contents { changed, adopt: Box::new(move || drop(current.send_replace(fresh))) })
    }

    /// What is asked of requests, with the keys as they are now. Keys at a URL that is set already go on being fetched. Must
    /// be called within an actix system.
    pub(super) fn auth(&self, settings: &settings::Auth, logger: &Logger) -> Auth {
        let jwt = settings.jwt.as_ref().map(|jwt| Jwt {
            rules: rules(jwt, settings.unowned),
            keys: self.current.borrow().keys.clone(),
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
