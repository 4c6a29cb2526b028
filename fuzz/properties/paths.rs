//! Names that come from outside and become paths or words of a command on the VM: none leads out of its folder.

use std::path::{Component, Path};

use catalyst_proxy::remote::ideas::{ProjectPath, Slug, TrashName, is_identifier};
use catalyst_proxy::remote::quote;

/// Panics where it does not hold.
pub fn check(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Some(slug) = Slug::accept(&text) {
        assert_eq!(slug.as_str(), text);
        is_one_name(slug.as_str());
        for number in [2, 999, u32::MAX] {
            let numbered = slug.numbered(number);
            assert_eq!(Slug::accept(numbered.as_str()), Some(numbered));
        }
    }
    for attempt in [0, 1, 999] {
        let slug = Slug::of_title(&text, attempt);
        assert_eq!(Slug::accept(slug.as_str()).as_ref(), Some(&slug), "{slug}");
        is_one_name(slug.as_str());
        assert!(slug.as_str().len() <= 70, "{slug}");
        assert!(!slug.as_str().starts_with('-') && !slug.as_str().ends_with('-'), "{slug}");
        assert!(uuid::Uuid::parse_str(slug.as_str()).is_err(), "{slug} is taken for an id");
        if attempt == 0 {
            assert_eq!(Slug::of_title(slug.as_str(), 0), slug, "a name is no title of itself");
        }
    }
    if let Ok(path) = ProjectPath::accept(&text) {
        assert_eq!(path.as_str(), text);
        assert!(!text.contains('\0') && text.len() <= 4096);
        let joined = Path::new("/base/an-idea/project").join(path.as_str());
        assert!(joined.starts_with("/base/an-idea/project"));
        let parts: Vec<Component<'_>> = Path::new(path.as_str()).components().collect();
        assert!(parts.iter().all(|part| matches!(part, Component::Normal(name) if name.len() <= 255)), "{parts:?}");
        // As many as there are separators: nothing is folded away.
        assert!(text.is_empty() || parts.len() == text.split('/').count());
        assert_eq!(Some(path.name()), text.rsplit('/').next());
    }
    if let Some(name) = TrashName::accept(&text) {
        assert_eq!(name.as_str(), text);
        is_one_name(name.as_str());
    }
    if is_identifier(&text) {
        is_one_name(&text);
    }
    assert_eq!(words(&quote(&text)), [text.as_ref()], "a shell reads something else");
}

fn is_one_name(name: &str) {
    let mut parts = Path::new(name).components();
    assert!(matches!(parts.next(), Some(Component::Normal(part)) if part == name), "{name:?}");
    let plain = |letter: char| letter.is_ascii_alphanumeric() || ['-', '_', '.'].contains(&letter);
    assert!(parts.next().is_none() && name.len() <= 255 && name.chars().all(plain), "{name:?}");
}

/// The words that a POSIX shell reads, for lines of single quotes and backslashes alone.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\'' => words.last_mut().unwrap().extend(letters.by_ref().take_while(|letter| *letter != '\'')),
            '\\' => words.last_mut().unwrap().extend(letters.next()),
            ' ' => words.push(String::new()),
            other => panic!("{other:?} stands outside of quotes in {line:?}"),
        }
    }
    words
}
