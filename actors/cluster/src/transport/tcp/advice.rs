//! What kind of refusal one is, and what to do about it.

use std::io;

use rustls::{CertificateError, Error};

use super::handshake::Refused;

/// The kinds of refusals. Each is logged by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    /// It does not speak TLS 1.3.
    NoTls,
    /// It showed no certificate.
    NoCertificate,
    /// Its certificate is none of this node's authority.
    OtherAuthority,
    /// Its certificate is not valid now.
    Dates,
    /// Its certificate cannot be used for another reason.
    Certificate,
    /// It does not accept this node's certificate.
    NotAccepted,
    /// The connection broke.
    Broke,
    /// It took too long.
    Slow,
    /// Too many came after it.
    Crowded,
    /// It does not greet as nodes do.
    NoNode,
    /// It says that it is this node.
    Itself,
    /// Its certificate is for another name than it says.
    OtherName,
    /// It cannot have a certificate.
    NoHost,
    /// It is not the node that was wanted.
    Another,
    /// Its session ended.
    Session,
    /// This node takes none.
    Closing,
}

impl Kind {
    /// What to do about it.
    pub(super) fn advice(self) -> &'static str {
        match self {
            Self::NoTls => {
                "it is no node, or has cluster.plaintext: let only nodes reach this port, and give all of them \
                 certificates"
            }
            Self::NoCertificate => "if it is a node, set cluster.certificate and cluster.key there",
            Self::OtherAuthority => "give it a certificate of the authority in cluster.ca (teammy certs)",
            Self::Dates => "renew its certificate (teammy certs), and check the clocks of both machines",
            Self::Certificate => "make its certificate for its cluster.node (teammy certs)",
            Self::NotAccepted => {
                "the other node does not accept this node's certificate: its log says why; check \
                 cluster.certificate and cluster.ca on both"
            }
            Self::Broke => "if it is a node, its log says more; a port scan or a health check does this, too",
            Self::Slow => "if it is a node, it is overloaded, or the network loses packets",
            Self::Crowded => {
                "many connections come from its address and say nothing: let only nodes reach this port"
            }
            Self::NoNode => {
                "it is no node, or its version is too far from this one's: let only nodes reach this port"
            }
            Self::Itself => "check cluster.advertise of all nodes: this one's address belongs to another",
            Self::OtherName => "give each node the certificate for its own cluster.node",
            Self::NoHost => "give that node a name that a host can have (cluster.node)",
            Self::Another => {
                "if that node was not just restarted, check cluster.advertise of both: they have the same address"
            }
            Self::Session => "its log says more",
            Self::Closing => "nothing, if this node is stopping; else it is overloaded",
        }
    }
}

impl Refused {
    /// What kind it is.
    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::Tls(error) => kind_of(error),
            Self::Broke(_) => Kind::Broke,
            Self::Slow => Kind::Slow,
            Self::Crowded => Kind::Crowded,
            Self::NoNode => Kind::NoNode,
            Self::Itself => Kind::Itself,
            Self::Certificate(..) => Kind::OtherName,
            Self::NoHost(_) => Kind::NoHost,
            Self::Another(_) => Kind::Another,
            Self::Session => Kind::Session,
            Self::Closing => Kind::Closing,
        }
    }
}

fn kind_of(error: &io::Error) -> Kind {
    use CertificateError as Certificate;
    match error.get_ref().and_then(|error| error.downcast_ref::<Error>()) {
        Some(Error::NoCertificatesPresented) => Kind::NoCertificate,
        Some(Error::AlertReceived(_)) => Kind::NotAccepted,
        Some(Error::InvalidCertificate(error)) => match error {
            Certificate::Expired
            | Certificate::ExpiredContext { .. }
            | Certificate::NotValidYet
            | Certificate::NotValidYetContext { .. } => Kind::Dates,
            // One of another authority with the same name has a signature that does not fit.
            Certificate::UnknownIssuer | Certificate::BadSignature => Kind::OtherAuthority,
            _ => Kind::Certificate,
        },
        _ => Kind::NoTls,
    }
}

#[cfg(test)]
mod tests {
    use rustls::{AlertDescription, InvalidMessage};

    use super::*;

    fn tls(error: Error) -> Refused {
        Refused::Tls(io::Error::new(io::ErrorKind::InvalidData, error))
    }

    #[test]
    fn what_is_wrong_with_a_certificate_is_told_apart() {
        use CertificateError as Certificate;
        let now = rustls::pki_types::UnixTime::now();
        let expired = Certificate::ExpiredContext { time: now, not_after: now };
        for (error, kind) in [
            (Error::NoCertificatesPresented, Kind::NoCertificate),
            (Error::InvalidCertificate(expired), Kind::Dates),
            (Error::InvalidCertificate(Certificate::NotValidYet), Kind::Dates),
            (Error::InvalidCertificate(Certificate::UnknownIssuer), Kind::OtherAuthority),
            (Error::InvalidCertificate(Certificate::InvalidPurpose), Kind::Certificate),
            (Error::AlertReceived(AlertDescription::CertificateExpired), Kind::NotAccepted),
            (Error::InvalidMessage(InvalidMessage::InvalidContentType), Kind::NoTls),
        ] {
            assert_eq!(tls(error.clone()).kind(), kind, "{error}");
        }
        assert_eq!(Refused::Tls(io::ErrorKind::InvalidData.into()).kind(), Kind::NoTls);
    }
}
