//! A certificate authority of the benchmark, for the upstream and for peers that need one.

use std::path::{Path, PathBuf};

use anyhow::Result;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};

/// A CA.
pub(crate) struct Authority {
    /// The file with its certificate; its key is beside it.
    pub(crate) certificate: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// Makes one; its files are in `dir`.
    pub(crate) fn new(dir: &Path, name: &str) -> Result<Self> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate()?;
        let dir = std::path::absolute(dir)?;
        let (certificate, key_file) = (dir.join(format!("{name}.pem")), dir.join(format!("{name}.key")));
        std::fs::write(&certificate, params.self_signed(&key)?.pem())?;
        std::fs::write(&key_file, key.serialize_pem())?;
        Ok(Self { certificate, issuer: Issuer::new(params, key) })
    }

    /// Certifies a host; the files with its certificate and its key.
    pub(crate) fn certify(&self, dir: &Path, host: &str) -> Result<[PathBuf; 2]> {
        let key = KeyPair::generate()?;
        let certificate = CertificateParams::new(vec![host.to_owned()])?.signed_by(&key, &self.issuer)?;
        let dir = std::path::absolute(dir)?;
        let files = [dir.join(format!("{host}.pem")), dir.join(format!("{host}.key"))];
        std::fs::write(&files[0], certificate.pem())?;
        std::fs::write(&files[1], key.serialize_pem())?;
        Ok(files)
    }
}
