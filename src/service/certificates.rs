//! The certificates of both listeners: from the files that the settings name, at the start and whenever settings are read.

use crate::{
    reload::Contents,
    server::{TlsError, TlsFiles, TlsHandle},
    settings::{Mistakes, Settings, Tls, TlsVersion},
};

const SERVER: &str = "server.tls";
const ADMIN: &str = "admin.tls";

/// What each listener shows, if it speaks TLS.
#[derive(Clone)]
pub(super) struct Certificates {
    pub(super) server: Option<TlsHandle>,
    pub(super) admin: Option<TlsHandle>,
}

impl Certificates {
    /// Reads the files.
    ///
    /// # Errors
    /// With the keys that name files that can't be used.
    pub(super) fn load(settings: &Settings) -> Result<Self, Mistakes> {
        let load = |section, tls: Option<&Tls>| {
            let load = |tls: &Tls| TlsHandle::load(files(tls)).map_err(|error| mistake(section, tls, &error));
            tls.map(load).transpose()
        };
        both(load(SERVER, settings.server.tls.as_ref()), load(ADMIN, of_admin(settings)))
            .map(|(server, admin)| Self { server, admin })
    }

    /// Reads the files again, or others: whether a listener speaks TLS at all stays as it was.
    ///
    /// # Errors
    /// With the keys that name files that can't be used.
    pub(super) fn read(&self, settings: &Settings) -> Result<Contents, Mistakes> {
        let read = |section, handle: Option<&TlsHandle>, tls: Option<&Tls>| match handle.zip(tls) {
            Some((handle, tls)) => handle.read(files(tls)).map_err(|error| mistake(section, tls, &error)),
            None => Ok(None),
        };
        let server = read(SERVER, self.server.as_ref(), settings.server.tls.as_ref());
        let admin = read(ADMIN, self.admin.as_ref(), of_admin(settings));
        let (server, admin) = both(server, admin)?;
        let sections = [(SERVER, server.is_some()), (ADMIN, admin.is_some())].into_iter();
        let changed = sections.filter(|(_, is_new)| *is_new).map(|(section, _)| format!("{section}.certificate"));
        let (changed, handles) = (changed.collect(), self.clone());
        let adopt = Box::new(move || {
            for (handle, fresh) in [(handles.server, server), (handles.admin, admin)] {
                if let Some((handle, fresh)) = handle.zip(fresh) {
                    handle.renew(fresh);
                }
            }
        });
        Ok(Contents { changed, adopt })
    }
}

/// Both, or all that is wrong.
fn both<T>(one: Result<T, (String, String)>, other: Result<T, (String, String)>) -> Result<(T, T), Mistakes> {
    match (one, other) {
        (Ok(one), Ok(other)) => Ok((one, other)),
        (one, other) => Err(one.err().into_iter().chain(other.err()).collect()),
    }
}

fn of_admin(settings: &Settings) -> Option<&Tls> {
    settings.admin.tls.as_ref().filter(|_| settings.admin.enabled)
}

fn files(tls: &Tls) -> TlsFiles {
    TlsFiles {
        certificate: tls.certificate.clone(),
        key: tls.key.clone(),
        only_1_3: tls.min_version == TlsVersion::V1_3,
        client_ca: tls.client_ca.clone(),
    }
}

/// The key that names the file, and what is wrong with it.
fn mistake(section: &str, tls: &Tls, error: &TlsError) -> (String, String) {
    let name = match error.path() {
        Some(path) if path == tls.certificate => "certificate",
        Some(path) if Some(path) == tls.client_ca.as_deref() => "client_ca",
        Some(_) => "key",
        None => "certificate",
    };
    (format!("{section}.{name}"), error.chain())
}
