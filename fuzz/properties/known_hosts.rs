//! known_hosts: what is accepted says the same however it is written, what we write is read back, and globs are OpenSSH's.

use std::sync::LazyLock;

use catalyst_ssh::{KnownHosts, PublicKey, Verdict, known_hosts_line};

static KEYS: LazyLock<Vec<PublicKey>> = LazyLock::new(|| {
    include_str!("keys.pub").lines().map(|line| PublicKey::from_openssh(line).expect("a key of the target")).collect()
});

/// Panics where it does not hold.
pub fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (asked, file) = text.split_once('\n').unwrap_or((text, ""));
    let (host, port) = asked.split_once(' ').unwrap_or((asked, ""));
    let port = port.trim().parse().unwrap_or(22);
    globs_are_those_of_openssh(host, file.lines().next().unwrap_or_default());
    let known = match KnownHosts::parse(file) {
        Ok(known) => known,
        Err(error) => {
            assert!((1..=file.lines().count()).contains(&error.line), "{error:?}");
            assert!(error.problem.chars().all(|letter| !letter.is_control()), "{error:?}");
            return;
        }
    };
    let kind = |verdict: &Verdict| std::mem::discriminant(verdict);
    let lines: Vec<&str> = file.strip_prefix('\u{feff}').unwrap_or(file).lines().collect();
    if lines.iter().any(|line| line.contains('\u{feff}')) {
        // Means nothing but at the beginning, where the order below could put it.
        return;
    }
    let backwards: String = lines.iter().rev().map(|line| format!("{line}\n")).collect();
    let in_windows: String = lines.iter().map(|line| format!("  {line}\t\r\n# remark\r\n\r\n")).collect();
    for key in KEYS.iter() {
        let verdict = known.verdict(host, port, key);
        assert_eq!(known.verdict(&host.to_ascii_uppercase(), port, key), verdict, "names have no case");
        let read = |text: &str| KnownHosts::parse(text).expect("the same lines").verdict(host, port, key);
        assert_eq!(kind(&read(&backwards)), kind(&verdict), "the order of lines matters");
        assert_eq!(read(&in_windows), verdict, "blanks and remarks matter");
        if !is_host(host) {
            continue;
        }
        // What we would write down of this host is read back, and nothing but a revocation outweighs it.
        let line = known_hosts_line(host, port, key);
        let with = read(&format!("{file}\n{line}\n"));
        assert!(with == Verdict::Known || (with == verdict && verdict == Verdict::Revoked), "{line}: {with:?}");
        assert_eq!(read(&line), Verdict::Known, "{line}");
        for other in KEYS.iter().filter(|other| *other != key) {
            let alone = KnownHosts::parse(&line).expect("our own line");
            assert!(matches!(alone.verdict(host, port, other), Verdict::Changed { .. }), "{line}");
        }
    }
}

/// A host as a setting may have it: a name or an address.
fn is_host(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:".contains(&byte);
    !text.is_empty() && text.bytes().all(plain)
}

/// One line with one pattern, against the definition: `*` is any text, `?` any byte.
fn globs_are_those_of_openssh(host: &str, pattern: &str) {
    let harmless = |byte: u8| byte.is_ascii_graphic() && !b",|@#![]".contains(&byte);
    if pattern.is_empty() || !pattern.bytes().all(harmless) {
        return;
    }
    let line = known_hosts_line("placeholder", 22, &KEYS[0]).replacen("placeholder", pattern, 1);
    let Ok(known) = KnownHosts::parse(&line) else { panic!("{line}") };
    let matched = matches_by_table(pattern.to_ascii_lowercase().as_bytes(), host.to_ascii_lowercase().as_bytes());
    let expected = if matched { Verdict::Known } else { Verdict::Unknown };
    assert_eq!(known.verdict(host, 22, &KEYS[0]), expected, "{pattern:?} and {host:?}");
}

fn matches_by_table(glob: &[u8], name: &[u8]) -> bool {
    // before[n]: whether the glob so far matches the first n bytes of the name.
    let mut before: Vec<bool> = (0..=name.len()).map(|length| length == 0).collect();
    for letter in glob {
        let mut now = vec![false; name.len() + 1];
        for length in 0..=name.len() {
            now[length] = match letter {
                b'*' => before[..=length].contains(&true),
                _ => length > 0 && before[length - 1] && (*letter == b'?' || *letter == name[length - 1]),
            };
        }
        before = now;
    }
    before[name.len()]
}
