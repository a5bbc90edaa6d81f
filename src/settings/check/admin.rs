//! The checks of `[admin]`.

use std::{net::SocketAddr, time::Duration};

use super::{
    super::{
        Admin, Settings,
        values::{Secret, is_host_name},
    },
    Reader,
};

/// A shorter token could be guessed.
const TOKEN_MIN: usize = 16;
const TOKEN_MAX: usize = 1024;

pub(super) fn admin(reader: &mut Reader<'_>) -> Admin {
    let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
    let bind = reader.parsed("admin.bind", nowhere, |text| {
        text.parse().map_err(|_| "must be an address and a port, such as 127.0.0.1:8081 or [::1]:8081".to_owned())
    });
    let token = reader.parsed("admin.token", None, |text| match text {
        "" => Ok(None),
        _ if (TOKEN_MIN..=TOKEN_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()) => {
            Ok(Some(Secret::new(text)))
        }
        _ => Err(format!("must be {TOKEN_MIN} to {TOKEN_MAX} letters, digits and signs of ASCII, without spaces")),
    });
    let hosts = reader.texts("admin.hosts");
    for wrong in hosts.iter().filter(|host| !is_host_name(host)) {
        reader.refuse("admin.hosts", format!("must be names of hosts or addresses, without ports; {wrong:?} is none"));
    }
    Admin {
        enabled: reader.switch("admin.enabled"),
        bind,
        token,
        hosts: hosts.iter().map(|host| host.to_ascii_lowercase()).collect(),
        mailbox_slow: Duration::from_millis(reader.whole("admin.mailbox_slow_ms", 1..=600_000).unsigned_abs()),
    }
}

pub(super) fn relations(settings: &Settings, reader: &mut Reader<'_>) {
    let Settings { admin, server, .. } = settings;
    reader.relate(
        &["admin.bind", "admin.token"],
        !admin.enabled || admin.bind.ip().is_loopback() || admin.token.is_some(),
        "admin.token must be set when admin.bind is not a loopback address: whoever reaches it could delete uploads",
    );
    reader.relate(
        &["admin.bind", "server.bind"],
        !admin.enabled || admin.bind.port() == 0 || admin.bind != server.bind,
        "admin.bind must not be server.bind: what operators see is not for everybody",
    );
}
