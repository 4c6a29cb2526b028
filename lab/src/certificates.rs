//! The cluster's certificate authority and what it issues. Keys are ECDSA P-256 in PKCS #8, written for root alone.

use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};

const CA_CERTIFICATE: &str = "ca.crt";
const CA_KEY: &str = "ca.key";

/// A folder with a certificate authority, the key of service account tokens, and certificates issued by name.
#[derive(Clone, Debug)]
pub(crate) struct Certificates {
    folder: PathBuf,
}

/// Paths of an issued certificate and its key.
#[derive(Clone, Debug)]
pub(crate) struct Issued {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

impl Certificates {
    /// Opens the authority in `folder`; makes it, and the service account key, when there is none.
    pub(crate) fn ensure(folder: &Path) -> anyhow::Result<Certificates> {
        let certificates = Certificates { folder: folder.to_owned() };
        crate::folders::make(folder)?;
        // The certificate is written last, so its presence says that all is there.
        if !certificates.ca_certificate().exists() {
            let key = KeyPair::generate()?;
            let tokens = KeyPair::generate()?;
            write_private(&certificates.service_account_key(), &tokens.serialize_pem())?;
            crate::folders::write_whole(&certificates.service_account_public_key(), tokens.public_key_pem())?;
            write_private(&certificates.ca_key(), &key.serialize_pem())?;
            crate::folders::write_whole(&certificates.ca_certificate(), authority().self_signed(&key)?.pem())?;
        }
        Ok(certificates)
    }

    pub(crate) fn ca_certificate(&self) -> PathBuf {
        self.folder.join(CA_CERTIFICATE)
    }

    pub(crate) fn ca_key(&self) -> PathBuf {
        self.folder.join(CA_KEY)
    }

    /// Signs service account tokens.
    pub(crate) fn service_account_key(&self) -> PathBuf {
        self.folder.join("service-accounts.key")
    }

    /// Verifies them.
    pub(crate) fn service_account_public_key(&self) -> PathBuf {
        self.folder.join("service-accounts.pub")
    }

    /// A certificate for a server that is reached by these addresses and DNS names.
    pub(crate) fn server(&self, file: &str, addresses: &[IpAddr], dns: &[&str]) -> anyhow::Result<Issued> {
        let mut params = CertificateParams::default();
        params.distinguished_name = name(file, None);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.subject_alt_names = addresses.iter().copied().map(SanType::IpAddress).collect();
        for dns in dns {
            params.subject_alt_names.push(SanType::DnsName((*dns).try_into().context("a DNS name in ASCII")?));
        }
        self.issue(file, params)
    }

    /// A certificate by which the API server takes its holder for `user` in `group`.
    pub(crate) fn client(&self, file: &str, user: &str, group: Option<&str>) -> anyhow::Result<Issued> {
        let mut params = CertificateParams::default();
        params.distinguished_name = name(user, group);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(file, params)
    }

    fn issue(&self, file: &str, mut params: CertificateParams) -> anyhow::Result<Issued> {
        let issued = Issued {
            certificate: self.folder.join(format!("{file}.crt")),
            key: self.folder.join(format!("{file}.key")),
        };
        if issued.certificate.exists() {
            return Ok(issued);
        }
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        let read = |path: PathBuf| std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()));
        let authority = Issuer::new(authority(), KeyPair::from_pem(&read(self.ca_key())?)?);
        let key = KeyPair::generate()?;
        write_private(&issued.key, &key.serialize_pem())?;
        crate::folders::write_whole(&issued.certificate, params.signed_by(&key, &authority)?.pem())?;
        Ok(issued)
    }

    /// A kubeconfig that holds everything itself, so it works wherever it is copied to.
    pub(crate) fn kubeconfig(&self, path: &Path, server: &str, holder: &Issued) -> anyhow::Result<()> {
        let read = |path: &Path| std::fs::read(path).with_context(|| format!("read {}", path.display()));
        let encode = |bytes: Vec<u8>| k8s_openapi::ByteString(bytes);
        let text = serde_json::json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "lab",
            "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "lab"}}],
            "clusters": [{"name": "lab", "cluster": {
                "server": server, "certificate-authority-data": encode(read(&self.ca_certificate())?)}}],
            "users": [{"name": "lab", "user": {
                "client-certificate-data": encode(read(&holder.certificate)?),
                "client-key-data": encode(read(&holder.key)?)}}],
        });
        write_private(path, &serde_yaml::to_string(&text)?)
    }
}

/// What the authority is, the same at every start: its key alone is read back.
fn authority() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = name("catalyst-lab", None);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    params
}

fn name(common: &str, organisation: Option<&str>) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    if let Some(organisation) = organisation {
        name.push(DnType::OrganizationName, organisation);
    }
    name.push(DnType::CommonName, common);
    name
}

/// Readable by its owner alone from its first byte on.
fn write_private(path: &Path, text: &str) -> anyhow::Result<()> {
    let aside = path.with_extension("new");
    let _ = std::fs::remove_file(&aside);
    let write = || -> std::io::Result<()> {
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&aside)?;
        std::io::Write::write_all(&mut file, text.as_bytes())?;
        std::fs::rename(&aside, path)
    };
    write().with_context(|| format!("write {}", path.display()))
}
