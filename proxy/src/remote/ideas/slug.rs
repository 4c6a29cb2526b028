//! Folder names of ideas: which are accepted from outside, and how a title becomes one.

/// A folder name that is one path component of harmless characters; the only way from a request to a path.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slug(String);

/// What a file system allows a folder.
const LONGEST_ACCEPTED: usize = 255;
const LONGEST_MADE: usize = 60;

impl Slug {
    /// Accepts `[a-z0-9-]+`, which is what the existing application makes. Paths are always absolute, so that a `-` in
    /// front is no option to any command.
    pub fn accept(text: &str) -> Option<Slug> {
        let harmless = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        let ok = !text.is_empty() && text.len() <= LONGEST_ACCEPTED && text.bytes().all(harmless);
        ok.then(|| Slug(text.to_owned()))
    }

    /// The folder name for a title, and with `attempt` above 0 its alternatives (`title-2`, `title-3` …).
    pub fn of_title(title: &str, attempt: u32) -> Slug {
        let mut slug = String::new();
        for c in title.chars().flat_map(char::to_lowercase) {
            let c = plain(c);
            let mut encoded = [0; 4];
            let part: &str = match c {
                'a'..='z' | '0'..='9' => c.encode_utf8(&mut encoded),
                'ß' => "ss",
                'æ' => "ae",
                'œ' => "oe",
                '\'' | '’' | '\u{300}'..='\u{36f}' => continue, // an accent of its own; it's → its
                _ if slug.is_empty() || slug.ends_with('-') => continue,
                _ => "-",
            };
            if slug.len() + part.len() > LONGEST_MADE {
                break;
            }
            slug.push_str(part);
        }
        let stem = slug.trim_matches('-');
        // A title in another script, or one that looks like an id, gets a name that cannot be taken for an id.
        let stem = match stem {
            "" => "idea".to_owned(),
            id if uuid::Uuid::parse_str(id).is_ok() => format!("idea-{id}"),
            stem => stem.to_owned(),
        };
        if attempt == 0 { Slug(stem) } else { Slug(format!("{stem}-{}", attempt.saturating_add(1))) }
    }

    /// The name with a number behind it, for when the name itself is taken.
    pub fn numbered(&self, number: u32) -> Slug {
        let end = format!("-{number}");
        let stem: String = self.0.chars().take(LONGEST_ACCEPTED - end.len()).collect();
        Slug(stem + &end)
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for Slug {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// The letter without its accent, for the European ones that people would miss.
fn plain(c: char) -> char {
    match c {
        'à'..='å' | 'ā' | 'ă' | 'ą' => 'a',
        'ç' | 'ć' | 'č' | 'ĉ' | 'ċ' => 'c',
        'ď' | 'đ' | 'ð' => 'd',
        'è'..='ë' | 'ē' | 'ĕ' | 'ė' | 'ę' | 'ě' => 'e',
        'ĝ' | 'ğ' | 'ġ' | 'ģ' => 'g',
        'ì'..='ï' | 'ĩ' | 'ī' | 'ĭ' | 'į' | 'ı' => 'i',
        'ł' | 'ĺ' | 'ļ' | 'ľ' => 'l',
        'ñ' | 'ń' | 'ņ' | 'ň' => 'n',
        'ò'..='ö' | 'ø' | 'ō' | 'ŏ' | 'ő' => 'o',
        'ŕ' | 'ř' => 'r',
        'ś' | 'š' | 'ş' | 'ș' => 's',
        'ť' | 'ţ' | 'ț' => 't',
        'ù'..='ü' | 'ũ' | 'ū' | 'ŭ' | 'ů' | 'ű' | 'ų' => 'u',
        'ý' | 'ÿ' => 'y',
        'ź' | 'ż' | 'ž' => 'z',
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn titles_become_readable_names() {
        for (title, slug) in [
            ("Hello, World!", "hello-world"),
            ("  A -- B  ", "a-b"),
            ("Über die Größe", "uber-die-grosse"),
            ("Zażółć gęślą jaźń", "zazolc-gesla-jazn"),
            ("It’s here", "its-here"),
            ("日本語", "idea"),
            ("../../etc/passwd", "etc-passwd"),
            ("💥", "idea"),
            ("", "idea"),
        ] {
            assert_eq!(Slug::of_title(title, 0).as_str(), slug, "{title}");
        }
        assert_eq!(Slug::of_title("Same", 1).as_str(), "same-2");
        assert!(Slug::of_title("6f9619ff-8b86-4d01-b42d-00cf4fc964ff", 0).as_str().starts_with("idea-"));
    }

    #[test]
    fn what_could_leave_the_folder_or_be_an_option_is_not_accepted() {
        for bad in ["", ".", "..", "../x", "a/b", "a\\b", ".trash", "A", "a b", "ä", "a\0", "a\n", "..%2fx"] {
            assert_eq!(Slug::accept(bad), None, "{bad:?}");
        }
        assert!(Slug::accept(&"a".repeat(256)).is_none());
        assert!(Slug::accept("my-idea-2").is_some());
    }

    proptest! {
        #[test]
        fn every_title_gives_an_acceptable_name(title in any::<String>(), attempt in 0u32..5000) {
            let slug = Slug::of_title(&title, attempt);
            prop_assert_eq!(Slug::accept(slug.as_str()), Some(slug));
        }
    }
}
