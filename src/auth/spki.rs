//! Public keys as PEM files have them (RFC 5280, SubjectPublicKeyInfo), as far as two kinds of keys need it.

use rustls::pki_types::{SubjectPublicKeyInfoDer, alg_id, pem::PemObject};

/// A public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum PublicKey {
    Rsa {
        modulus: Vec<u8>,
        exponent: Vec<u8>,
    },
    /// A point of P-256, not compressed.
    P256(Vec<u8>),
}

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;

/// Every public key in a PEM file.
pub(super) fn read_all(pem: &[u8]) -> Result<Vec<PublicKey>, String> {
    let mut keys = Vec::new();
    for der in SubjectPublicKeyInfoDer::pem_slice_iter(pem) {
        let number = keys.len() + 1;
        let der = der.map_err(|error| format!("public key {number}: {error}"))?;
        let key = read(&der).ok_or_else(|| format!("public key {number}: neither RSA nor ECDSA on P-256"))?;
        keys.push(key);
    }
    if keys.is_empty() {
        return Err("there is no public key in it (PEM with BEGIN PUBLIC KEY)".to_owned());
    }
    Ok(keys)
}

fn read(der: &[u8]) -> Option<PublicKey> {
    let (info, []) = element(SEQUENCE, der)? else { return None };
    let (algorithm, rest) = element(SEQUENCE, info)?;
    let (bits, []) = element(BIT_STRING, rest)? else { return None };
    // Whole bytes: none of the bits of the last one are unused.
    let (0, key) = bits.split_first().map(|(unused, key)| (*unused, key))? else { return None };
    if algorithm == alg_id::RSA_ENCRYPTION.as_ref() {
        let (numbers, []) = element(SEQUENCE, key)? else { return None };
        let (modulus, rest) = element(INTEGER, numbers)?;
        let (exponent, []) = element(INTEGER, rest)? else { return None };
        Some(PublicKey::Rsa { modulus: unsigned(modulus), exponent: unsigned(exponent) })
    } else if algorithm == alg_id::ECDSA_P256.as_ref() {
        Some(PublicKey::P256(key.to_vec()))
    } else {
        None
    }
}

/// The content of the element that begins here, and what is behind it.
fn element(tag: u8, der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (first, rest) = der.split_first().filter(|(first, _)| **first == tag)?;
    debug_assert_eq!(*first, tag);
    let (length, rest) = rest.split_first()?;
    let (length, rest) = match usize::from(*length) {
        short @ 0..=0x7f => (short, rest),
        long @ (0x81 | 0x82) => {
            let (bytes, rest) = rest.split_at_checked(long - 0x80)?;
            (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}

/// Without the zero that keeps a number from being taken for a negative one.
fn unsigned(number: &[u8]) -> Vec<u8> {
    number.strip_prefix(&[0]).unwrap_or(number).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::keys::tests::{EC_PEM, RSA_PEM};

    #[test]
    fn keys_are_read_and_broken_ones_refused() {
        let [rsa, ec] = [RSA_PEM, EC_PEM].map(|pem| read_all(pem.as_bytes()).unwrap().remove(0));
        assert!(matches!(&rsa, PublicKey::Rsa { modulus, exponent } if modulus.len() == 256 && *exponent == [1, 0, 1]));
        assert!(matches!(&ec, PublicKey::P256(point) if point.len() == 65 && point[0] == 4));
        assert_eq!(read_all([RSA_PEM, EC_PEM].concat().as_bytes()).unwrap(), [rsa, ec]);
        for wrong in ["", "no pem", "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"] {
            assert!(read_all(wrong.as_bytes()).unwrap_err().contains("no public key"), "{wrong:?}");
        }
        for wrong in ["MAA=", "MAAA", "AAAA", ""] {
            let pem = format!("-----BEGIN PUBLIC KEY-----\n{wrong}\n-----END PUBLIC KEY-----\n");
            assert!(read_all(pem.as_bytes()).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn every_cut_and_every_flip_of_a_key_is_read_without_harm() {
        for pem in [RSA_PEM, EC_PEM] {
            let der = SubjectPublicKeyInfoDer::from_pem_slice(pem.as_bytes()).unwrap();
            for end in 0..der.len() {
                assert_eq!(read(&der[..end]), None);
            }
            for place in 0..der.len() {
                let mut flipped = der.to_vec();
                flipped[place] ^= 0xff;
                // It is refused, or another key; it may not panic.
                assert!(read(&flipped) != read(&der), "{place}");
            }
        }
    }
}
