//! Replacing the generated SSH key on request, without a moment in which the VM accepts neither. Pure.
//!
//! The new key lies in a Secret beside the one in use. When the VM accepts it, the one in use is deleted and created anew
//! from it, and it is deleted itself. Secrets are only created and deleted, never changed; whoever dies between any two of
//! these steps leaves what tells the next step, and no key that the VM accepts is lost.

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

#[cfg(test)]
mod tests {
    use super::*;

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
