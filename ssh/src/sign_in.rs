//! Signing in: with the certificate where there is one, then with the key; and what a refusal means.

use std::sync::Arc;
use std::time::Duration;

use russh::client::{AuthResult, Handle};
use russh::keys::{Certificate, HashAlg, PrivateKey, PrivateKeyWithHashAlg};
use tokio::time::timeout;

use crate::endpoint::Endpoint;
use crate::failure::{Failure, Reason};
use crate::link::CLOSE_DEADLINE;
use crate::rsa::RsaSigner;
use crate::session::{Facts, Verifier};

/// What to sign in with.
#[derive(Clone)]
pub(crate) struct Credentials {
    pub(crate) key: Arc<PrivateKey>,
    pub(crate) certificate: Option<Certificate>,
}

/// Signs in within `deadline`.
pub(crate) async fn sign_in(
    handle: &mut Handle<Verifier>,
    facts: &Facts,
    endpoint: &Endpoint,
    credentials: &Credentials,
    deadline: Duration,
) -> Result<(), Failure> {
    let Ok(answer) = timeout(deadline, show(handle, endpoint, credentials)).await else {
        return Err(facts.handshake_timeout(endpoint, deadline.as_secs()));
    };
    match answer {
        Ok(AuthResult::Success) => Ok(()),
        Ok(AuthResult::Failure { partial_success: true, .. }) => Err(Failure::new(
            Reason::AuthRejected,
            format!(
                "{endpoint} accepts the key of {} but asks for a second factor: allow `AuthenticationMethods publickey` \
                 for this user in the VM's sshd_config.",
                endpoint.user
            ),
        )),
        Ok(AuthResult::Failure { .. }) => Err(rejected(endpoint, credentials)),
        Err(_) => {
            // The reason of the end is recorded by the session's task, which is done when the sender is closed.
            let _ = timeout(CLOSE_DEADLINE, &mut *handle).await;
            if facts.ended_by_auth() { Err(rejected(endpoint, credentials)) } else { Err(facts.lost(endpoint)) }
        }
    }
}

async fn show(
    handle: &mut Handle<Verifier>,
    endpoint: &Endpoint,
    credentials: &Credentials,
) -> Result<AuthResult, russh::Error> {
    if let Some(certificate) = &credentials.certificate {
        let shown = match RsaSigner::new(&credentials.key) {
            Some(signer) => {
                let hash = Some(HashAlg::Sha512);
                let certificate = certificate.clone();
                let signed =
                    handle.authenticate_certificate_with(&endpoint.user, certificate, hash, &mut signer.agent()).await;
                signed.map_err(|_| russh::Error::SendError)?
            }
            None => {
                let key = credentials.key.clone();
                handle.authenticate_openssh_cert(&endpoint.user, key, certificate.clone()).await?
            }
        };
        match shown {
            AuthResult::Failure { partial_success: false, .. } => {}
            answer => return Ok(answer),
        }
    }
    match RsaSigner::new(&credentials.key) {
        Some(signer) => {
            let (public, hash) = (credentials.key.public_key().clone(), Some(HashAlg::Sha512));
            let signed = handle.authenticate_publickey_with(&endpoint.user, public, hash, &mut signer.agent()).await;
            signed.map_err(|_| russh::Error::SendError)
        }
        None => {
            let key = PrivateKeyWithHashAlg::new(credentials.key.clone(), None);
            handle.authenticate_publickey(&endpoint.user, key).await
        }
    }
}

fn rejected(endpoint: &Endpoint, credentials: &Credentials) -> Failure {
    let certificate = match &credentials.certificate {
        None => "",
        Some(_) => " The certificate was refused, too: it may have expired, or name other principals.",
    };
    Failure::new(
        Reason::AuthRejected,
        format!(
            "{endpoint} does not accept the key for user {user}: add its public half to ~{user}/.ssh/authorized_keys on the VM \
             (the directory 0700, the file 0600, both owned by {user}), or correct the user.{certificate}",
            user = endpoint.user
        ),
    )
}
