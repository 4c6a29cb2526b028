//! What a listing says: the ideas that can be read and the folders that cannot.

use std::collections::HashMap;
use std::sync::OnceLock;

use bytes::Bytes;
use serde::Serialize;

use super::{Idea, META_LIMIT, Slug};

/// A folder whose `meta.json` cannot be read; it is left alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Damaged {
    /// The folder's name.
    pub slug: String,
    /// What is wrong with its `meta.json`.
    pub problem: String,
}

/// All ideas that can be read, newest change first, and the folders that cannot.
#[derive(Debug, Default)]
pub struct Listing {
    /// Newest `updatedAt` first.
    pub ideas: Vec<Idea>,
    /// Folders whose `meta.json` is damaged, by name.
    pub damaged: Vec<Damaged>,
    answer: Bytes,
    rendered: OnceLock<Bytes>,
}

impl Listing {
    /// Reads what the VM answered.
    pub(super) fn read(answer: Bytes) -> Listing {
        let mut listing = Listing::default();
        for (name, text) in sections(&answer) {
            let Some(slug) = Slug::accept(name) else { continue };
            match meta(text).and_then(|text| Idea::from_meta(&slug, text)) {
                Ok(idea) => listing.ideas.push(idea),
                Err(problem) => listing.damaged.push(Damaged { slug: slug.to_string(), problem }),
            }
        }
        listing.ideas.sort_by(|a, b| b.updated_at.cmp(&a.updated_at).then_with(|| a.slug.cmp(&b.slug)));
        listing.damaged.sort_by(|a, b| a.slug.cmp(&b.slug));
        listing.answer = answer;
        listing
    }

    /// Whether it was read from these very bytes.
    pub(super) fn is_of(&self, answer: &Bytes) -> bool {
        self.answer == answer
    }

    /// Where each idea lies, by id.
    pub(super) fn slugs(&self) -> HashMap<String, Slug> {
        self.ideas.iter().filter_map(|idea| Some((idea.id.clone(), Slug::accept(&idea.slug)?))).collect()
    }

    /// What a reader makes of it, made once for as long as nothing changes.
    pub fn rendered(&self, make: impl FnOnce(&Listing) -> Bytes) -> Bytes {
        self.rendered.get_or_init(|| make(self)).clone()
    }
}

/// The text of a `meta.json`, or why there is none.
pub(super) fn meta(text: Option<&[u8]>) -> Result<&[u8], String> {
    match text {
        None => Err("the file cannot be read; look at its owner and mode".to_owned()),
        Some(text) if text.len() as u64 > META_LIMIT => Err(format!("the file is over {META_LIMIT} bytes")),
        Some(text) => Ok(text),
    }
}

/// Takes the output of `list.sh` apart: each folder's name, and what its file holds if it could be read.
pub(super) fn sections(answer: &[u8]) -> Vec<(&str, Option<&[u8]>)> {
    let names_end = memchr::memmem::find(answer, b"\n\n").unwrap_or(answer.len());
    let (names, mut rest) = answer.split_at(names_end);
    let Ok(names) = str::from_utf8(names) else { return Vec::new() };
    let mut sections: Vec<(&str, Option<&[u8]>)> = Vec::new();
    let mut open: Option<usize> = None;
    for line in names.lines() {
        let Some(name) = line.strip_prefix("./").and_then(|line| line.strip_suffix("/meta.json")) else { continue };
        let header = format!("\n==> ./{name}/meta.json <==\n");
        let found = memchr::memmem::find(rest, header.as_bytes());
        if let Some(at) = found {
            let (before, from) = rest.split_at(at);
            close(&mut sections, open, before);
            rest = from.get(header.len()..).unwrap_or_default();
            open = Some(sections.len());
        }
        sections.push((name, None));
    }
    // Where the names were too many for one `head`, the next one begins with its own /dev/null.
    close(&mut sections, open, rest);
    sections
}

fn close<'a>(sections: &mut [(&'a str, Option<&'a [u8]>)], open: Option<usize>, text: &'a [u8]) {
    const BETWEEN: &[u8] = b"==> /dev/null <==\n";
    let text = text.strip_suffix(BETWEEN).unwrap_or(text);
    if let Some((_, section)) = open.and_then(|open| sections.get_mut(open)) {
        *section = Some(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_texts_are_told_apart_whatever_the_texts_hold() {
        let answer = b"./a/meta.json\n./b/meta.json\n./c/meta.json\n\n==> /dev/null <==\n\n==> ./a/meta.json <==\n{}\n\
            \n==> ./c/meta.json <==\n\n\n{\n==> x <==\n";
        let found = sections(answer);
        assert_eq!(found, [("a", Some(&b"{}\n"[..])), ("b", None), ("c", Some(&b"\n\n{\n==> x <==\n"[..]))]);
        assert_eq!(sections(b""), []);
        assert_eq!(sections(b"\n"), []);
    }

    #[test]
    fn what_cannot_be_read_is_named_beside_the_rest() {
        let good = r#"{"id":"g","title":"G","status":"done","createdAt":"","updatedAt":"1"}"#;
        let answer = format!(
            "./bad/meta.json\n./good/meta.json\n./gone/meta.json\n\n==> /dev/null <==\n\n==> ./bad/meta.json <==\n{{\
             \n==> ./good/meta.json <==\n{good}"
        );
        let listing = Listing::read(Bytes::from(answer));
        assert_eq!(listing.ideas.iter().map(|idea| &idea.slug).collect::<Vec<_>>(), ["good"]);
        assert_eq!(listing.damaged.iter().map(|d| &d.slug).collect::<Vec<_>>(), ["bad", "gone"]);
        assert!(listing.damaged[1].problem.contains("owner and mode"), "{listing:?}");
    }
}
