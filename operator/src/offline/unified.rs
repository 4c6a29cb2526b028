//! Two texts → a unified diff with three lines of context, as `diff -u` writes it. Pure.

/// Lines of context around a change.
const CONTEXT: usize = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Edit<'a> {
    Same(&'a str),
    Gone(&'a str),
    New(&'a str),
}

/// The differences between two texts; empty when there are none. `old_name` and `new_name` head them.
pub(super) fn unified(old_name: &str, old: &str, new_name: &str, new: &str) -> String {
    if old == new {
        return String::new();
    }
    let edits = edits(&old.lines().collect::<Vec<_>>(), &new.lines().collect::<Vec<_>>());
    let changed: Vec<usize> =
        edits.iter().enumerate().filter(|(_, edit)| !matches!(edit, Edit::Same(_))).map(|(index, _)| index).collect();
    let mut text = format!("--- {old_name}\n+++ {new_name}\n");
    let mut hunks: Vec<(usize, usize)> = Vec::new();
    for index in changed {
        let (from, to) = (index.saturating_sub(CONTEXT), (index + CONTEXT + 1).min(edits.len()));
        match hunks.last_mut() {
            Some((_, end)) if from <= *end => *end = to,
            _ => hunks.push((from, to)),
        }
    }
    for (from, to) in hunks {
        hunk(&edits, from, to, &mut text);
    }
    text
}

fn hunk(edits: &[Edit<'_>], from: usize, to: usize, text: &mut String) {
    let count = |edits: &[Edit<'_>]| {
        edits.iter().fold((0, 0), |(old, new), edit| match edit {
            Edit::Same(_) => (old + 1, new + 1),
            Edit::Gone(_) => (old + 1, new),
            Edit::New(_) => (old, new + 1),
        })
    };
    let (before, body) = edits.split_at(from);
    let body = body.get(..to - from).unwrap_or_default();
    let ((old_before, new_before), (old, new)) = (count(before), count(body));
    let place = |before: usize, lines: usize| if lines == 0 { before } else { before + 1 };
    text.push_str(&format!("@@ -{},{old} +{},{new} @@\n", place(old_before, old), place(new_before, new)));
    for edit in body {
        let (sign, line) = match edit {
            Edit::Same(line) => (' ', line),
            Edit::Gone(line) => ('-', line),
            Edit::New(line) => ('+', line),
        };
        text.push(sign);
        text.push_str(line);
        text.push('\n');
    }
}

/// The edits by a longest common subsequence; manifests are some hundred lines, so its square is small.
fn edits<'a>(old: &[&'a str], new: &[&'a str]) -> Vec<Edit<'a>> {
    // lengths[i][j]: of the longest common subsequence of old[i..] and new[j..].
    let mut lengths = vec![vec![0_usize; new.len() + 1]; old.len() + 1];
    let at =
        |lengths: &[Vec<usize>], i: usize, j: usize| lengths.get(i).and_then(|row| row.get(j)).copied().unwrap_or(0);
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            let length = if old.get(i) == new.get(j) {
                at(&lengths, i + 1, j + 1) + 1
            } else {
                at(&lengths, i + 1, j).max(at(&lengths, i, j + 1))
            };
            if let Some(cell) = lengths.get_mut(i).and_then(|row| row.get_mut(j)) {
                *cell = length;
            }
        }
    }
    let (mut i, mut j) = (0, 0);
    let mut edits = Vec::new();
    loop {
        match (old.get(i), new.get(j)) {
            (Some(gone), Some(line)) if gone == line => {
                edits.push(Edit::Same(line));
                (i, j) = (i + 1, j + 1);
            }
            (Some(gone), line) if line.is_none() || at(&lengths, i + 1, j) >= at(&lengths, i, j + 1) => {
                edits.push(Edit::Gone(gone));
                i += 1;
            }
            (_, Some(line)) => {
                edits.push(Edit::New(line));
                j += 1;
            }
            (_, None) => return edits,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_texts_have_no_differences() {
        assert_eq!(unified("a", "x\n", "b", "x\n"), "");
    }

    #[test]
    fn a_change_is_shown_with_three_lines_around_it() {
        let old: String = (1..=9).map(|line| format!("{line}\n")).collect();
        let diff = unified("a", &old, "b", &old.replace('5', "five"));
        assert_eq!(diff, "--- a\n+++ b\n@@ -2,7 +2,7 @@\n 2\n 3\n 4\n-5\n+five\n 6\n 7\n 8\n");
    }

    #[test]
    fn what_is_far_apart_is_shown_apart_and_a_new_text_is_all_additions() {
        let old: String = (1..=20).map(|line| format!("{line}\n")).collect();
        let diff = unified("a", &old, "b", &old.replacen("1\n", "", 1).replace("20", "twenty"));
        assert_eq!(diff.matches("@@ -").count(), 2, "{diff}");
        assert_eq!(unified("a", "", "b", "x\ny\n"), "--- a\n+++ b\n@@ -0,0 +1,2 @@\n+x\n+y\n");
    }
}
