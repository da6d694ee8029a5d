//! An authority of the emulator's own, and a certificate by it, for clients that reach the emulator by TLS.

use std::io::{self, Write as _};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod,
    KeyUsagePurpose, PublicKeyData, SerialNumber, SignatureAlgorithm, SigningKey,
};
use ring::rand::{SecureRandom as _, SystemRandom};
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};

/// Only its owner may read a secret; anybody may read a certificate.
const PRIVATE: u32 = 0o600;
const PUBLIC: u32 = 0o644;

/// Certificate and key for https, PEM.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// Certificate chain.
    pub cert: PathBuf,
    /// Private key.
    pub key: PathBuf,
    /// Port; 0: a free one.
    pub port: u16,
    /// The name or address by which clients reach it: credentials then name the https address, which is what
    /// clients on other hosts insist on.
    pub name: Option<String>,
}

impl TlsFiles {
    /// Makes an authority and a server certificate for these host names and addresses, and writes both to a directory.
    /// What clients have to trust is in [`authority`](Self::authority). The port is a free one.
    ///
    /// # Errors
    /// A name that cannot be in a certificate, or a directory that cannot be written to.
    pub fn make(directory: &Path, names: &[String]) -> io::Result<Self> {
        Self::write(directory, names, Life::Long)
    }

    /// The same with a server certificate that has been over for years.
    ///
    /// # Errors
    /// As for [`make`](Self::make).
    pub fn make_expired(directory: &Path, names: &[String]) -> io::Result<Self> {
        Self::write(directory, names, Life::Over)
    }

    fn write(directory: &Path, names: &[String], life: Life) -> io::Result<Self> {
        let made = try_make(names, life).map_err(|error| {
            io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("no certificate for {}: {error}", names.join(", ")),
            )
        })?;
        std::fs::create_dir_all(directory).map_err(|error| {
            io::Error::new(error.kind(), format!("cannot make {}: {error}", directory.display()))
        })?;
        let cert = directory.join("server.pem");
        let key = directory.join("server.key");
        write(&Self::authority(directory), &made.authority, PUBLIC)?;
        write(&cert, &made.certificate, PUBLIC)?;
        write(&key, &made.key, PRIVATE)?;
        Ok(Self { cert, key, port: 0, name: names.first().cloned() })
    }

    /// Where [`make`](Self::make) writes the certificate of the authority.
    pub fn authority(directory: &Path) -> PathBuf {
        directory.join("authority.pem")
    }
}

/// Writes a file that holds a secret: a new one, also where an older one had another mode.
///
/// # Errors
/// The file cannot be written.
pub fn write_private(path: &Path, text: &str) -> io::Result<()> {
    write(path, text, PRIVATE)
}

fn write(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let removed = match std::fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    };
    let create = || std::fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    removed
        .and_then(|()| create()?.write_all(text.as_bytes()))
        .map_err(|error| io::Error::new(error.kind(), format!("cannot write {}: {error}", path.display())))
}

/// The names under which an emulator that listens on `host` is reached, if nobody says others.
pub fn names_of(host: IpAddr) -> Vec<String> {
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    if !host.is_unspecified() && !host.is_loopback() {
        names.insert(0, host.to_string());
    }
    names
}

/// PEM texts.
struct Made {
    /// What clients have to trust.
    authority: String,
    certificate: String,
    key: String,
}

/// How long a server certificate holds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Life {
    Long,
    Over,
}

/// The authority's key is dropped.
fn try_make(names: &[String], life: Life) -> Result<Made, rcgen::Error> {
    let authority_key = Key::generate()?;
    let mut authority = parameters(Vec::new(), "Drive emulator's authority", &authority_key)?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let authority_certificate = authority.self_signed(&authority_key)?;
    let key = Key::generate()?;
    let mut server = parameters(names, "Drive emulator", &key)?;
    if life == Life::Over {
        server.not_before = rcgen::date_time_ymd(2020, 1, 1);
        server.not_after = rcgen::date_time_ymd(2021, 1, 1);
    }
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    // Python's strict checks refuse a certificate that does not name its issuer's key.
    server.use_authority_key_identifier_extension = true;
    let certificate = server.signed_by(&key, &Issuer::new(authority, authority_key))?;
    Ok(Made {
        authority: pem("CERTIFICATE", authority_certificate.der()),
        certificate: pem("CERTIFICATE", certificate.der()),
        key: pem("PRIVATE KEY", &key.pkcs8),
    })
}

fn parameters(
    names: impl Into<Vec<String>>,
    common_name: &str,
    key: &Key,
) -> Result<CertificateParams, rcgen::Error> {
    let mut parameters = CertificateParams::new(names)?;
    parameters.distinguished_name.push(DnType::CommonName, common_name);
    parameters.serial_number = Some(SerialNumber::from_slice(&key.id));
    parameters.key_identifier_method = KeyIdMethod::PreSpecified(key.id.to_vec());
    Ok(parameters)
}

/// A key, with a random number that stands for it in certificates.
struct Key {
    pair: EcdsaKeyPair,
    pkcs8: Vec<u8>,
    id: [u8; 16],
    random: SystemRandom,
}

impl Key {
    fn generate() -> Result<Self, rcgen::Error> {
        let failed = |_| rcgen::Error::KeyGenerationUnavailable;
        let algorithm = &ECDSA_P256_SHA256_ASN1_SIGNING;
        let random = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).map_err(failed)?.as_ref().to_vec();
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, &pkcs8, &random)
            .map_err(|_| rcgen::Error::KeyGenerationUnavailable)?;
        let mut id = [0; 16];
        random.fill(&mut id).map_err(failed)?;
        // Serial numbers are positive.
        id[0] = id[0] & 0x7f | 0x40;
        Ok(Self { pair, pkcs8, id, random })
    }
}

impl PublicKeyData for Key {
    fn der_bytes(&self) -> &[u8] {
        self.pair.public_key().as_ref()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

impl SigningKey for Key {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        let signature = self.pair.sign(&self.random, message);
        Ok(signature.map_err(|_| rcgen::Error::RemoteKeyError)?.as_ref().to_vec())
    }
}

fn pem(label: &str, der: &[u8]) -> String {
    let encoded = STANDARD.encode(der);
    let lines: Vec<&str> =
        (0..encoded.len()).step_by(64).map(|start| &encoded[start..encoded.len().min(start + 64)]).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}
