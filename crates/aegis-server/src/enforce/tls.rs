//! TLS towards upstreams: rustls, always verified.

use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use super::settings::{ClientCertificate, Protocol, Roots, Tls};

/// The system's certificate authorities, read once.
///
/// # Errors
/// There is not one that can be used.
pub(crate) fn system_roots() -> Result<Arc<RootCertStore>, String> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        let why = found.errors.first().map(|error| format!(": {error}")).unwrap_or_default();
        return Err(format!("the system has no certificate authority that can be used{why}"));
    }
    Ok(Arc::new(roots))
}

/// How one upstream is spoken to.
///
/// # Errors
/// Which part of `tls` can't be used, and why.
pub(crate) fn client_config(
    tls: &Tls,
    protocol: Protocol,
    system: &Result<Arc<RootCertStore>, String>,
) -> Result<Arc<ClientConfig>, String> {
    let roots = match &tls.roots {
        Roots::System => system.clone()?,
        Roots::Pem(pem) => Arc::new(pem_roots(pem, RootCertStore::empty())?),
        // A system without any is no reason to trust less than what is given.
        Roots::SystemAnd(pem) => {
            let system = system.as_ref().map_or_else(|_| RootCertStore::empty(), |roots| (**roots).clone());
            Arc::new(pem_roots(pem, system)?)
        }
    };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots);
    let mut config = match &tls.client {
        None => builder.with_no_client_auth(),
        Some(client) => {
            let (chain, key) = client_certificate(client)?;
            builder.with_client_auth_cert(chain, key).map_err(|error| format!("tls.client: {error}"))?
        }
    };
    config.alpn_protocols = match protocol {
        Protocol::Http1 => vec![b"http/1.1".to_vec()],
        Protocol::Http2 => vec![b"h2".to_vec()],
    };
    Ok(Arc::new(config))
}

fn pem_roots(pem: &[u8], mut roots: RootCertStore) -> Result<RootCertStore, String> {
    for certificate in certificates(pem, "tls.ca")? {
        roots.add(certificate).map_err(|error| format!("tls.ca: {error}"))?;
    }
    Ok(roots)
}

fn client_certificate(
    client: &ClientCertificate,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), String> {
    let chain = certificates(&client.chain, "tls.client")?;
    // The reader's own words could hold a piece of the key.
    let key = PrivateKeyDer::from_pem_slice(client.key.expose().as_bytes())
        .map_err(|_| "tls.client: the key is not a private key in PEM".to_owned())?;
    Ok((chain, key))
}

fn certificates(pem: &[u8], key: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let found = found.map_err(|error| format!("{key}: {error}"))?;
    if found.is_empty() {
        return Err(format!("{key}: there is no certificate in it"));
    }
    Ok(found)
}
