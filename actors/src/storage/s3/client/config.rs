//! What all clients of S3 are told, and how long they wait.

use std::{fmt, time::Duration};

/// Where services that know no regions expect to be.
pub(super) const DEFAULT_REGION: &str = "us-east-1";

/// Which bucket, where, and how it is talked to.
#[derive(Debug, Clone)]
pub struct Config {
    /// The bucket.
    pub bucket: String,
    /// The region that requests are signed for; else that of the environment, the profile or the machine, else
    /// `us-east-1`.
    pub region: Option<String>,
    /// The service's URL; else AWS, or what the environment names.
    pub endpoint: Option<String>,
    /// Names the bucket in the path instead of the host.
    pub path_style: bool,
    /// Keys to use instead of those from the environment, the profile, a web identity, the container or the machine.
    pub keys: Option<Keys>,
    /// Signs the SHA-256 of what is put. Over TLS that costs much and proves little; without TLS it is what keeps bytes
    /// from being changed on the way.
    pub payload_hash: bool,
    /// Sends the MD5 of what is put, for the service to check.
    pub part_checksum: bool,
    /// How long a connection may take.
    pub connect_timeout: Duration,
    /// How long a request may take, or the next bytes of an object, beside the time that its own bytes need.
    pub attempt_timeout: Duration,
    /// What a request that carries bytes is given time for.
    pub slowest_bytes_per_second: u64,
}

/// An access key.
#[derive(Clone)]
pub struct Keys {
    /// Its id.
    pub id: String,
    /// Its secret.
    pub secret: String,
}

impl fmt::Debug for Keys {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Keys").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Config {
    /// How long a request with a body of `length` bytes may take.
    pub(super) fn patience(&self, length: u64) -> Duration {
        let sending = Duration::from_secs(length / self.slowest_bytes_per_second.max(1));
        self.attempt_timeout.saturating_add(sending)
    }
}
