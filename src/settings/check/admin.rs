//! The checks of `[admin]`.

use std::time::Duration;

use super::{
    super::{
        Admin, Bind, Settings,
        values::{Secret, is_host_name},
    },
    Reader, server,
};

/// A shorter token could be guessed.
const TOKEN_MIN: usize = 16;
const TOKEN_MAX: usize = 1024;

pub(super) fn admin(reader: &mut Reader<'_>) -> Admin {
    let bind = server::bind(reader, "admin.bind");
    let token = token(reader, "admin.token");
    let hosts = reader.texts("admin.hosts");
    for wrong in hosts.iter().filter(|host| !is_host_name(host)) {
        reader.refuse("admin.hosts", format!("must be names of hosts or addresses, without ports; {wrong:?} is none"));
    }
    Admin {
        enabled: reader.switch("admin.enabled"),
        bind,
        unix_mode: reader.mode("admin.unix_mode", 0o600),
        tls: server::tls(reader, "admin.tls"),
        token,
        hosts: hosts.iter().map(|host| host.to_ascii_lowercase()).collect(),
        mailbox_slow: Duration::from_millis(reader.whole("admin.mailbox_slow_ms", 1..=600_000).unsigned_abs()),
    }
}

/// A token that must be shown, if one is set.
pub(super) fn token(reader: &mut Reader<'_>, key: &str) -> Option<Secret> {
    reader.parsed(key, None, |text| match text {
        "" => Ok(None),
        _ if (TOKEN_MIN..=TOKEN_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()) => {
            Ok(Some(Secret::new(text)))
        }
        _ => Err(format!("must be {TOKEN_MIN} to {TOKEN_MAX} letters, digits and signs of ASCII, without spaces")),
    })
}

pub(super) fn relations(settings: &Settings, reader: &mut Reader<'_>) {
    let Settings { admin, server, .. } = settings;
    let asks_for_certificates = admin.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
    reader.relate(
        &["admin.bind", "admin.token", "admin.tls.client_ca"],
        !admin.enabled || admin.bind.is_local() || admin.token.is_some() || asks_for_certificates,
        "admin.token or admin.tls.client_ca must be set when admin.bind is neither a loopback address nor a Unix socket: \
         whoever reaches it could delete uploads",
    );
    let takes_any_port = matches!(&admin.bind, Bind::Address(address) if address.port() == 0);
    reader.relate(
        &["admin.bind", "server.bind"],
        !admin.enabled || takes_any_port || admin.bind != server.bind,
        "admin.bind must not be server.bind: what operators see is not for everybody",
    );
}
