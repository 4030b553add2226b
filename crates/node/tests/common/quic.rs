//! QUIC clients of the tests' own: with a member's certificate, with none, and with no doubts about the server.

use pelago_node::config::Config;
use std::{net::SocketAddr, sync::Arc};

/// Names of the pools' protocols.
pub const LAN: &[u8] = b"pelago-lan/1";
pub const WAN: &[u8] = b"pelago-wan/1";

/// What a client with this node's certificate dials with.
pub fn tls(config: &Config, accept: &pelago_pki::Accept, alpn: &[u8]) -> rustls::ClientConfig {
    let pki = &config.pki;
    let store = pelago_pki::TrustStore::load(
        &pki.ca,
        pki.crl_dir.as_deref(),
        pelago_pki::Policy::default(),
    );
    let identity = pelago_pki::Identity::load(&pki.cert, &pki.key).expect("identity");
    pelago_pki::client_config(
        &store.expect("store"),
        &identity,
        accept,
        pelago_pki::Expect::Any,
        &[alpn],
    )
    .expect("config")
}

/// A QUIC endpoint on an address of loopback that dials with this.
pub fn client(from: &str, tls: rustls::ClientConfig) -> quinn::Endpoint {
    let from: SocketAddr = format!("{from}:0").parse().expect("address");
    let mut endpoint = quinn::Endpoint::client(from).expect("endpoint");
    let transport = quinn::TransportConfig::default();
    endpoint.set_default_client_config(settings(tls, transport));
    endpoint
}

/// What one dial goes by.
pub fn settings(
    tls: rustls::ClientConfig,
    mut transport: quinn::TransportConfig,
) -> quinn::ClientConfig {
    let crypto = quinn::crypto::rustls::QuicClientConfig::try_from(tls).expect("crypto");
    let mut config = quinn::ClientConfig::new(Arc::new(crypto));
    // What is closed is forgotten after a few of these.
    transport.initial_rtt(std::time::Duration::from_millis(10));
    transport.datagram_receive_buffer_size(Some(64 * 1024));
    config.transport_config(Arc::new(transport));
    config
}

#[derive(Debug)]
pub struct NoCertificate;

impl rustls::client::ResolvesClientCert for NoCertificate {
    fn resolve(
        &self,
        _: &[&[u8]],
        _: &[rustls::SignatureScheme],
    ) -> Option<Arc<rustls::sign::CertifiedKey>> {
        None
    }
    fn has_certs(&self) -> bool {
        false
    }
}

/// Believes every server: the test is about what the server believes.
#[derive(Debug)]
pub struct Anyone;

impl rustls::client::danger::ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &[rustls::pki_types::CertificateDer<'_>],
        _: &rustls::pki_types::ServerName<'_>,
        _: &[u8],
        _: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }
    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }
    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        vec![rustls::SignatureScheme::ED25519]
    }
}
