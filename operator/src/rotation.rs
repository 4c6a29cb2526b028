//! Replacing the generated SSH key on request, without a moment in which the VM accepts neither. Pure.
//!
//! The new key lies in a Secret beside the one in use. When the VM accepts it, the one in use is deleted and created anew
//! from it, and it is deleted itself. Secrets are only created and deleted, never changed; whoever dies between any two of
//! these steps leaves what tells the next step, and no key that the VM accepts is lost.

use crate::build::secret::AppValues;

/// What one looks at.
#[derive(Clone, Copy, Debug, Default)]
pub struct Situation<'a> {
    /// The value of the annotation; `None`: nobody asks.
    pub requested: Option<&'a str>,
    /// The value that was carried out last.
    pub done: Option<&'a str>,
    /// The public half of the key in use; `None`: its Secret is missing.
    pub current: Option<&'a str>,
    /// That of the new one; `None`: there is none.
    pub next: Option<&'a str>,
    /// Whether the VM accepts the new one.
    pub accepted: bool,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing.
    Rest,
    /// Generate the new key.
    Prepare,
    /// Ask the VM whether it accepts the new key.
    Ask,
    /// Delete the Secret with the key in use: the next step puts the new one in its place.
    RemoveCurrent,
    /// Create the Secret with the key in use from the new key.
    Promote,
    /// Delete the Secret of the new key, which is in use by now.
    Finish,
    /// Delete the Secret of the new key, which nobody asks for any more.
    Cancel,
}

/// The next step.
#[must_use]
pub fn step(situation: Situation<'_>) -> Step {
    let Situation { requested, done, current, next, accepted } = situation;
    let asked = requested.is_some() && requested != done;
    match (current, next) {
        // The key in use was removed in favour of this one, or by hand: a third one would only have to be authorised too.
        (None, Some(_)) => Step::Promote,
        (Some(current), Some(next)) if current == next => Step::Finish,
        (Some(_), Some(_)) if !asked => Step::Cancel,
        (Some(_), Some(_)) if accepted => Step::RemoveCurrent,
        (Some(_), Some(_)) => Step::Ask,
        (Some(_), None) if asked => Step::Prepare,
        // What is missing altogether is generated, which is as good as replaced.
        (Some(_) | None, None) => Step::Rest,
    }
}

/// Which values of the application Secret are to be replaced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// `CATALYST_SECRET`.
    pub catalyst_secret: bool,
    /// `COOKIE_SECRET`.
    pub cookie_secret: bool,
}

impl Asked {
    /// Whether anything is.
    #[must_use]
    pub fn any(self) -> bool {
        self.catalyst_secret || self.cookie_secret
    }

    /// Whether what was prepared is what is asked for: a request may have changed after that.
    #[must_use]
    pub fn fits(self, current: &AppValues, next: &AppValues) -> bool {
        (current.catalyst_secret != next.catalyst_secret) == self.catalyst_secret
            && (current.cookie_secret != next.cookie_secret) == self.cookie_secret
    }
}

/// The next step with the values of the application Secret: the same way, but there is nobody to ask.
#[must_use]
pub fn values_step(asked: Asked, current: Option<&AppValues>, next: Option<&AppValues>) -> Step {
    match (current, next) {
        (None, Some(_)) => Step::Promote,
        (Some(current), Some(next)) if current == next => Step::Finish,
        (Some(current), Some(next)) if asked.any() && asked.fits(current, next) => Step::RemoveCurrent,
        (Some(_), Some(_)) => Step::Cancel,
        (Some(_), None) if asked.any() => Step::Prepare,
        (Some(_) | None, None) => Step::Rest,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(catalyst: &str, cookie: &str, previous: Option<&str>) -> AppValues {
        let [catalyst_secret, cookie_secret] = [catalyst, cookie].map(str::to_owned);
        AppValues { catalyst_secret, cookie_secret, cookie_secret_previous: previous.map(str::to_owned) }
    }

    #[test]
    fn values_are_replaced_from_any_point_and_only_those_that_are_asked_for() {
        let cookie = Asked { cookie_secret: true, ..Asked::default() };
        let (old, new) = (values("a", "b", None), values("a", "c", Some("b")));
        assert_eq!(values_step(cookie, Some(&old), None), Step::Prepare);
        assert_eq!(values_step(cookie, Some(&old), Some(&new)), Step::RemoveCurrent);
        assert_eq!(values_step(cookie, None, Some(&new)), Step::Promote);
        assert_eq!(values_step(cookie, Some(&new), Some(&new)), Step::Finish);
        assert_eq!(values_step(Asked::default(), Some(&new), None), Step::Rest);
        assert_eq!(values_step(Asked::default(), None, None), Step::Rest, "what is missing is generated");
        // A request that was taken back, or became another, is begun anew.
        assert_eq!(values_step(Asked::default(), Some(&old), Some(&new)), Step::Cancel);
        let both = Asked { catalyst_secret: true, cookie_secret: true };
        assert_eq!(values_step(both, Some(&old), Some(&new)), Step::Cancel);
    }

    #[test]
    fn a_rotation_goes_its_way_from_any_point_and_ends() {
        let asked = Situation { requested: Some("2"), done: Some("1"), current: Some("old"), ..Situation::default() };
        assert_eq!(step(asked), Step::Prepare);
        let prepared = Situation { next: Some("new"), ..asked };
        assert_eq!(step(prepared), Step::Ask);
        assert_eq!(step(Situation { accepted: true, ..prepared }), Step::RemoveCurrent);
        let removed = Situation { current: None, ..prepared };
        assert_eq!(step(removed), Step::Promote);
        let promoted = Situation { current: Some("new"), ..prepared };
        assert_eq!(step(promoted), Step::Finish);
        let finished = Situation { next: None, done: Some("2"), ..promoted };
        assert_eq!(step(finished), Step::Rest);
    }

    #[test]
    fn a_request_that_is_taken_back_leaves_the_key_in_use() {
        let both = Situation { current: Some("old"), next: Some("new"), accepted: true, ..Situation::default() };
        assert_eq!(step(both), Step::Cancel);
        assert_eq!(step(Situation::default()), Step::Rest);
    }
}
