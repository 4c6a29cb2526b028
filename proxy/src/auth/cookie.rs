//! The session is in the cookie, signed: no server state, so restarts and replicas keep it.
//!
//! `v1.<payload>.<mac>`, both base64url; the payload is `<since>.<issued>.<random id>` in seconds since 1970. A session
//! lives [`IDLE`] from its last issue and [`LONGEST`] from sign-in. The key comes from both secrets and a generation.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::{constant_time, digest, hmac};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::settings::{Secret, WebSettings};

/// Name of the cookie, as the existing client and its scripts know it.
pub const NAME: &str = "catalyst_session";
/// An unused session ends so long after it was last issued.
pub const IDLE: Duration = Duration::from_secs(24 * 3600);
/// A session in use ends so long after sign-in; also the cookie's Max-Age.
pub const LONGEST: Duration = Duration::from_secs(30 * 24 * 3600);
/// A session in use is issued anew when it is older than this.
pub const REISSUE_AFTER: Duration = Duration::from_secs(3600);

/// A session that was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Seconds since 1970 of the sign-in.
    pub since: u64,
    /// Seconds since 1970 of this cookie.
    pub issued: u64,
    /// Tells sessions apart in the log; not a secret.
    pub id: String,
    /// Who it is, where a trusted proxy says so; such a session has no cookie.
    pub user: Option<String>,
}

impl Session {
    /// The session of somebody whom a trusted proxy names.
    pub fn of_user(name: &str, now: u64) -> Session {
        Session { since: now, issued: now, id: "proxy".to_owned(), user: Some(name.to_owned()) }
    }

    /// Whether the session, in use without a break, has reached its longest life. What a proxy vouched for once is
    /// asked for again after [`IDLE`].
    pub fn is_over(&self, now: u64) -> bool {
        let longest = if self.user.is_some() { IDLE } else { LONGEST };
        now >= self.since.saturating_add(longest.as_secs())
    }

    fn is_valid(&self, now: u64) -> bool {
        // A replica's clock may be behind the one that issued it.
        let future = now.saturating_add(300);
        self.since <= self.issued
            && self.issued <= future
            && now < self.issued.saturating_add(IDLE.as_secs())
            && !self.is_over(now)
    }
}

/// Signs and verifies sessions, and compares the shared secret.
pub struct Signer {
    current: hmac::Key,
    previous: Option<hmac::Key>,
    secret_digest: digest::Digest,
    secure: bool,
}

impl Signer {
    /// Derives the keys.
    pub fn new(settings: &WebSettings) -> Signer {
        let key =
            |cookie_secret: &Secret| derive(cookie_secret, &settings.catalyst_secret, settings.session_generation);
        Signer {
            current: key(&settings.cookie_secret),
            previous: settings.cookie_secret_previous.as_ref().map(key),
            secret_digest: digest::digest(&digest::SHA256, settings.catalyst_secret.reveal().as_bytes()),
            secure: settings.secure_cookie,
        }
    }

    /// Compares in constant time, whatever the length.
    pub fn is_the_secret(&self, given: &str) -> bool {
        let given = digest::digest(&digest::SHA256, given.as_bytes());
        constant_time::verify_slices_are_equal(given.as_ref(), self.secret_digest.as_ref()).is_ok()
    }

    /// A new session.
    pub fn sign_in(&self, now: u64) -> Session {
        let id: [u8; 12] = rand::random();
        Session { since: now, issued: now, id: URL_SAFE_NO_PAD.encode(id), user: None }
    }

    /// The session in a Cookie header's value, if one is genuine and not over.
    pub fn verify(&self, cookie_header: &str, now: u64) -> Option<Session> {
        cookie_header
            .split(';')
            .filter_map(|pair| pair.trim().strip_prefix(NAME)?.strip_prefix('='))
            .find_map(|value| self.open(value, now))
    }

    /// The session anew when it is in use and a while old.
    pub fn reissue(&self, session: &Session, now: u64) -> Option<Session> {
        (now >= session.issued.saturating_add(REISSUE_AFTER.as_secs()))
            .then(|| Session { issued: now, ..session.clone() })
    }

    /// The Set-Cookie header that carries the session.
    pub fn set_cookie(&self, session: &Session, now: u64) -> String {
        let left = session.since.saturating_add(LONGEST.as_secs()).saturating_sub(now);
        self.header(&self.seal(session), left)
    }

    /// The Set-Cookie header that signs out.
    pub fn clear_cookie(&self) -> String {
        self.header("", 0)
    }

    fn header(&self, value: &str, max_age: u64) -> String {
        let secure = if self.secure { "; Secure" } else { "" };
        format!("{NAME}={value}; Path=/; HttpOnly; SameSite=Strict; Max-Age={max_age}{secure}")
    }

    fn seal(&self, session: &Session) -> String {
        let payload = format!("{}.{}.{}", session.since, session.issued, session.id);
        let mac = hmac::sign(&self.current, payload.as_bytes());
        format!("v1.{}.{}", URL_SAFE_NO_PAD.encode(&payload), URL_SAFE_NO_PAD.encode(mac.as_ref()))
    }

    fn open(&self, value: &str, now: u64) -> Option<Session> {
        let (payload, mac) = value.strip_prefix("v1.")?.split_once('.')?;
        let payload = URL_SAFE_NO_PAD.decode(payload).ok()?;
        let mac = URL_SAFE_NO_PAD.decode(mac).ok()?;
        let genuine = std::iter::once(&self.current)
            .chain(self.previous.as_ref())
            .any(|key| hmac::verify(key, &payload, &mac).is_ok());
        if !genuine {
            return None;
        }
        let text = String::from_utf8(payload).ok()?;
        let mut parts = text.splitn(3, '.');
        let session = Session {
            since: parts.next()?.parse().ok()?,
            issued: parts.next()?.parse().ok()?,
            id: parts.next()?.to_owned(),
            user: None,
        };
        session.is_valid(now).then_some(session)
    }
}

fn derive(cookie_secret: &Secret, catalyst_secret: &Secret, generation: u64) -> hmac::Key {
    let root = hmac::Key::new(hmac::HMAC_SHA256, cookie_secret.reveal().as_bytes());
    let secret = digest::digest(&digest::SHA256, catalyst_secret.reveal().as_bytes());
    let mut context = hmac::Context::with_key(&root);
    context.update(b"catalyst session v1");
    context.update(&generation.to_be_bytes());
    context.update(secret.as_ref());
    hmac::Key::new(hmac::HMAC_SHA256, context.sign().as_ref())
}

/// Seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::testing::web_settings;

    const NOW: u64 = 1_800_000_000;

    fn header(signer: &Signer, session: &Session) -> String {
        signer.set_cookie(session, NOW).split(';').next().unwrap().to_owned()
    }

    #[test]
    fn a_session_is_recognised_by_another_replica_and_after_a_restart() {
        let settings = web_settings(&[]);
        let session = Signer::new(&settings).sign_in(NOW);
        let cookie = format!("theme=dark; {}; other=1", header(&Signer::new(&settings), &session));
        assert_eq!(Signer::new(&settings).verify(&cookie, NOW + 5), Some(session));
    }

    #[test]
    fn a_changed_secret_generation_or_byte_ends_it() {
        let settings = web_settings(&[]);
        let signer = Signer::new(&settings);
        let cookie = header(&signer, &signer.sign_in(NOW));
        let mut other = settings.clone();
        other.catalyst_secret = Secret::new("rotated-rotated-rotated");
        assert_eq!(Signer::new(&other).verify(&cookie, NOW), None);
        let mut other = settings.clone();
        other.session_generation = 1;
        assert_eq!(Signer::new(&other).verify(&cookie, NOW), None);
        for at in [cookie.len() - 2, NAME.len() + 6] {
            let mut bytes = cookie.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(signer.verify(&String::from_utf8(bytes).unwrap(), NOW), None);
        }
        for bad in ["", "v1", "v1.", "v1..", "s%3Aabc.def", "v1.AAAA.AAAA"] {
            assert_eq!(signer.verify(&format!("{NAME}={bad}"), NOW), None, "{bad}");
        }
    }

    #[test]
    fn sessions_signed_with_the_previous_secret_stay_valid_while_it_is_given() {
        let mut settings = web_settings(&[]);
        let old = Signer::new(&settings);
        let cookie = header(&old, &old.sign_in(NOW));
        settings.cookie_secret_previous =
            Some(std::mem::replace(&mut settings.cookie_secret, Secret::new("a-new-cookie-secret")));
        assert!(Signer::new(&settings).verify(&cookie, NOW).is_some());
        settings.cookie_secret_previous = None;
        assert!(Signer::new(&settings).verify(&cookie, NOW).is_none());
    }

    #[test]
    fn an_unused_session_ends_after_a_day_and_a_used_one_after_thirty() {
        let signer = Signer::new(&web_settings(&[]));
        let mut session = signer.sign_in(NOW);
        assert!(signer.verify(&header(&signer, &session), NOW + IDLE.as_secs()).is_none());
        assert_eq!(signer.reissue(&session, NOW + 60), None);
        let mut now = NOW;
        while signer.verify(&header(&signer, &session), now).is_some() {
            now += 23 * 3600;
            session = signer.reissue(&session, now).unwrap();
        }
        let lived = now - NOW;
        assert!(lived >= LONGEST.as_secs() && lived < LONGEST.as_secs() + IDLE.as_secs(), "{lived}");
    }

    #[test]
    fn the_attributes_are_those_that_the_existing_client_expects() {
        let mut settings = web_settings(&[]);
        let signer = Signer::new(&settings);
        let set = signer.set_cookie(&signer.sign_in(NOW), NOW);
        assert!(set.ends_with("; Path=/; HttpOnly; SameSite=Strict; Max-Age=2592000"), "{set}");
        settings.secure_cookie = true;
        assert!(Signer::new(&settings).clear_cookie().ends_with("Max-Age=0; Secure"));
    }
}
