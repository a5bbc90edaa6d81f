//! Signatures of posted events. How they are checked stands with the transport.

use std::time::{SystemTime, UNIX_EPOCH};

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::hooks::SetupError;

/// Signs events.
pub(super) struct Signer {
    keyed: Hmac<Sha256>,
}

impl Signer {
    /// With a key. An empty one would be known to everybody.
    pub(super) fn new(key: &[u8]) -> Result<Self, SetupError> {
        let wrong = |problem: &str| SetupError::new("signing_key", problem);
        if key.is_empty() {
            return Err(wrong("is empty"));
        }
        Ok(Self { keyed: Hmac::new_from_slice(key).map_err(|_| wrong("can't be used"))? })
    }

    /// The value of `X-Wharf-Signature`.
    pub(super) fn sign(&self, event_id: &str, timestamp: u64, body: &[u8]) -> String {
        let mut mac = self.keyed.clone();
        for part in [event_id.as_bytes(), b".", timestamp.to_string().as_bytes(), b".", body] {
            mac.update(part);
        }
        let digits = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        format!("sha256={digits}")
    }
}

/// Seconds since 1970.
pub(super) fn now_secs() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_that_of_other_programs() {
        // printf '%s' 'e1.1700000000.{"Type":"post-finish"}' | openssl dgst -sha256 -hmac 'open sesame'
        let signature = Signer::new(b"open sesame").unwrap().sign("e1", 1_700_000_000, b"{\"Type\":\"post-finish\"}");
        assert_eq!(signature, "sha256=727a195ca913f01359c90cf3f8ec486f25db772e154c492eb2bd9519ea4443f2");
    }

    #[test]
    fn an_empty_key_is_none() {
        assert_eq!(Signer::new(b"").map(|_| ()).unwrap_err().field, "signing_key");
    }

    #[test]
    fn all_parts_are_signed() {
        let signer = Signer::new(b"k").unwrap();
        let one = signer.sign("e", 1, b"x");
        assert_eq!(signer.sign("e", 1, b"x"), one);
        let others = [
            signer.sign("f", 1, b"x"),
            signer.sign("e", 2, b"x"),
            signer.sign("e", 1, b"y"),
            Signer::new(b"l").unwrap().sign("e", 1, b"x"),
        ];
        assert!(others.iter().all(|other| *other != one));
    }
}
