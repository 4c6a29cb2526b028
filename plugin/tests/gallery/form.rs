//! What differs each time, in one form: addresses, keys, ages and the random parts of names.

/// The rows of a table, the last column of which is the age.
pub(crate) fn without_age(table: &str) -> String {
    let rows = table.lines().map(|row| {
        let row = row.trim_end();
        let start = row.rfind(' ').map_or(0, |at| at + 1);
        format!("{}{}", &row[..start], if row.ends_with("AGE") { "AGE" } else { "5m" })
    });
    rows.collect::<Vec<_>>().join("\n")
}

/// The text, with each of these replaced; `name`: the instance that it is about.
pub(crate) fn settled(text: &str, name: &str, forms: &[(String, String)]) -> String {
    let text = forms.iter().fold(text.to_owned(), |text, (found, called)| text.replace(found, called));
    let mut out = String::new();
    let mut rest = text.as_str();
    while let Some(first) = rest.chars().next() {
        let length = rest.find(|letter: char| !in_word(letter)).unwrap_or(rest.len()).max(first.len_utf8());
        let (word, after) = rest.split_at(length);
        out.push_str(&one_form(word, name));
        rest = after;
    }
    out
}

fn in_word(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || "-+/:".contains(letter)
}

fn one_form(word: &str, name: &str) -> String {
    if let Some(bare) = word.strip_suffix(':') {
        return format!("{}:", one_form(bare, name));
    }
    if word.starts_with("AAAA") {
        return "AAAA…".to_owned();
    }
    if let Some((before, _)) = word.split_once("SHA256:") {
        return format!("{before}SHA256:…");
    }
    // A pod: NAME-REPLICASET-POD, both in the letters that Kubernetes writes such names with; the first is a number of up to ten digits.
    let random = |part: &str| part.chars().all(|letter| "bcdfghjklmnpqrstvwxz2456789".contains(letter));
    match word.strip_prefix(name).and_then(|rest| rest.strip_prefix('-')).and_then(|rest| rest.split_once('-')) {
        Some((set, pod)) if random(set) && (1..=10).contains(&set.len()) && random(pod) && pod.len() == 5 => {
            format!("{name}-6d4f8b7c9d-x7k2p")
        }
        _ => word.to_owned(),
    }
}

#[test]
fn a_pod_has_one_name_however_long_the_number_in_it_is_and_nothing_else_has() {
    let settled = |text: &str| settled(text, "taken", &[]);
    for pod in ["taken-954ffb5-5hj7c", "taken-6d4f8b7c9d-x7k2p", "taken-b-zzzzz"] {
        assert_eq!(settled(&format!("Pod {pod}  Pending")), "Pod taken-6d4f8b7c9d-x7k2p  Pending");
    }
    for other in ["taken-known-hosts", "taken-secrets", "other-954ffb5-5hj7c"] {
        assert_eq!(settled(other), other);
    }
}
