//! What an emulator answers by itself when a program asks it something: known by its form, and dropped while old output
//! is shown again, because the program that asked has had its answer.

/// `input` without reports. Keys that a person types stay; F3 with a modifier has the form of a cursor position
/// report and goes, too.
pub(super) fn without_reports(input: &[u8]) -> Vec<u8> {
    let mut kept = Vec::with_capacity(input.len());
    let mut rest = input;
    while let Some((first, after)) = rest.split_first() {
        if *first == 0x1b
            && let Some(length) = report(after)
        {
            rest = after.get(length..).unwrap_or_default();
        } else {
            kept.push(*first);
            rest = after;
        }
    }
    kept
}

/// The length of a report after its ESC, if it is one.
fn report(after: &[u8]) -> Option<usize> {
    let (kind, body) = after.split_first()?;
    match kind {
        b'[' => {
            let parameters =
                body.iter().take_while(|byte| matches!(byte, b'0'..=b'9' | b';' | b'?' | b'>' | b'=' | b'$'));
            let length = parameters.count();
            let marked = matches!(body.first(), Some(b'?' | b'>' | b'='));
            let given = length > 0;
            let is_report = match (body.get(length)?, body.get(length.wrapping_sub(1))) {
                // Device attributes; keyboard flags; modes; status; window; cursor position.
                (b'c' | b'u', _) => marked,
                (b'y', Some(b'$')) => true,
                (b'n' | b't', _) => given,
                (b'R', _) => body.get(..length)?.contains(&b';'),
                _ => false,
            };
            is_report.then_some(length + 2)
        }
        // Strings: DCS, OSC, APC, up to ST or BEL.
        b'P' | b']' | b'_' => {
            let end = body.iter().position(|byte| matches!(byte, 0x07 | 0x1b | 0x9c))?;
            let ended_by_two = body.get(end) == Some(&0x1b) && body.get(end + 1) == Some(&b'\\');
            (body.get(end) != Some(&0x1b) || ended_by_two).then_some(end + 2 + usize::from(ended_by_two))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_an_emulator_go() {
        for answer in [
            "\x1b[?1;2c",
            "\x1b[>0;276;0c",
            "\x1b[12;40R",
            "\x1b[0n",
            "\x1b[?2004;2$y",
            "\x1b[8;24;80t",
            "\x1b[?1u",
            "\x1b]10;rgb:ffff/ffff/ffff\x1b\\",
            "\x1b]11;rgb:0000/0000/0000\x07",
            "\x1bP1$r0m\x1b\\",
            "\x1bP>|xterm.js(5.5.0)\x1b\\",
        ] {
            let typed = format!("a{answer}b");
            assert_eq!(without_reports(typed.as_bytes()), b"ab", "{answer:?}");
        }
    }

    #[test]
    fn keys_stay() {
        for keys in [
            "ls -l\r",
            "\x03",
            "\x1b",
            "\x1b[A",
            "\x1bOP",
            "\x1b[1;5C",
            "\x1b[3~",
            "\x1b[200~paste\x1b[201~",
            "\x1bf",
            "ü💥",
            "\x1b[Z",
            "\x1b[<0;5;5M",
            "\x1b[I",
            "\x1b[O",
            "\x1b]unfinished",
            "\x1b[97;5u",
        ] {
            assert_eq!(without_reports(keys.as_bytes()), keys.as_bytes(), "{keys:?}");
        }
    }
}
