//! rustls configurations for QUIC: mutual, TLS 1.3 only, never resumed, judged by the current
//! content of the trust store, so that a CRL acts on the next handshake without a new configuration.
//!
//! # Introductions
//!
//! A datacenter that nobody has heard of must be able to join. Its authority is signed by the root,
//! but the other side holds neither that authority nor its CRL. So there is one ALPN,
//! [`INTRO_ALPN`], over which such a chain is accepted after every check except the one that
//! needs the missing CRL, for the single purpose of exchanging (authority, CRL).
//!
//! rustls does not tell a verifier which ALPN was negotiated. A *client* knows what it dials: its
//! verifier is lenient only if it offers [`INTRO_ALPN`] and nothing else. A *server* that offers
//! [`INTRO_ALPN`] accepts introducible chains in the handshake whatever the ALPN, and the acceptor
//! must then call [`judge_peer`] with the negotiated ALPN: for any other it answers
//! [`Refusal::UnknownIssuer`] or [`Refusal::UnknownRevocation`]. Nothing can be forgotten here, because
//! [`Peer`] is what everything else asks for and only that call (or [`peer_identity`]) makes one.

use std::sync::{Arc, OnceLock};

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls13_signature};
use rustls::server::NoServerSessionStorage;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::SingleCertAndKey;
use rustls::version::TLS13;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, OtherError,
    PeerIncompatible, ServerConfig, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::cert::{Certified, MAX_AUTHORITY};
use crate::identity::Identity;
use crate::name::{Role, SpiffeName};
use crate::refusal::Refusal;
use crate::store::TrustStore;

/// The protocol over which two datacenters that have never met exchange authority and CRL.
pub const INTRO_ALPN: &[u8] = b"pelago-intro/1";

/// The TLS alert with which a handshake fails, on either side, if an introduction would help
/// (`unknown_ca`; QUIC adds 0x100 to it).
pub const UNKNOWN_CA_ALERT: u8 = 48;

/// Ed25519 and nothing else, for certificates and handshakes.
static ED25519_ONLY: WebPkiSupportedAlgorithms = WebPkiSupportedAlgorithms {
    all: &[webpki::aws_lc_rs::ED25519],
    mapping: &[(SignatureScheme::ED25519, &[webpki::aws_lc_rs::ED25519])],
};

/// The one cryptography provider, with the hybrid X25519MLKEM768 key exchange preferred.
pub fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    let make = || Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    Arc::clone(PROVIDER.get_or_init(make))
}

/// Who may be at the other end of a transport at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accept {
    /// The roles that may.
    pub roles: &'static [Role],
    /// The one datacenter they must belong to; any if `None`.
    pub datacenter: Option<String>,
}

impl Accept {
    /// Members of one datacenter, as on its LAN.
    pub fn lan(datacenter: &str) -> Self {
        Self {
            roles: &[Role::Client, Role::Server],
            datacenter: Some(datacenter.to_owned()),
        }
    }

    /// Servers of any datacenter, as on the WAN.
    pub const fn wan() -> Self {
        Self {
            roles: &[Role::Server],
            datacenter: None,
        }
    }

    /// Anybody with a valid certificate, as on the HTTP API.
    pub const fn anybody() -> Self {
        Self {
            roles: &[Role::Client, Role::Server, Role::Operator],
            datacenter: None,
        }
    }

    /// Whether `name` may be here.
    pub fn check(&self, name: &SpiffeName) -> Result<(), Refusal> {
        if !self.roles.contains(&name.role) {
            return Err(Refusal::Role);
        }
        match &self.datacenter {
            Some(datacenter) if *datacenter != name.datacenter => Err(Refusal::WrongDatacenter),
            _ => Ok(()),
        }
    }
}

/// Who a dialler expects to reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expect {
    /// Exactly this node.
    Node([u8; 16]),
    /// Some member of this datacenter.
    Datacenter(String),
    /// Some server, wherever it is.
    Server,
    /// Whoever has a valid certificate.
    Any,
}

impl Expect {
    /// Whether the certificate is the expected one.
    pub fn check(&self, certified: &Certified) -> Result<(), Refusal> {
        let fits = match self {
            Self::Node(id) => certified.node_id == *id,
            Self::Datacenter(name) => certified.name.datacenter == *name,
            Self::Server => certified.name.role == Role::Server,
            Self::Any => true,
        };
        if fits {
            Ok(())
        } else {
            Err(Refusal::WrongPeer)
        }
    }
}

/// The authenticated other end of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// What its certificate establishes.
    pub certified: Certified,
    /// Its leaf, DER.
    pub leaf: Vec<u8>,
    /// The authority that issued it, DER, out of the store.
    pub authority: Vec<u8>,
}

/// What [`judge_peer`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Contact {
    /// A member of a known datacenter. Over [`INTRO_ALPN`] too: then it is the other side that
    /// does not know us.
    Known(Box<Peer>),
    /// A holder of a certificate under a root-signed authority that we do not know yet, or whose
    /// CRL we lack: exchange (authority, CRL) and close. Deliberately not a [`Peer`].
    Stranger {
        /// The datacenter it says it belongs to, vouched for by the root.
        datacenter: String,
        /// The authority it presented, DER.
        authority: Vec<u8>,
    },
}

/// Judges a certificate chain as presented in a handshake: exactly a leaf and its datacenter
/// authority, the leaf accepted by [`TrustStore::certify`] now.
pub fn peer_identity(
    chain: &[CertificateDer<'_>],
    store: &TrustStore,
    now_unix: u64,
) -> Result<Peer, Refusal> {
    let (leaf, authority) = pair(chain)?;
    let certified = store.certify(leaf, now_unix)?;
    let authority = store.issuer(&certified, authority);
    Ok(Peer {
        authority: authority.ok_or(Refusal::UnknownIssuer)?.to_vec(),
        leaf: leaf.to_vec(),
        certified,
    })
}

/// Judges the other end of an established connection by the protocol that was negotiated.
/// Acceptors call this before anything else; see the module documentation.
pub fn judge_peer(
    store: &TrustStore,
    accept: &Accept,
    chain: &[CertificateDer<'_>],
    alpn: &[u8],
    now_unix: u64,
) -> Result<Contact, Refusal> {
    match peer_identity(chain, store, now_unix) {
        Ok(peer) => {
            accept.check(&peer.certified.name)?;
            Ok(Contact::Known(Box::new(peer)))
        }
        Err(refusal) if alpn == INTRO_ALPN && curable(refusal) => {
            let (leaf, authority) = pair(chain)?;
            let certified = store.introduce(leaf, authority, now_unix)?;
            accept.check(&certified.name)?;
            Ok(Contact::Stranger {
                datacenter: certified.name.datacenter,
                authority: authority.to_vec(),
            })
        }
        Err(refusal) => Err(refusal),
    }
}

/// Whether an introduction could change the judgement.
const fn curable(refusal: Refusal) -> bool {
    matches!(refusal, Refusal::UnknownIssuer | Refusal::UnknownRevocation)
}

fn pair<'a>(chain: &'a [CertificateDer<'_>]) -> Result<(&'a [u8], &'a [u8]), Refusal> {
    match chain {
        [_, authority] if authority.len() > MAX_AUTHORITY => Err(Refusal::TooLarge),
        [leaf, authority] => Ok((leaf, authority)),
        _ => Err(Refusal::ChainLength),
    }
}

/// The configuration of an accepting endpoint that serves the protocols `alpn`.
pub fn server_config(
    store: &TrustStore,
    identity: &Identity,
    accept: &Accept,
    alpn: &[&[u8]],
) -> Result<ServerConfig, Error> {
    let judge = Judge {
        store: store.clone(),
        accept: accept.clone(),
        expect: Expect::Any,
        introducing: alpn.contains(&INTRO_ALPN),
    };
    let resolver = SingleCertAndKey::from(Arc::clone(&identity.certified_key()));
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(Arc::new(judge))
        .with_cert_resolver(Arc::new(resolver));
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    // A resumed session would skip the verifier: a revoked client could come back.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    Ok(config)
}

/// The configuration of a dialler that expects `expect` over a transport that admits `accept`.
pub fn client_config(
    store: &TrustStore,
    identity: &Identity,
    accept: &Accept,
    expect: Expect,
    alpn: &[&[u8]],
) -> Result<ClientConfig, Error> {
    let judge = Judge {
        store: store.clone(),
        accept: accept.clone(),
        expect,
        introducing: alpn == [INTRO_ALPN],
    };
    let resolver = SingleCertAndKey::from(Arc::clone(&identity.certified_key()));
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .dangerous() // the verifier is ours; it checks more than the default one, not less
        .with_custom_certificate_verifier(Arc::new(judge))
        .with_client_cert_resolver(Arc::new(resolver));
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    // Whom we reach is decided by the certificate; the name dialled would only tell eavesdroppers.
    config.enable_sni = false;
    Ok(config)
}

/// The verifier of both sides: the store's judgement, then who is admitted and who is expected.
#[derive(Debug)]
struct Judge {
    store: TrustStore,
    accept: Accept,
    expect: Expect,
    introducing: bool,
}

impl Judge {
    fn judge(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        let outcome = self.try_judge(leaf, intermediates, now.as_secs());
        self.store.count(&outcome);
        outcome.map_err(|refusal| Error::InvalidCertificate(certificate_error(refusal)))
    }

    fn try_judge(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: u64,
    ) -> Result<(), Refusal> {
        let [authority] = intermediates else {
            return Err(Refusal::ChainLength);
        };
        if authority.len() > MAX_AUTHORITY {
            return Err(Refusal::TooLarge);
        }
        let certified = match self.store.certify(leaf, now) {
            Err(refusal) if self.introducing && curable(refusal) => {
                self.store.introduce(leaf, authority, now)
            }
            judged => judged,
        }?;
        self.accept.check(&certified.name)?;
        self.expect.check(&certified)
    }
}

/// A refusal as TLS says it, so that the peer gets the fitting alert.
fn certificate_error(refusal: Refusal) -> CertificateError {
    match refusal {
        Refusal::Malformed | Refusal::TooLarge => CertificateError::BadEncoding,
        Refusal::Expired => CertificateError::Expired,
        Refusal::NotYetValid => CertificateError::NotValidYet,
        Refusal::Revoked => CertificateError::Revoked,
        // Both mean "introduce yourself", and TLS has one alert for that: UNKNOWN_CA_ALERT.
        Refusal::UnknownIssuer | Refusal::UnknownRevocation => CertificateError::UnknownIssuer,
        Refusal::RevocationExpired => CertificateError::ExpiredRevocationList,
        Refusal::BadSignature => CertificateError::BadSignature,
        other => CertificateError::Other(OtherError(Arc::new(other))),
    }
}

fn tls12() -> Error {
    Error::PeerIncompatible(PeerIncompatible::ServerDoesNotSupportTls12Or13)
}

impl ServerCertVerifier for Judge {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.judge(end_entity, intermediates, now)
            .map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &ED25519_ONLY)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ED25519_ONLY.supported_schemes()
    }
}

impl ClientCertVerifier for Judge {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.judge(end_entity, intermediates, now)
            .map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &ED25519_ONLY)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ED25519_ONLY.supported_schemes()
    }
}
